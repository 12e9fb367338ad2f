"""The overload check against gateways that refuse callers correctly, and some that do not."""

from __future__ import annotations

import json

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from appliance.acceptance import overload
from appliance.acceptance.caller import ApplianceEar, CallTarget
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.limits import limits_for
from appliance.acceptance.metrics import Activity
from appliance.acceptance.options import AcceptanceOptions
from appliance.acceptance.report import CheckResult
from appliance.acceptance.voices import EspeakVoices
from appliance.settings import load
from tests.fakes import FakeGateway, tone

TOKEN = "the-token-of-this-gateway"
SETTINGS = load({"VOICE_GATEWAY_MAX_SESSIONS": "2"})
TOKEN_CHECKED, SESSIONS_LIMITED, RETRY_AFTER, OTHERS_CONTINUE = range(4)


class LimitedGateway(FakeGateway):
    """Admits a limited number of sessions.

    busy    headers of the refusal response
    drops   whether it closes an admitted session when it refuses a caller
    """

    def __init__(
        self,
        sessions: int = 2,
        token: str = TOKEN,
        busy: dict[str, str] | None = None,
        drops: bool = False,
    ) -> None:
        super().__init__(token=token)
        self._sessions = sessions
        self._busy = {"Retry-After": "5"} if busy is None else busy
        self._drops = drops

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        refusal = super()._admit(connection, request)
        if refusal is not None or len(self.callers) < self._sessions:
            return refusal
        if self._drops:
            self.callers[-1].die()
        return self._refusal(503, self._busy, self._busy_body())

    def _busy_body(self) -> bytes:
        return b""


class ToneVoices(EspeakVoices):
    """Speaks a tone, which the fake gateway treats as speech."""

    async def say(self, text: str, voice: str = "") -> bytes:
        return tone(0.3, 16_000)


def context_of(gateway: LimitedGateway) -> AcceptanceContext:
    """The context of a test of this gateway, with the right token."""
    _, limits = limits_for(SETTINGS, [])
    target = CallTarget(gateway.url, token=TOKEN)
    ear = ApplianceEar(SETTINGS)
    return AcceptanceContext(SETTINGS, target, limits, AcceptanceOptions(), ear, ToneVoices())


def failed(results: list[CheckResult]) -> list[int]:
    return [number for number, result in enumerate(results) if result.state == "fail"]


@pytest.fixture(autouse=True)
def short_settle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "SETTLE_SECONDS", 0.01)


async def test_correct_gateway_passes_and_the_calls_are_counted() -> None:
    async with LimitedGateway() as gateway:
        context = context_of(gateway)
        results = await overload.check(context)
    assert failed(results) == []
    assert results[SESSIONS_LIMITED].found == "a caller beyond 2 sessions was refused with 503"
    assert results[RETRY_AFTER].found == "Retry-After: 5"
    assert context.tally.activity() == Activity(calls=2, turns=1, answers=1)


async def test_gateway_that_admits_everyone_fails() -> None:
    async with LimitedGateway(sessions=99, token="") as gateway:
        results = await overload.check(context_of(gateway))
    assert failed(results) == [TOKEN_CHECKED, SESSIONS_LIMITED, RETRY_AFTER]
    assert results[TOKEN_CHECKED].found == "a caller with a wrong token was accepted"


class BusyGateway(LimitedGateway):
    """A gateway of which callers from outside hold one place.

    closed  what it says about itself; it then should have no other callers
    """

    def __init__(self, reason: str = "full", closed: bool = False) -> None:
        super().__init__(sessions=1)
        self._reason = reason
        self._closed = closed

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/readyz":
            return self._refusal(503, {}, json.dumps({"closed": self._closed}).encode())
        return super()._admit(connection, request)

    def _busy_body(self) -> bytes:
        return json.dumps({"reason": self._reason}).encode()


async def test_places_that_other_callers_hold_need_not_be_taken() -> None:
    async with BusyGateway() as gateway:
        results = await overload.check(context_of(gateway))
    assert failed(results) == []
    assert results[SESSIONS_LIMITED].found.startswith("with 1 of 2 sessions of this test")


@pytest.mark.parametrize("gateway", [BusyGateway(closed=True), BusyGateway(reason="not_ready")])
async def test_missing_places_fail_if_there_can_be_no_other_callers(gateway: BusyGateway) -> None:
    async with gateway:
        assert failed(await overload.check(context_of(gateway))) == [SESSIONS_LIMITED]


async def test_refusal_without_retry_after_fails() -> None:
    async with LimitedGateway(busy={}) as gateway:
        assert failed(await overload.check(context_of(gateway))) == [RETRY_AFTER]


async def test_session_dropped_during_overload_fails() -> None:
    async with LimitedGateway(drops=True) as gateway:
        results = await overload.check(context_of(gateway))
    assert failed(results) == [OTHERS_CONTINUE]
    assert results[OTHERS_CONTINUE].found == "1 of 2 calls continued; a question was answered"


async def test_check_waits_after_too_many_attempts() -> None:
    async with LimitedGateway() as gateway:
        gateway.refusals = [(429, {"Retry-After": "0"}, b"")] * 2
        assert failed(await overload.check(context_of(gateway))) == []
