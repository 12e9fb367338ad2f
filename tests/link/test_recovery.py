"""Asking again until the engine is back, or until patience ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from appliance.errors import BadRequest, EngineGone
from appliance.link import client
from appliance.link.client import EngineLost, retry_until_back


class Engine:
    """Is gone for the first `losses` requests, after a piece of each."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.asked = 0

    async def ask(self) -> AsyncGenerator[str, None]:
        self.asked += 1
        yield "One"
        if self.asked <= self.losses:
            raise EngineGone(engine="tts")
        yield "two"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RECONNECT_SECONDS", 0.0)


async def test_what_an_engine_says_comes_through() -> None:
    assert [piece async for piece in retry_until_back(Engine(0).ask, 10)] == ["One", "two"]


async def test_an_engine_that_comes_back_is_asked_anew_and_patience_is_asked_for_once() -> None:
    pieces = [piece async for piece in retry_until_back(Engine(2).ask, 10)]
    assert [piece if isinstance(piece, str) else piece.apologize for piece in pieces] == [
        "One", True, "One", False, "One", "two",
    ]  # fmt: skip


async def test_an_engine_that_stays_away_is_given_up_without_asking_for_patience() -> None:
    engine = Engine(1)
    pieces = retry_until_back(engine.ask, -1)
    assert await anext(pieces) == "One"
    lost = await anext(pieces)
    assert isinstance(lost, EngineLost)
    assert not lost.apologize
    with pytest.raises(EngineGone):
        await anext(pieces)
    assert engine.asked == 1


async def test_any_other_failure_is_not_waited_for() -> None:
    async def refuse() -> AsyncGenerator[str, None]:
        raise BadRequest(engine="tts", what="nonsense")
        yield ""

    with pytest.raises(BadRequest):
        await anext(retry_until_back(refuse, 10))
