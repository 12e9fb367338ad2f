"""Kills each process once, as a fault would: what the caller notices, and when it is back.

Calls that go on meanwhile suffer; made only where it is asked for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

from appliance.acceptance import readiness, script, sockets
from appliance.acceptance.report import Result, judged, seconds
from appliance.acceptance.site import ANSWER_SECONDS, Site, calling
from appliance.errors import EngineGone
from appliance.link.health import ask_health
from appliance.processes import ENGINES, GATEWAY, socket_path
from client.errors import BrokeOff

CHECK = "recovery"
LOOK_SECONDS = 0.5
LINK_SECONDS = 2.0
INTO_TURN_SECONDS = 0.5
ADVICE = "See the log of the process for why it did not come back: voicectl logs -u NAME."


async def check(site: Site) -> list[Result]:
    """Kills all in turn. Raises ClientError, EngineFailed and ConnectionError."""
    results = []
    for name in sorted(sockets.programs(site.given.paths.run)):
        if name in ENGINES:
            results += await _engine(site, name)
        elif name == GATEWAY:
            results += await _gateway(site)
        else:
            results.append(_judged(site, name, await _killed(site, name)))
    return results


async def _engine(site: Site, name: str) -> list[Result]:
    """In the middle of a turn; the same call has to be able to go on."""
    # Spoken now: what is said later must not need the engine that was killed.
    pcm = await site.voice.say(script.KNOWN[0].text)
    async with calling(site.door, site.tally, site.greets) as talk:
        asked = talk.say(pcm)
        await asyncio.sleep(INTO_TURN_SECONDS)
        back = _killed(site, name)
        cut = await talk.finished(asked, site.limits.recovery)
        while not back.done() and talk.failure is None:
            # A call in which nobody speaks would end.
            await asyncio.wait({back}, timeout=site.given.gateway.idle_seconds / 2)
            if not back.done():
                await talk.finished(talk.say(pcm), ANSWER_SECONDS)
        took = await back
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
        back = _killed(site, "gateway")
        await talk.finished(asked, ANSWER_SECONDS)
        told = isinstance(talk.failure, BrokeOff)
    took = await back
    async with calling(site.door, site.tally, site.greets) as talk:
        after = await talk.finished(talk.say(pcm), ANSWER_SECONDS)
    found = f"gateway: call {'ended' if told else 'not ended'}, the next one was {after.outcome}"
    good = told and after.outcome == "answered"
    return [
        _judged(site, "gateway", took),
        judged(CHECK, good, found, "the next call is taken", "Look at the gateway's log."),
    ]


def _killed(site: Site, name: str) -> asyncio.Task[float | None]:
    """Kills it now; the task ends with the seconds until there is another process and calls are
    taken, or with None when the time is over. Raises ConnectionError."""
    pid = sockets.programs(site.given.paths.run)[name].pid
    if not pid:
        raise ConnectionError(f"{name} has no process to kill")
    os.kill(pid, signal.SIGKILL)
    return asyncio.create_task(_back(site, name, pid, time.monotonic()))


async def _back(site: Site, name: str, pid: int, killed_at: float) -> float | None:
    while (took := time.monotonic() - killed_at) <= site.limits.recovery:
        if await _is_back(site, name, pid):
            return took
        await asyncio.sleep(LOOK_SECONDS)
    return None


async def _is_back(site: Site, name: str, pid: int) -> bool:
    run = site.given.paths.run
    try:
        now = (await asyncio.to_thread(sockets.programs, run))[name].pid
        if now in (0, pid):
            return False
        # The gateway looks only once a second, and may not have noticed yet that it was gone.
        if name in ENGINES and not (await ask_health(socket_path(run, name), LINK_SECONDS)).ready:
            return False
        await site.metrics()
    except (OSError, EngineGone):
        return False
    return not await readiness.waits_for(site)


def _judged(site: Site, name: str, took: float | None) -> Result:
    limit = site.limits.recovery
    found = f"{name}: back after {seconds(took)}" if took is not None else f"{name}: not back"
    return judged(CHECK, took is not None, found, f"within {seconds(limit)}", ADVICE)
