"""Does each process come back after it was killed, and what does a caller notice?

Disturbs other calls, so it runs only with --kill.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

from appliance.acceptance import processes, ready, script
from appliance.acceptance.caller import ANSWER_SECONDS
from appliance.acceptance.report import CheckResult, format_seconds, judge
from appliance.acceptance.site import Site
from appliance.errors import EngineGone
from appliance.link.health import ask_health
from appliance.processes import ENGINES, GATEWAY, socket_path
from client.errors import CallDropped

CHECK = "recovery"
POLL_SECONDS = 0.5
HEALTH_SECONDS = 2.0  # for an engine to answer
INTO_TURN_SECONDS = 0.5  # from the end of the question to the kill
ADVICE = "The log of the process says why it did not come back: voicectl logs -u NAME."


async def check(site: Site) -> list[CheckResult]:
    """Kill each process in turn. Raises ClientError, EngineFailed and ConnectionError."""
    results = []
    for name in sorted(processes.programs(site.settings.paths.run)):
        if name in ENGINES:
            results += await _kill_engine(site, name)
        elif name == GATEWAY:
            results += await _kill_gateway(site)
        else:
            results.append(_judge_recovery(site, name, await _kill(site, name)))
    return results


async def _kill_engine(site: Site, name: str) -> list[CheckResult]:
    """Kill an engine in the middle of a turn; the same call must be able to continue."""
    # Synthesized before the kill: the engine may be the one that speaks.
    pcm = await site.voice.say(script.KNOWLEDGE[0].text)
    async with site.call() as talk:
        question = talk.say(pcm)
        await asyncio.sleep(INTO_TURN_SECONDS)
        recovery = _kill(site, name)
        disturbed = await talk.finished(question, site.limits.recovery)
        while not recovery.done() and talk.failure is None:
            # Keep speaking: an idle call is ended.
            await asyncio.wait({recovery}, timeout=site.settings.gateway.idle_seconds / 2)
            if not recovery.done():
                await talk.finished(talk.say(pcm), ANSWER_SECONDS)
        took = await recovery
        after = await talk.finished(talk.say(pcm), site.limits.recovery)
    passed = talk.failure is None and after.outcome == "answered"
    found = f"{name}: the turn was {disturbed.outcome}, the next one of the call {after.outcome}"
    return [
        _judge_recovery(site, name, took),
        judge(CHECK, passed, found, "the call continues", "See the gateway's log."),
    ]


async def _kill_gateway(site: Site) -> list[CheckResult]:
    """Kill the gateway: the call must end for the caller, and the next call be accepted."""
    pcm = await site.voice.say(script.KNOWLEDGE[0].text)
    async with site.call() as talk:
        question = talk.say(pcm)
        await asyncio.sleep(INTO_TURN_SECONDS)
        recovery = _kill(site, "gateway")
        await talk.finished(question, ANSWER_SECONDS)
        ended = isinstance(talk.failure, CallDropped)
    took = await recovery
    async with site.call() as talk:
        after = await talk.finished(talk.say(pcm), ANSWER_SECONDS)
    found = f"gateway: call {'ended' if ended else 'not ended'}, the next one was {after.outcome}"
    passed = ended and after.outcome == "answered"
    return [
        _judge_recovery(site, "gateway", took),
        judge(CHECK, passed, found, "the next call is accepted", "See the gateway's log."),
    ]


def _kill(site: Site, name: str) -> asyncio.Task[float | None]:
    """Kill a process and return a task that waits until it has recovered.

    The task returns the seconds until there is another process and calls are accepted, or None
    after the limit. Raises ConnectionError.
    """
    pid = processes.programs(site.settings.paths.run)[name].pid
    if not pid:
        raise ConnectionError(f"{name} has no process to kill")
    os.kill(pid, signal.SIGKILL)
    return asyncio.create_task(_wait_recovered(site, name, pid, time.monotonic()))


async def _wait_recovered(site: Site, name: str, pid: int, killed_at: float) -> float | None:
    while (took := time.monotonic() - killed_at) <= site.limits.recovery:
        if await _is_recovered(site, name, pid):
            return took
        await asyncio.sleep(POLL_SECONDS)
    return None


async def _is_recovered(site: Site, name: str, killed_pid: int) -> bool:
    run = site.settings.paths.run
    try:
        pid = (await asyncio.to_thread(processes.programs, run))[name].pid
        if pid in (0, killed_pid):
            return False
        # The gateway polls the engines once a second and may not have noticed the loss yet.
        if name in ENGINES and not (await ask_health(socket_path(run, name), HEALTH_SECONDS)).ready:
            return False
        await site.scrape()
    except (OSError, EngineGone):
        return False
    return not await ready.find_obstacle(site)


def _judge_recovery(site: Site, name: str, took: float | None) -> CheckResult:
    found = f"{name}: not back" if took is None else f"{name}: back after {format_seconds(took)}"
    wanted = f"within {format_seconds(site.limits.recovery)}"
    return judge(CHECK, took is not None, found, wanted, ADVICE)
