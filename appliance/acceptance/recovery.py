"""Check that each process recovers after it is killed, and that calls can continue.

This disturbs other calls, so it runs only with --kill.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

from appliance.acceptance import processes, ready, script
from appliance.acceptance.caller import ANSWER_SECONDS
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.report import CheckResult, format_seconds, judge
from appliance.errors import EngineGone
from appliance.link.health import ask_health
from appliance.processes import ENGINES, GATEWAY, socket_path
from client.errors import CallDropped

CHECK = "recovery"
POLL_SECONDS = 0.5
HEALTH_SECONDS = 2.0  # timeout of an engine's health check
KILL_DELAY_SECONDS = 0.5  # from the end of the question to the kill
ADVICE = "See the log of the process for the reason: voicectl logs -u NAME."
GATEWAY_ADVICE = "See the gateway's log: voicectl logs -u gateway."


async def check(context: AcceptanceContext) -> list[CheckResult]:
    """Kill each process in turn. Raises ClientError, EngineFailed and ConnectionError."""
    results = []
    for name in sorted(processes.programs(context.settings.paths.run)):
        if name in ENGINES:
            results += await _kill_engine(context, name)
        elif name == GATEWAY:
            results += await _kill_gateway(context)
        else:
            results.append(_judge_recovery(context, name, await _kill(context, name)))
    return results


async def _kill_engine(context: AcceptanceContext, name: str) -> list[CheckResult]:
    """Kill an engine in the middle of a turn. The same call must be able to continue."""
    pcm = await context.voices.say(script.KNOWLEDGE[0].text)
    async with context.call() as call:
        question = call.say(pcm)
        await asyncio.sleep(KILL_DELAY_SECONDS)
        recovery = _kill(context, name)
        interrupted_turn = await call.finished(question, context.limits.recovery)
        while not recovery.done() and call.failure is None:
            # Keep speaking, because the gateway ends an idle call.
            await asyncio.wait({recovery}, timeout=context.settings.gateway.idle_seconds / 2)
            if not recovery.done():
                await call.finished(call.say(pcm), ANSWER_SECONDS)
        recovery_seconds = await recovery
        next_turn = await call.finished(call.say(pcm), context.limits.recovery)
    passed = call.failure is None and next_turn.outcome == "answered"
    actual = (
        f"{name}: turn during the kill: {interrupted_turn.outcome}; next turn: {next_turn.outcome}"
    )
    return [
        _judge_recovery(context, name, recovery_seconds),
        judge(CHECK, passed, actual, "the call continues", GATEWAY_ADVICE),
    ]


async def _kill_gateway(context: AcceptanceContext) -> list[CheckResult]:
    """Kill the gateway. The call must end for the caller, and the next call must be accepted."""
    pcm = await context.voices.say(script.KNOWLEDGE[0].text)
    async with context.call() as call:
        question = call.say(pcm)
        await asyncio.sleep(KILL_DELAY_SECONDS)
        recovery = _kill(context, GATEWAY)
        await call.finished(question, ANSWER_SECONDS)
        dropped = isinstance(call.failure, CallDropped)
    recovery_seconds = await recovery
    async with context.call() as call:
        next_turn = await call.finished(call.say(pcm), ANSWER_SECONDS)
    end = "ended" if dropped else "did not end"
    actual = f"gateway: the call {end}; question in the next call: {next_turn.outcome}"
    passed = dropped and next_turn.outcome == "answered"
    expected = "the call ends and the next call is answered"
    return [
        _judge_recovery(context, GATEWAY, recovery_seconds),
        judge(CHECK, passed, actual, expected, GATEWAY_ADVICE),
    ]


def _kill(context: AcceptanceContext, name: str) -> asyncio.Task[float | None]:
    """Kill a process and return a task that waits until it has recovered.

    The task returns the seconds until a new process runs and calls are accepted, or None if that
    exceeds the limit. Raises ConnectionError if there is no process to kill.
    """
    pid = processes.programs(context.settings.paths.run)[name].pid
    if not pid:
        raise ConnectionError(f"{name} is not running")
    os.kill(pid, signal.SIGKILL)
    return asyncio.create_task(_wait_recovered(context, name, pid, time.monotonic()))


async def _wait_recovered(
    context: AcceptanceContext, name: str, pid: int, killed_at: float
) -> float | None:
    while (elapsed_seconds := time.monotonic() - killed_at) <= context.limits.recovery:
        if await _is_recovered(context, name, pid):
            return elapsed_seconds
        await asyncio.sleep(POLL_SECONDS)
    return None


async def _is_recovered(context: AcceptanceContext, name: str, killed_pid: int) -> bool:
    run = context.settings.paths.run
    try:
        pid = (await asyncio.to_thread(processes.programs, run))[name].pid
        if pid in (0, killed_pid):
            return False
        # The gateway polls the engines only once a second: it may still report the killed one.
        if name in ENGINES and not (await ask_health(socket_path(run, name), HEALTH_SECONDS)).ready:
            return False
        await context.scrape()
    except (OSError, EngineGone):
        return False
    return not await ready.find_obstacle(context)


def _judge_recovery(
    context: AcceptanceContext, name: str, recovery_seconds: float | None
) -> CheckResult:
    recovered = recovery_seconds is not None
    outcome = (
        "did not recover"
        if recovery_seconds is None
        else f"recovered after {format_seconds(recovery_seconds)}"
    )
    expected = f"recovery within {format_seconds(context.limits.recovery)}"
    return judge(CHECK, recovered, f"{name}: {outcome}", expected, ADVICE)
