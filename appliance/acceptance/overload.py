"""Check that callers beyond the session limit or with a wrong token are refused.

Calls in progress must continue meanwhile.
"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AsyncExitStack

from websockets.exceptions import InvalidStatus

from appliance.acceptance import script
from appliance.acceptance.caller import ANSWER_SECONDS
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.report import CheckResult, judge
from client.call import connect_once
from client.config import Config
from client.errors import CallRefused

CHECK = "overload"
WRONG_TOKEN = "not-the-token-of-this-appliance"
TOO_MANY_ATTEMPTS = 429  # HTTP status
SETTLE_SECONDS = 1.0
ADVICE = "Repeat the test while there are no other callers."


async def check(context: AcceptanceContext) -> list[CheckResult]:
    """Occupy all sessions and request one more. Raises ClientError and EngineFailed."""
    wrong_target = dataclasses.replace(context.target, token=WRONG_TOKEN)
    results = [
        _expect_status("a caller with a wrong token", await _attempt_call(wrong_target), 401)
    ]
    sessions = context.settings.gateway.max_sessions
    pcm = await context.voices.say(script.KNOWLEDGE[0].text)
    async with AsyncExitStack() as stack:
        talks = [await stack.enter_async_context(context.call()) for _ in range(sessions)]
        refusal = await _attempt_call(context.target)
        results.append(_expect_status(f"a caller beyond {sessions} sessions", refusal, 503))
        retry = refusal.retry_after_seconds if refusal else None
        actual = f"Retry-After: {retry:g}" if retry else "no Retry-After header"
        results.append(judge(CHECK, bool(retry), actual, "a Retry-After header", ADVICE))
        record = await talks[0].finished(talks[0].say(pcm), ANSWER_SECONDS)
        context.tally.turn_ended(record)
        continued = sum(talk.failure is None for talk in talks)
        actual = f"{continued} of {sessions} calls continued; a question was {record.outcome}"
        passed = continued == sessions and record.outcome == "answered"
        expected = "all calls continue and the question is answered"
        results.append(judge(CHECK, passed, actual, expected, ADVICE))
    await asyncio.sleep(SETTLE_SECONDS)
    return results


def _expect_status(caller: str, refusal: Refusal | None, status: int) -> CheckResult:
    outcome = f"refused with {refusal.status}" if refusal else "accepted"
    passed = refusal is not None and refusal.status == status
    return judge(CHECK, passed, f"{caller} was {outcome}", f"refused with {status}", ADVICE)


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """HTTP status and Retry-After of a refused call."""

    status: int
    retry_after_seconds: float | None


async def _attempt_call(config: Config) -> Refusal | None:
    """Try to open a call. Return the refusal, or None if it is accepted. Raises CannotConnect."""
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
