"""Run all checks in order, and the verb `smoke-test`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from argparse import Namespace
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
    processes,
    ready,
    recovery,
    report,
    seal,
)
from appliance.acceptance.about import describe
from appliance.acceptance.caller import ApplianceVoice
from appliance.acceptance.limits import limits_for
from appliance.acceptance.measurements import to_record
from appliance.acceptance.options import AcceptanceOptions, parse
from appliance.acceptance.report import AcceptanceReport, CheckResult, skip
from appliance.acceptance.site import Site, call_target
from appliance.errors import ApplianceError, BadSetting
from appliance.gpu import nvml
from appliance.gpu_proof.record import to_tree
from appliance.settings import Settings
from client.errors import ClientError

# Ends a check that hangs. The longest one, recovery with a card, waits for models to load.
CHECK_SECONDS = 1800.0
COUNTER_DELAY_SECONDS = 1.0  # the gateway counts a call a moment after it ended

Check = Callable[[Site], Awaitable[list[CheckResult]]]
OnResult = Callable[[CheckResult], None]

# The checks that call the appliance.
CALLING_CHECKS: Mapping[str, Check] = {
    conversation.CHECK: conversation.check,
    interruption.CHECK: interruption.check,
    overload.CHECK: overload.check,
}


def main(settings: Settings, args: Namespace) -> int:
    """Run the verb; 0 if no check failed, else 1. Raises BadSetting."""
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

    outcome = asyncio.run(accept(settings, parse(args), on_result))
    print(report.format_verdict(outcome, time.monotonic() - started_at), file=out, flush=True)
    if args.json:
        json.dump(report.to_tree(outcome), sys.stdout, indent=1, ensure_ascii=False)
        print()
    return 0 if outcome.passed else 1


async def accept(
    settings: Settings, options: AcceptanceOptions, on_result: OnResult
) -> AcceptanceReport:
    """Run all checks; `on_result` is called with each result. Raises BadSetting."""
    class_name, limits = limits_for(settings, nvml.list_cards().cards)
    limits = dataclasses.replace(limits, **options.limits)
    target = call_target(settings.gateway, options.url)
    site = Site(settings, target, limits, options, ApplianceVoice(settings))
    runner = CheckRunner(site, on_result)
    await _run_all(site, runner)
    about = {**describe(settings, options), "url": target.url, "limits_for": class_name}
    return AcceptanceReport(
        about, dataclasses.asdict(limits), runner.results, site.turns, site.stops
    )


class CheckRunner:
    """Runs checks on a site and collects their results."""

    def __init__(self, site: Site, on_result: OnResult) -> None:
        self._site = site
        self._on_result = on_result
        self.results: list[CheckResult] = []

    async def run(self, name: str, check: Check) -> bool:
        """Run a check unless it is to be skipped; return whether nothing failed."""
        if name in self._site.options.skip:
            return self.add([skip(name, "skipped by --skip")])
        return self.add(await run_check(name, check, self._site))

    def add(self, results: Sequence[CheckResult]) -> bool:
        """Add results; return whether none of them failed."""
        self.results.extend(results)
        for result in results:
            self._on_result(result)
        return all(result.state != "fail" for result in results)


async def run_check(name: str, check: Check, site: Site) -> list[CheckResult]:
    """Run a check to its end; if that is impossible, it fails with the reason."""
    wanted = "the check runs to its end"
    timeout = asyncio.timeout(CHECK_SECONDS)
    try:
        async with timeout:
            return await check(site)
    except ApplianceError as error:
        return [CheckResult(name, "fail", str(error), wanted, error.advice)]
    except ClientError as error:  # its message includes advice
        return [CheckResult(name, "fail", str(error), wanted)]
    except (OSError, ValueError) as problem:
        found = str(problem) or type(problem).__name__
        if timeout.expired():
            found = f"not finished after {CHECK_SECONDS:g} s"
        advice = "voicectl status shows the state of the appliance."
        return [CheckResult(name, "fail", found, wanted, advice)]


async def _run_all(site: Site, runner: CheckRunner) -> None:
    async def check_egress(_site: Site) -> list[CheckResult]:
        return [watch.result()]

    async def check_container(site: Site) -> list[CheckResult]:
        pids = processes.process_ids(site.settings.paths.run)
        return container.check(pids, in_container=bool(site.options.container))

    async with await egress.watch(site) as watch:
        is_ready = await runner.run(ready.CHECK, ready.check)
        await runner.run(seal.CHECK, seal.check)
        await runner.run(container.CHECK, check_container)
        if is_ready:
            await _run_calling_checks(runner)
            if site.options.kill:
                await runner.run(recovery.CHECK, recovery.check)
            else:
                runner.add([skip(recovery.CHECK, "only with --kill")])
        else:
            names = (*CALLING_CHECKS, metrics.CHECK)
            runner.add([skip(name, "the appliance is not ready") for name in names])
        await runner.run(egress.CHECK, check_egress)


async def _run_calling_checks(runner: CheckRunner) -> None:
    """Run the checks that call between two scrapes of the metrics."""
    before: list[metrics.Scrape] = []

    async def check_complete(site: Site) -> list[CheckResult]:
        before.append(metrics.Scrape(await site.scrape()))
        return metrics.check_complete(before[0])

    async def check_counters(site: Site) -> list[CheckResult]:
        await asyncio.sleep(COUNTER_DELAY_SECONDS)
        after = metrics.Scrape(await site.scrape())
        return metrics.check_counters(before[0], after, site.tally.activity())

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
