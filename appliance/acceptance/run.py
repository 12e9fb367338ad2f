"""All checks in their order, and the verb that runs them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TextIO

from appliance.acceptance import (
    container,
    conversation,
    egress,
    interruption,
    metrics,
    overload,
    page,
    readiness,
    recovery,
    seal,
    site,
    sockets,
)
from appliance.acceptance import report as limits
from appliance.acceptance import report as table
from appliance.acceptance.report import Report, Result, about, from_tree, skipped, to_tree
from appliance.acceptance.site import Site, Voice, Wishes
from appliance.errors import ApplianceError, BadSetting
from appliance.gpu import nvml
from appliance.settings import Settings
from client.errors import ClientError

CHECK_SECONDS = 1800.0  # a check that hangs ends; the longest, recovery on a card, waits for models
COUNTED_AFTER_SECONDS = 1.0  # the gateway notes the end of a call a moment after it
Check = Callable[[Site], Awaitable[list[Result]]]
Tell = Callable[[Result], None]
CALLS: Mapping[str, Check] = {
    conversation.CHECK: conversation.check,
    interruption.CHECK: interruption.check,
    overload.CHECK: overload.check,
}


def main(given: Settings, asked: argparse.Namespace) -> int:
    """0 when no check failed, else 1. Raises BadSetting and BadLock."""
    if asked.page:
        sys.stdout.write(page.html(_read(sys.stdin)))
        return 0
    began = time.monotonic()
    out = sys.stderr if asked.json else sys.stdout

    def tell(result: Result) -> None:
        print(table.lines(result), file=out, flush=True)

    report = asyncio.run(accept(given, asked, tell))
    print(table.verdict(report, time.monotonic() - began), file=out, flush=True)
    if asked.json:
        json.dump(to_tree(report), sys.stdout, indent=1, ensure_ascii=False)
        print()
    return 0 if report.passed else 1


async def accept(given: Settings, asked: argparse.Namespace, tell: Tell) -> Report:
    """Makes all checks; `tell` is given each result as it comes. Raises BadSetting."""
    skip = asked.skip
    cards = nvml.list_cards().cards
    kind, held = limits.limits(given, cards)
    held = limits.adjusted(held, _limits(asked.limit))
    wishes = Wishes(asked.turns, asked.interruptions, asked.quick_seal, asked.kill, asked.wait)
    tested = Site(given, site.door(given.gateway, asked.url), held, wishes, Voice(given))
    results: list[Result] = []

    async def watched(_of: Site) -> list[Result]:
        return [watch.result()]

    async def hardened(of: Site) -> list[Result]:
        pids = sockets.family(of.given.paths.run)
        return container.check(pids, told=bool(asked.container))

    def note(found: Sequence[Result]) -> bool:
        results.extend(found)
        for result in found:
            tell(result)
        return all(result.state != "fail" for result in found)

    async with await egress.watch(tested) as watch:
        ready = note(await _made(readiness.CHECK, tested, readiness.check, skip))
        note(await _made(seal.CHECK, tested, seal.check, skip))
        note(await _made(container.CHECK, tested, hardened, skip))
        if ready:
            await _with_metrics(tested, skip, note)
            if wishes.kill:
                note(await _made(recovery.CHECK, tested, recovery.check, skip))
            else:
                note([skipped(recovery.CHECK, "not asked for (--kill)")])
        else:
            note([skipped(name, "the appliance is not ready") for name in (*CALLS, metrics.CHECK)])
        note(await _made(egress.CHECK, tested, watched, skip))
    told = {"image_id": asked.image_id, "container": asked.container, "host": asked.host}
    head = {**about(given, told), "url": tested.door.url, "limits_for": kind}
    named = {name: getattr(held, name) for name in held.__slots__}
    return Report(head, named, results, tested.turns, tested.stops)


async def _with_metrics(
    tested: Site, skip: frozenset[str], note: Callable[[Sequence[Result]], bool]
) -> None:
    """The checks that call, between two looks at the metrics."""
    before: list[metrics.Page] = []

    async def look(of: Site) -> list[Result]:
        before.append(metrics.Page(await of.metrics()))
        return metrics.complete(before[0])

    async def compare(of: Site) -> list[Result]:
        await asyncio.sleep(COUNTED_AFTER_SECONDS)
        return metrics.counted(before[0], metrics.Page(await of.metrics()), of.tally.made())

    note(await _made(metrics.CHECK, tested, look, skip))
    for name, check in CALLS.items():
        note(await _made(name, tested, check, skip))
    if before:
        note(await _made(metrics.CHECK, tested, compare, skip))


async def _made(name: str, tested: Site, check: Check, skip: frozenset[str]) -> list[Result]:
    """The results of a check; one that cannot be made to its end has failed, with the reason."""
    if name in skip:
        return [skipped(name, "left out (--skip)")]
    wanted = "the check made to its end"
    limit = asyncio.timeout(CHECK_SECONDS)
    try:
        async with limit:
            return await check(tested)
    except ApplianceError as problem:
        return [Result(name, "fail", str(problem), wanted, problem.advice)]
    except ClientError as problem:  # its text says what to do
        return [Result(name, "fail", str(problem), wanted)]
    except (OSError, ValueError) as problem:
        what = str(problem) or type(problem).__name__
        if limit.expired():
            what = f"not through after {CHECK_SECONDS:g} s"
        return [Result(name, "fail", what, wanted, "voicectl status says what is wrong with it.")]


def _limits(pairs: Sequence[str]) -> dict[str, float]:
    wanted = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            wanted[name] = float(value)
        except ValueError as problem:
            raise BadSetting(name=f"--limit {pair}", why="it is not NAME=NUMBER") from problem
    return wanted


def _read(source: TextIO) -> Report:
    try:
        return from_tree(json.load(source))
    except (ValueError, KeyError, TypeError) as problem:
        raise BadSetting(name="--page", why=f"stdin holds no report: {problem}") from problem
