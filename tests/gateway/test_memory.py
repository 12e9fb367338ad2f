"""The small engine after a trim: it still knows the conversation, and has prefilled it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

# Set before the first model loads libgomp: spinning OpenMP threads stall a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from appliance.engines.llm.small.engine import SmallEngine
from appliance.engines.llm.small.session import SmallSession
from appliance.gateway.generation.history import History
from appliance.gateway.generation.prefetch import Prefetcher
from appliance.link.engine import ChatMessage, Chunk, GenerateRequest
from appliance.settings import LLMConfig, PathsConfig, Settings
from tests.conftest import FAST_MODEL
from tests.gateway import running_gateway
from tests.gateway.espeak import Speak
from tests.gateway.running_gateway import MakeGateway
from tests.link.contract import linked, reply

WEIGHTS = Path(__file__).parents[2] / "weights"


async def test_third_reply_uses_the_first_utterance_after_it_became_text(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[list[ChatMessage]] = []
    generate = SmallSession.generate

    def spy(session: SmallSession, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        requests.append(list(request.conversation))
        return generate(session, request)

    engine = SmallEngine(
        Settings(paths=PathsConfig(weights=WEIGHTS), llm=LLMConfig(model=FAST_MODEL))
    )
    await engine.start()
    monkeypatch.setattr(SmallSession, "generate", spy)
    monkeypatch.setattr(running_gateway, "InstantLLMEngine", lambda _llm: engine)
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


async def test_reply_after_a_trim_processes_only_the_new_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shortened conversation is prefilled while the reply before is played."""
    prefilled = asyncio.Event()
    prefill = SmallSession.prefill

    async def spy(session: SmallSession, *arguments: Any) -> None:
        await prefill(session, *arguments)
        prefilled.set()

    monkeypatch.setattr(SmallSession, "prefill", spy)
    settings = Settings(paths=PathsConfig(weights=WEIGHTS), llm=LLMConfig(model=FAST_MODEL))
    engine = SmallEngine(settings)
    await engine.start()
    history = History(settings.llm.system_prompt, max_tokens=120, max_messages=100, audio_turns=1)
    trims = 0
    try:
        async with linked(engine, tmp_path / "s") as client:
            prefetcher = Prefetcher(client, history, tuple, lambda: False)
            for number in range(8):
                question = f"Tell me something about the number {number} and a large old city."
                history.add(text=question)
                text, result = await reply(client, *history.prompt(), max_tokens=12)
                if number:
                    new = result.stats["prompt_tokens"] - result.stats["cached_tokens"]
                    assert new <= 30, f"after {trims} trims"  # the question and the chat format
                before = len(history.exchanges)
                prefilled.clear()
                prefetcher.reply_generated(text)
                if len(history.exchanges) < before:
                    trims += 1
                    await prefilled.wait()
                history.add_heard(text)
                prefetcher.trim_history()
            await prefetcher.close()
    finally:
        await engine.stop()
    assert trims >= 2
