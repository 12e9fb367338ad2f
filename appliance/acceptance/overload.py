"""Are a caller too many and one with a wrong token refused, while other calls continue?"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AsyncExitStack

from websockets.exceptions import InvalidStatus

from appliance.acceptance import script
from appliance.acceptance.caller import ANSWER_SECONDS
from appliance.acceptance.report import CheckResult, judge
from appliance.acceptance.site import Site
from client.call import connect_once
from client.config import Config
from client.errors import CallRefused

CHECK = "overload"
WRONG_TOKEN = "not-the-token-of-this-appliance"
TOO_MANY_ATTEMPTS = 429  # HTTP status
SETTLE_SECONDS = 1.0
ADVICE = "Is there another caller? Run this test without other callers."


async def check(site: Site) -> list[CheckResult]:
    """Use all sessions and ask for one more. Raises ClientError and EngineFailed."""
    wrong = dataclasses.replace(site.target, token=WRONG_TOKEN)
    results = [_expect_status("a wrong token", await _refusal(wrong), 401)]
    sessions = site.settings.gateway.max_sessions
    pcm = await site.voice.say(script.KNOWLEDGE[0].text)
    async with AsyncExitStack() as stack:
        talks = [await stack.enter_async_context(site.call()) for _ in range(sessions)]
        refusal = await _refusal(site.target)
        results.append(_expect_status(f"caller {sessions + 1} of {sessions}", refusal, 503))
        retry = refusal.retry_after_seconds if refusal else None
        found = f"told to retry in {retry:g} s" if retry else "not told when to retry"
        results.append(judge(CHECK, bool(retry), found, "Retry-After", ADVICE))
        record = await talks[0].finished(talks[0].say(pcm), ANSWER_SECONDS)
        site.tally.turn_ended(record)
        alive = sum(talk.failure is None for talk in talks)
        found = f"{alive} of {sessions} calls continued, a question was {record.outcome}"
        passed = alive == sessions and record.outcome == "answered"
        results.append(judge(CHECK, passed, found, "all of them", ADVICE))
    await asyncio.sleep(SETTLE_SECONDS)
    return results


def _expect_status(caller: str, refusal: Refusal | None, status: int) -> CheckResult:
    outcome = f"refused with {refusal.status}" if refusal else "let in"
    passed = refusal is not None and refusal.status == status
    return judge(CHECK, passed, f"{caller} was {outcome}", f"refused with {status}", ADVICE)


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """The HTTP status of a refused call, and the value of Retry-After."""

    status: int
    retry_after_seconds: float | None


async def _refusal(config: Config) -> Refusal | None:
    """Return how a caller is refused; None if the call is accepted. Raises CannotConnect."""
    while True:
        try:
            call = await connect_once(config)
        except CallRefused as refused:
            cause = refused.__cause__
            status = cause.response.status_code if isinstance(cause, InvalidStatus) else 0
            if status != TOO_MANY_ATTEMPTS:
                return Refusal(status, refused.retry_after_seconds)
            await asyncio.sleep(refused.retry_after_seconds or SETTLE_SECONDS)
        else:
            await call.close()
            return None
