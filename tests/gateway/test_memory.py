"""What was said in a call is known later on, after its audio has made room; the real engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from appliance.engines.llm.small.engine import SmallEngine
from appliance.engines.llm.small.session import SmallSession
from appliance.link.engine import GenerateRequest, Piece, Turn
from appliance.settings import PathsConfig, Settings
from tests.gateway import conftest
from tests.gateway.conftest import MakeGateway, Speak

WEIGHTS = Path(__file__).parents[2] / "weights"


async def test_the_third_answer_uses_what_was_said_first_and_is_only_text_by_then(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[Turn]] = []
    generate = SmallSession.generate

    def spy(session: SmallSession, request: GenerateRequest) -> AsyncGenerator[Piece]:
        told.append(list(request.conversation))
        return generate(session, request)

    engine = SmallEngine(Settings(paths=PathsConfig(weights=WEIGHTS)))
    await engine.start()
    monkeypatch.setattr(SmallSession, "generate", spy)
    monkeypatch.setattr(conftest, "InstantSpeechEngine", lambda _mind: engine)
    # With six seconds of silence before it the first question takes up most of what there is.
    knobs = {"pre_roll_seconds": 6.0, "history_tokens": 60, "audio_turns": 1, "reply_tokens": 12}
    try:
        async with make_gateway(sections={"llm": knobs}) as gateway:
            caller = await gateway.call()
            await caller.say(bytes(2 * 16_000 * 6) + speak("My name is Clara."))
            assert "Clara" in (await caller.turn(1))["user_text"]
            await caller.type("Good day.")
            await caller.turn(2)
            await caller.type("What is my name?")
            turn = await caller.turn(3)
    finally:
        await engine.stop()
    assert told[1][1].utterance is not None
    assert "name is Clara" in told[2][1].text
    assert all(turn.utterance is None for turn in told[2])
    assert "Clara" in turn["reply_text"]
