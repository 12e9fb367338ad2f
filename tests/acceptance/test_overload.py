"""One caller too many, at a house that keeps its rules and at some that do not."""

from __future__ import annotations

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from appliance.acceptance import overload
from appliance.acceptance.metrics import Made
from appliance.acceptance.report import Result, limits
from appliance.acceptance.site import Door, Site, Voice, Wishes
from appliance.settings import load
from tests.fakes import FakeGateway, tone

TOKEN = "the-token-of-this-house"
GIVEN = load({"VOICE_GATEWAY_MAX_SESSIONS": "2"})
TOKEN_KEPT, PLACES_KEPT, COME_AGAIN, OTHERS_GO_ON = range(4)


class House(FakeGateway):
    """Has room for so many callers, and throws another one out when the next one comes."""

    def __init__(
        self,
        places: int = 2,
        token: str = TOKEN,
        busy: dict[str, str] | None = None,
        throws_out: bool = False,
    ) -> None:
        super().__init__(token=token)
        self._places = places
        self._busy = {"Retry-After": "5"} if busy is None else busy
        self._throws_out = throws_out

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        refusal = super()._admit(connection, request)
        if refusal is not None or len(self.callers) < self._places:
            return refusal
        if self._throws_out:
            self.callers[-1].die()
        return self._refusal(503, self._busy, b"")


class Tone(Voice):
    """Asks with a sound that the fake gateway takes for speech."""

    async def say(self, text: str) -> bytes:
        return tone(0.3, 16_000)


def beside(house: House) -> Site:
    """The site of a test of this house, with the right token."""
    return Site(GIVEN, Door(house.url, token=TOKEN), limits(GIVEN, [])[1], Wishes(), Tone(GIVEN))


def failed(results: list[Result]) -> list[int]:
    return [number for number, result in enumerate(results) if result.state == "fail"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "SETTLE_SECONDS", 0.01)


async def test_a_house_that_keeps_its_rules_passes_and_its_calls_are_counted() -> None:
    async with House() as house:
        site = beside(house)
        results = await overload.check(site)
    assert failed(results) == []
    assert results[PLACES_KEPT].found == "caller 3 of 2 was refused with 503"
    assert results[COME_AGAIN].found == "told to come again in 5 s"
    assert site.tally.made() == Made(calls=2, turns=1, answers=1)


async def test_a_house_that_lets_everybody_in_is_noticed() -> None:
    async with House(places=99, token="") as house:
        results = await overload.check(beside(house))
    assert failed(results) == [TOKEN_KEPT, PLACES_KEPT, COME_AGAIN]
    assert results[TOKEN_KEPT].found == "a wrong token was let in"


async def test_who_is_turned_away_has_to_be_told_when_to_come_again() -> None:
    async with House(busy={}) as house:
        assert failed(await overload.check(beside(house))) == [COME_AGAIN]


async def test_a_call_that_is_lost_to_the_crowd_is_noticed() -> None:
    async with House(throws_out=True) as house:
        results = await overload.check(beside(house))
    assert failed(results) == [OTHERS_GO_ON]
    assert results[OTHERS_GO_ON].found == "1 of 2 calls went on, a question was answered"


async def test_who_tried_too_often_waits_and_asks_again() -> None:
    async with House() as house:
        house.refusals = [(429, {"Retry-After": "0"}, b"")] * 2
        assert failed(await overload.check(beside(house))) == []
