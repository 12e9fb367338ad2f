"""Kills each process once, as a fault would: what the caller notices, and when it is back.

Calls that go on meanwhile suffer; made only where it is asked for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

from appliance.acceptance import processes, readiness, script
from appliance.acceptance.caller import ANSWER_SECONDS, calling
from appliance.acceptance.figures import seconds
from appliance.acceptance.results import Result, judged
from appliance.acceptance.site import Site
from client.conversation import Conversation
from client.errors import BrokeOff

CHECK = "recovery"
LOOK_SECONDS = 0.5
INTO_TURN_SECONDS = 0.5
ENGINES = ("ultravox", "kokoro")
ADVICE = "See the log of the process for why it did not come back: voicectl logs -u NAME."


async def check(site: Site) -> list[Result]:
    """Kills all in turn. Raises ClientError, EngineFailed and ConnectionError."""
    results = []
    for name in sorted(processes.programs(site.given.paths.run)):
        if name in ENGINES:
            results += await _engine(site, name)
        elif name == "gateway":
            results += await _gateway(site)
        else:
            pid = _kill(site, name)
            results.append(_judged(site, name, await _back(site, name, pid, site.limits.recovery)))
    return results


async def _engine(site: Site, name: str) -> list[Result]:
    """In the middle of a turn; the same call has to be able to go on."""
    # What is said later must not need the engine that was killed.
    pcm = await site.voice.say(script.KNOWN[0].text)
    async with calling(site.door, site.tally, site.greets) as talk:
        asked = talk.say(pcm)
        await asyncio.sleep(INTO_TURN_SECONDS)
        pid = _kill(site, name)
        cut = await talk.finished(asked, site.limits.recovery)
        took = await _back_in_call(site, name, pid, talk, pcm)
        after = await talk.finished(talk.say(pcm), site.limits.recovery)
    went_on = talk.failure is None and after.outcome == "answered"
    found = f"{name}: the turn was {cut.outcome}, the next one in the same call {after.outcome}"
    return [
        _judged(site, name, took),
        judged(CHECK, went_on, found, "the call goes on", "Look at the gateway's log."),
    ]


async def _gateway(site: Site) -> list[Result]:
    """The call is lost; the caller has to be told, and the next call taken."""
    pcm = await site.voice.say(script.KNOWN[0].text)
    async with calling(site.door, site.tally, site.greets) as talk:
        asked = talk.say(pcm)
        await asyncio.sleep(INTO_TURN_SECONDS)
        pid = _kill(site, "gateway")
        await talk.finished(asked, ANSWER_SECONDS)
        told = isinstance(talk.failure, BrokeOff)
    took = await _back(site, "gateway", pid, site.limits.recovery)
    async with calling(site.door, site.tally, site.greets) as talk:
        after = await talk.finished(talk.say(pcm), ANSWER_SECONDS)
    found = f"gateway: call {'ended' if told else 'not ended'}, the next one was {after.outcome}"
    good = told and after.outcome == "answered"
    return [
        _judged(site, "gateway", took),
        judged(CHECK, good, found, "the next call is taken", "Look at the gateway's log."),
    ]


async def _back_in_call(
    site: Site, name: str, pid: int, talk: Conversation, pcm: bytes
) -> float | None:
    """As `_back`, and keeps the call from ending for silence meanwhile."""
    waited = 0.0
    while waited < site.limits.recovery and talk.failure is None:
        part = min(site.given.gateway.idle_seconds / 2, site.limits.recovery - waited)
        if (took := await _back(site, name, pid, part)) is not None:
            return waited + took
        waited += part
        await talk.finished(talk.say(pcm), ANSWER_SECONDS)
    return None


async def _back(site: Site, name: str, pid: int, limit: float) -> float | None:
    """Seconds until there is another process and calls are taken; None when the time is over."""
    began = time.monotonic()
    while time.monotonic() - began <= limit:
        if await _is_back(site, name, pid):
            return time.monotonic() - began
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def _is_back(site: Site, name: str, pid: int) -> bool:
    try:
        now = (await asyncio.to_thread(processes.programs, site.given.paths.run))[name].pid
        if now in (0, pid) or await readiness.waits_for(site):
            return False
        await site.metrics()
    except OSError:
        return False
    return True


def _kill(site: Site, name: str) -> int:
    pid = processes.programs(site.given.paths.run)[name].pid
    if not pid:
        raise ConnectionError(f"{name} has no process to kill")
    os.kill(pid, signal.SIGKILL)
    return pid


def _judged(site: Site, name: str, took: float | None) -> Result:
    limit = site.limits.recovery
    found = f"{name}: back after {seconds(took)}" if took is not None else f"{name}: not back"
    return judged(CHECK, took is not None, found, f"within {seconds(limit)}", ADVICE)
