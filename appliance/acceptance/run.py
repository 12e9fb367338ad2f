"""The command `smoke-test`: run all checks in order and print their report."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from appliance.acceptance import (
    container,
    conversation,
    egress,
    interruption,
    metrics,
    overload,
    page,
    processes,
    ready,
    recovery,
    report,
    seal,
)
from appliance.acceptance.about import describe
from appliance.acceptance.caller import ApplianceEar
from appliance.acceptance.context import AcceptanceContext, call_target
from appliance.acceptance.limits import limits_for
from appliance.acceptance.measurements import to_record
from appliance.acceptance.options import AcceptanceOptions, parse
from appliance.acceptance.report import AcceptanceReport, CheckResult, skip
from appliance.acceptance.voices import read_recordings
from appliance.errors import ApplianceError, BadSetting
from appliance.gpu import nvml
from appliance.gpu_proof.record import to_tree
from appliance.settings import Settings
from client.errors import ClientError

# Timeout of a check. The longest check, recovery with a GPU, waits for models to load.
CHECK_SECONDS = 1800.0
COUNTER_DELAY_SECONDS = 1.0  # the gateway counts a call shortly after it has ended

Check = Callable[[AcceptanceContext], Awaitable[list[CheckResult]]]
OnResult = Callable[[CheckResult], None]

# The checks that open calls, in the order in which they run.
CALLING_CHECKS: Mapping[str, Check] = {
    conversation.CHECK: conversation.check,
    interruption.CHECK: interruption.check,
    overload.CHECK: overload.check,
}


def main(settings: Settings, args: Namespace) -> int:
    """Run the command. Return 0 if no check failed, otherwise 1. Raises BadSetting."""
    if args.page:
        sys.stdout.write(page.render(_read_report(sys.stdin)))
        return 0
    if args.record:
        json.dump(to_tree(to_record(_read_report(sys.stdin))), sys.stdout, indent=1)
        print()
        return 0
    started_at = time.monotonic()
    out = sys.stderr if args.json else sys.stdout

    def on_result(result: CheckResult) -> None:
        print(report.format_result(result), file=out, flush=True)

    acceptance = asyncio.run(accept(settings, parse(args), on_result))
    print(report.format_verdict(acceptance, time.monotonic() - started_at), file=out, flush=True)
    if args.json:
        json.dump(report.to_tree(acceptance), sys.stdout, indent=1, ensure_ascii=False)
        print()
    return 0 if acceptance.passed else 1


async def accept(
    settings: Settings, options: AcceptanceOptions, on_result: OnResult
) -> AcceptanceReport:
    """Run all checks and return the report.

    Raises BadSetting; UsageError if the recordings cannot be read.

    Calls `on_result` with each result as soon as it is known.
    """
    class_name, limits = limits_for(settings, nvml.list_cards().cards)
    limits = dataclasses.replace(limits, **options.limits)
    target = call_target(settings.gateway, options.url, settings.paths.run)
    recordings = read_recordings(Path(options.recordings)) if options.recordings else ()
    context = AcceptanceContext(
        settings, target, limits, options, ApplianceEar(settings), recordings=recordings
    )
    runner = CheckRunner(context, on_result)
    await _run_all(context, runner)
    about = {**describe(settings, options), "url": target.url, "limits_for": class_name}
    return AcceptanceReport(
        about,
        dataclasses.asdict(limits),
        runner.results,
        context.turns,
        context.barge_in_stop_seconds,
    )


class CheckRunner:
    """Runs checks and collects their results."""

    def __init__(self, context: AcceptanceContext, on_result: OnResult) -> None:
        self._context = context
        self._on_result = on_result
        self.results: list[CheckResult] = []

    async def run(self, name: str, check: Check) -> bool:
        """Run a check unless --skip names it. Return whether no result failed."""
        if name in self._context.options.skip:
            return self.add([skip(name, "skipped by --skip")])
        return self.add(await run_check(name, check, self._context))

    def add(self, results: Sequence[CheckResult]) -> bool:
        """Add results. Return whether none of them failed."""
        self.results.extend(results)
        for result in results:
            self._on_result(result)
        return all(result.state != "fail" for result in results)


async def run_check(name: str, check: Check, context: AcceptanceContext) -> list[CheckResult]:
    """Run a check. If it cannot complete, return one failed result with the reason."""
    expected = "the check completes"
    timeout = asyncio.timeout(CHECK_SECONDS)
    try:
        async with timeout:
            return await check(context)
    except ApplianceError as error:
        return [CheckResult(name, "fail", str(error), expected, error.advice)]
    except ClientError as error:  # its message includes advice
        return [CheckResult(name, "fail", str(error), expected)]
    except (OSError, ValueError) as error:
        actual = str(error) or type(error).__name__
        if timeout.expired():
            actual = f"not finished after {CHECK_SECONDS:g} s"
        advice = "Run voicectl status to see the state of the appliance."
        return [CheckResult(name, "fail", actual, expected, advice)]


async def _run_all(context: AcceptanceContext, runner: CheckRunner) -> None:
    async def check_egress(_context: AcceptanceContext) -> list[CheckResult]:
        return [watch.result()]

    async def check_container(context: AcceptanceContext) -> list[CheckResult]:
        pids = processes.process_ids(context.settings.paths.run)
        return container.check(pids, in_container=bool(context.options.container))

    async with await egress.watch(context) as watch:
        is_ready = await runner.run(ready.CHECK, ready.check)
        await runner.run(seal.CHECK, seal.check)
        await runner.run(container.CHECK, check_container)
        if is_ready:
            await _run_calling_checks(runner)
            if context.options.kill:
                await runner.run(recovery.CHECK, recovery.check)
            else:
                runner.add([skip(recovery.CHECK, "runs only with --kill")])
        else:
            names = (*CALLING_CHECKS, metrics.CHECK)
            runner.add([skip(name, "the appliance is not ready") for name in names])
        await runner.run(egress.CHECK, check_egress)


async def _run_calling_checks(runner: CheckRunner) -> None:
    """Run CALLING_CHECKS, and compare metrics scraped before and after them."""
    before: list[metrics.Scrape] = []

    async def check_complete(context: AcceptanceContext) -> list[CheckResult]:
        before.append(metrics.Scrape(await context.scrape()))
        return metrics.check_complete(before[0])

    async def check_counters(context: AcceptanceContext) -> list[CheckResult]:
        await asyncio.sleep(COUNTER_DELAY_SECONDS)
        after = metrics.Scrape(await context.scrape())
        return metrics.check_counters(before[0], after, context.tally.activity())

    await runner.run(metrics.CHECK, check_complete)
    for name, check in CALLING_CHECKS.items():
        await runner.run(name, check)
    if before:
        await runner.run(metrics.CHECK, check_counters)


def _read_report(source: TextIO) -> AcceptanceReport:
    try:
        return report.from_tree(json.load(source))
    except (ValueError, KeyError, TypeError) as problem:
        raise BadSetting(name="--page", why=f"stdin is not a report: {problem}") from problem
