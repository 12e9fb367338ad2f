"""retry_until_back: repeats a request until the engine is back or the time limit expires."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from appliance.errors import BadRequest, EngineGone
from appliance.link import recovery
from appliance.link.recovery import EngineLost, retry_until_back


class Engine:
    """Fake engine that is lost after one chunk in each of the first `losses` requests."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.requests = 0

    async def ask(self) -> AsyncGenerator[str, None]:
        self.requests += 1
        yield "One"
        if self.requests <= self.losses:
            raise EngineGone(engine="tts")
        yield "two"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "RECONNECT_SECONDS", 0.0)


async def test_chunks_of_a_request_are_passed_through() -> None:
    assert [piece async for piece in retry_until_back(Engine(0).ask, 10)] == ["One", "two"]


async def test_request_is_repeated_after_each_loss_and_the_hold_message_plays_once() -> None:
    pieces = [piece async for piece in retry_until_back(Engine(2).ask, 10)]
    assert [piece if isinstance(piece, str) else piece.play_hold_message for piece in pieces] == [
        "One", True, "One", False, "One", "two",
    ]  # fmt: skip


async def test_engine_that_does_not_come_back_raises_without_a_hold_message() -> None:
    engine = Engine(1)
    pieces = retry_until_back(engine.ask, -1)
    assert await anext(pieces) == "One"
    lost = await anext(pieces)
    assert isinstance(lost, EngineLost)
    assert not lost.play_hold_message
    with pytest.raises(EngineGone):
        await anext(pieces)
    assert engine.requests == 1


async def test_other_failures_are_raised_immediately() -> None:
    async def refuse() -> AsyncGenerator[str, None]:
        raise BadRequest(engine="tts", what="nonsense")
        yield ""

    with pytest.raises(BadRequest):
        await anext(retry_until_back(refuse, 10))
