"""Check that callers beyond the session limit or with a wrong token are refused.

Calls in progress must continue meanwhile. Callers from outside may hold places, too, if the
appliance is open: the check then fills only those that are left.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from contextlib import AsyncExitStack

from websockets.exceptions import InvalidStatus

from appliance.acceptance import script
from appliance.acceptance.caller import ANSWER_SECONDS
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.report import CheckResult, judge
from appliance.errors import Full
from client.call import connect_once
from client.config import Config
from client.conversation import Conversation
from client.errors import CallRefused

CHECK = "overload"
WRONG_TOKEN = "not-the-token-of-this-appliance"
TOO_MANY_ATTEMPTS = 429  # HTTP status
SETTLE_SECONDS = 1.0
ADVICE = "Repeat the test while there are no other callers."


async def check(context: AcceptanceContext) -> list[CheckResult]:
    """Occupy the free sessions and request one more. Raises ClientError and EngineFailed."""
    wrong_target = dataclasses.replace(context.target, token=WRONG_TOKEN)
    results = [
        _expect_status("a caller with a wrong token", await _attempt_call(wrong_target), 401)
    ]
    pcm = await context.voices.say(script.KNOWLEDGE[0].text)
    async with AsyncExitStack() as stack:
        talks = await _occupy(context, stack)
        sessions, limit = len(talks), context.settings.gateway.max_sessions
        refusal = await _attempt_call(context.target)
        if sessions == limit:
            results.append(_expect_status(f"a caller beyond {sessions} sessions", refusal, 503))
        else:
            results.append(_expect_full(sessions, limit, refusal, await _is_closed(context)))
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


async def _occupy(context: AcceptanceContext, stack: AsyncExitStack) -> list[Conversation]:
    """Open calls until all sessions are taken, or until one is refused. Raises ClientError.

    Only the first is retried for a while: the places that other callers hold are not waited for.
    """
    talks = [await stack.enter_async_context(context.call())]
    while len(talks) < context.settings.gateway.max_sessions:
        try:
            talks.append(await stack.enter_async_context(context.call(retry_seconds=0)))
        except CallRefused as refused:
            refusal = _refusal_of(refused)
            if refusal.status != TOO_MANY_ATTEMPTS:
                break
            await asyncio.sleep(refusal.retry_after_seconds or SETTLE_SECONDS)
    return talks


async def _is_closed(context: AcceptanceContext) -> bool:
    """Whether the appliance says that only this test may call it. Raises OSError."""
    _, text = await context.readyz()
    try:
        page = json.loads(text)
    except ValueError:
        return False
    return isinstance(page, dict) and bool(page.get("closed"))


def _expect_status(caller: str, refusal: Refusal | None, status: int) -> CheckResult:
    outcome = f"refused with {refusal.status}" if refusal else "accepted"
    passed = refusal is not None and refusal.status == status
    return judge(CHECK, passed, f"{caller} was {outcome}", f"refused with {status}", ADVICE)


def _expect_full(
    sessions: int, limit: int, refusal: Refusal | None, is_closed: bool
) -> CheckResult:
    """Judge that fewer sessions than allowed were let in: other callers may hold the rest."""
    reason = refusal.reason if refusal else "accepted"
    actual = f"with {sessions} of {limit} sessions of this test, a caller was refused: {reason}"
    expected = "refused: full, because of other callers; a closed appliance has none"
    return judge(CHECK, reason == Full.reason and not is_closed, actual, expected, ADVICE)


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """HTTP status, reason and Retry-After of a refused call."""

    status: int
    reason: str
    retry_after_seconds: float | None


def _refusal_of(refused: CallRefused) -> Refusal:
    cause = refused.__cause__
    if not isinstance(cause, InvalidStatus):
        return Refusal(0, "", refused.retry_after_seconds)
    try:
        body = json.loads(cause.response.body or b"")
    except ValueError:
        body = None
    reason = str(body.get("reason", "")) if isinstance(body, dict) else ""
    return Refusal(cause.response.status_code, reason, refused.retry_after_seconds)


async def _attempt_call(config: Config) -> Refusal | None:
    """Try to open a call. Return the refusal, or None if it is accepted. Raises CannotConnect."""
    while True:
        try:
            call = await connect_once(config)
        except CallRefused as refused:
            refusal = _refusal_of(refused)
            if refusal.status != TOO_MANY_ATTEMPTS:
                return refusal
            await asyncio.sleep(refusal.retry_after_seconds or SETTLE_SECONDS)
        else:
            await call.close()
            return None
