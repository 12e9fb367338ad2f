"""Prefill, transcripts and trimming of the history, on a real link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from appliance.gateway.history import Exchange, History
from appliance.gateway.prefetch import Prefetcher
from appliance.link.client import EngineClient
from appliance.link.engine import Tool, Turn, Utterance
from tests.fakes import InstantSpeechEngine, InstantSpeechSession, tone
from tests.link.contract import linked, utterance

BUDGET = 58  # tokens: two questions of three seconds are too many


class Conversation:
    """A conversation with its background work, and the engine behind a real link."""

    def __init__(self, client: EngineClient, engine: InstantSpeechEngine) -> None:
        self.client = client
        self.engine = engine
        self.history = History("Be kind.", BUDGET, 20, audio_turns=1)
        self.transcripts: list[str] = []
        tools = (Tool("noop", "Nothing.", "{}"),)
        self.prefetcher = Prefetcher(client, self.history, lambda: tools)

    def ask(self, number: int, seconds: float = 3.0) -> Exchange:
        speech = utterance(number, tone(seconds, rate=16_000))
        self.client.add(speech)
        return self.history.add(utterance=speech)

    def transcribe(self, exchange: Exchange) -> None:
        async def on_transcript(text: str) -> None:
            self.transcripts.append(text)

        assert exchange.utterance is not None
        self.prefetcher.transcribe(exchange.utterance, on_transcript)

    def heard(self, reply: str) -> None:
        self.history.add_heard(reply)
        self.prefetcher.trim_history()

    def turns(self) -> list[tuple[str, str, bool]]:
        return summary(self.history.conversation()[1:])

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)


def summary(turns: Iterable[Turn]) -> list[tuple[str, str, bool]]:
    """Role, text and whether it is audio, of each turn."""
    return [(turn.role, turn.text, turn.utterance is not None) for turn in turns]


@pytest.fixture
async def call(tmp_path: Path) -> AsyncIterator[Conversation]:
    engine = InstantSpeechEngine()
    async with linked(engine, tmp_path / "s") as client:
        call = Conversation(client, engine)
        yield call
        await call.prefetcher.close()


async def two_questions(call: Conversation) -> tuple[Exchange, Exchange]:
    """Two questions, the first with a reply and transcribed."""
    first = call.ask(1)
    await call.client.send(1)
    call.transcribe(first)
    await call.until(lambda: call.transcripts)
    call.heard("Yes.")
    second = call.ask(2)
    await call.client.send(2)
    return first, second


async def test_after_the_reply_older_audio_becomes_text_and_the_engine_prefills_that(
    call: Conversation,
) -> None:
    _, second = await two_questions(call)
    call.transcribe(second)
    await call.until(lambda: len(call.transcripts) == 2)
    assert not call.engine.warmed
    call.heard("No.")
    remembered = [
        ("user", "3000 milliseconds", False),
        ("assistant", "Yes.", False),
        ("user", "", True),
        ("assistant", "No.", False),
    ]
    assert call.turns() == remembered
    await call.until(lambda: call.engine.warmed)
    warmed = call.engine.warmed[-1][1:]
    assert summary(warmed) == remembered
    (session,) = call.engine.sessions
    assert set(session.heard) == {2}


async def test_history_is_not_trimmed_during_a_turn_or_before_its_reply_was_heard(
    call: Conversation,
) -> None:
    await two_questions(call)
    call.prefetcher.turn_running = True
    call.heard("No, because")
    assert call.turns()[0] == ("user", "", True)
    call.prefetcher.turn_running = False
    call.heard("it is not so.")
    assert call.turns()[0] == ("user", "3000 milliseconds", False)
    call.ask(3)
    call.ask(4)
    call.prefetcher.trim_history()
    assert len(call.turns()) == 6


async def test_history_is_not_trimmed_before_a_running_transcription_ends(
    call: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = asyncio.Event()

    async def slowly(_session: InstantSpeechSession, _utterance: int) -> str:
        await done.wait()
        return "Is it late?"

    first = call.ask(1)
    monkeypatch.setattr(InstantSpeechSession, "transcribe", slowly)
    call.transcribe(first)
    call.heard("Yes.")
    call.ask(2)
    call.heard("No.")
    assert call.turns()[0] == ("user", "", True)
    done.set()
    await call.until(lambda: call.turns()[0] == ("user", "Is it late?", False))


async def test_audio_without_a_transcript_is_dropped_without_a_placeholder(
    call: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_session: InstantSpeechSession, _utterance: int) -> str:
        raise RuntimeError

    monkeypatch.setattr(InstantSpeechSession, "transcribe", fail)
    first = call.ask(1)
    call.transcribe(first)
    call.heard("Yes.")
    call.ask(2)
    call.heard("No.")
    await call.until(lambda: len(call.turns()) == 2)
    assert call.turns() == [("user", "", True), ("assistant", "No.", False)]
    assert call.transcripts == []


async def test_engine_prefills_an_utterance_that_still_grows(call: Conversation) -> None:
    growing = Utterance(7)
    growing.pcm += tone(0.5, rate=16_000)
    call.client.add(growing)
    call.prefetcher.prefill(Turn("user", utterance=7))
    await call.until(lambda: call.engine.warmed)
    assert [turn.role for turn in call.engine.warmed[0]] == ["system", "user"]
