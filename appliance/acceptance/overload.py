"""One caller too many, and one with a wrong token: turned away, while the others go on."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AsyncExitStack

from websockets.exceptions import InvalidStatus

from appliance.acceptance import script
from appliance.acceptance.report import Result, judged
from appliance.acceptance.site import ANSWER_SECONDS, Site, calling
from client.call import connect_once
from client.config import Config
from client.errors import CallRefused

CHECK = "overload"
WRONG_TOKEN = "not-the-token-of-this-appliance"
TOO_OFTEN = 429
SETTLE_SECONDS = 1.0
ADVICE = "Is somebody else calling? Make this test without other callers."


async def check(site: Site) -> list[Result]:
    """Takes all places and asks for one more. Raises ClientError and EngineFailed."""
    wrong = dataclasses.replace(site.door, token=WRONG_TOKEN)
    results = [_status("a wrong token", await _refusal(wrong), 401)]
    most = site.given.gateway.max_sessions
    pcm = await site.voice.say(script.KNOWN[0].text)
    async with AsyncExitStack() as held:
        talks = []
        for _ in range(most):
            talk = calling(site.door, site.tally, site.greets)
            talks.append(await held.enter_async_context(talk))
        refusal = await _refusal(site.door)
        results.append(_status(f"caller {most + 1} of {most}", refusal, 503))
        asks = refusal.retry_after_seconds if refusal else None
        found = f"told to come again in {asks:g} s" if asks else "not told when to come again"
        results.append(judged(CHECK, bool(asks), found, "Retry-After", ADVICE))
        record = await talks[0].finished(talks[0].say(pcm), ANSWER_SECONDS)
        site.tally.record(record)
        live = sum(talk.failure is None for talk in talks)
        told = record.outcome == "answered"
        found = f"{live} of {most} calls went on, a question was {record.outcome}"
        results.append(judged(CHECK, live == most and told, found, "all of them", ADVICE))
    await asyncio.sleep(SETTLE_SECONDS)
    return results


def _status(who: str, refusal: Refusal | None, wanted: int) -> Result:
    found = f"{who} was " + (f"refused with {refusal.status}" if refusal else "let in")
    good = refusal is not None and refusal.status == wanted
    return judged(CHECK, good, found, f"refused with {wanted}", ADVICE)


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status in place of a call, and when to come again."""

    status: int
    retry_after_seconds: float | None


async def _refusal(config: Config) -> Refusal | None:
    """How this caller is turned away; None for one that is let in. Raises CannotConnect."""
    while True:
        try:
            call = await connect_once(config)
        except CallRefused as refused:
            cause = refused.__cause__
            status = cause.response.status_code if isinstance(cause, InvalidStatus) else 0
            if status != TOO_OFTEN:
                return Refusal(status, refused.retry_after_seconds)
            await asyncio.sleep(refused.retry_after_seconds or SETTLE_SECONDS)
        else:
            await call.close()
            return None
