"""The small engine still knows an utterance after its audio was replaced by a transcript."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from appliance.engines.llm.small.engine import SmallEngine
from appliance.engines.llm.small.session import SmallSession
from appliance.link.engine import Chunk, GenerateRequest, Turn
from appliance.settings import PathsConfig, Settings
from tests.gateway import conftest
from tests.gateway.conftest import MakeGateway, Speak

WEIGHTS = Path(__file__).parents[2] / "weights"


async def test_third_reply_uses_the_first_utterance_after_it_became_text(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[list[Turn]] = []
    generate = SmallSession.generate

    def spy(session: SmallSession, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        requests.append(list(request.conversation))
        return generate(session, request)

    engine = SmallEngine(Settings(paths=PathsConfig(weights=WEIGHTS)))
    await engine.start()
    monkeypatch.setattr(SmallSession, "generate", spy)
    monkeypatch.setattr(conftest, "InstantLLMEngine", lambda _llm: engine)
    # Six seconds of silence make the first question fill most of the history.
    llm = {"pre_roll_seconds": 6.0, "history_tokens": 60, "audio_turns": 1, "reply_tokens": 12}
    try:
        async with make_gateway(sections={"llm": llm}) as gateway:
            client = await gateway.connect()
            await client.say(bytes(2 * 16_000 * 6) + speak("My name is Clara."))
            assert "Clara" in (await client.turn(1))["user_text"]
            await client.type("Good day.")
            await client.turn(2)
            await client.type("What is my name?")
            turn = await client.turn(3)
    finally:
        await engine.stop()
    assert requests[1][1].utterance is not None
    assert "name is Clara" in requests[2][1].text
    assert all(turn.utterance is None for turn in requests[2])
    assert "Clara" in turn["reply_text"]
