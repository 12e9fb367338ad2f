"""Prefill, transcripts and trimming of the history, on a real link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from appliance.gateway.generation.history import Exchange, History
from appliance.gateway.generation.prefetch import Prefetcher, SpeechPrefill
from appliance.gateway.generation.utterances import UtteranceCollector
from appliance.link.client import EngineClient
from appliance.link.engine import ChatMessage, Tool
from appliance.link.utterance import Utterance
from tests.fakes import InstantLLMEngine, InstantLLMSession, tone
from tests.link.contract import linked, utterance

BUDGET = 58  # tokens; two questions of three seconds exceed it


class Conversation:
    """A conversation with its background tasks, and an engine connected over a real link."""

    def __init__(self, client: EngineClient, engine: InstantLLMEngine) -> None:
        self.client = client
        self.engine = engine
        self.history = History("Be kind.", BUDGET, 20, audio_turns=1)
        self.transcripts: list[str] = []
        tools = (Tool("noop", "Nothing.", "{}"),)
        self.others_waiting = False
        self.prefetcher = Prefetcher(
            client, self.history, lambda: tools, lambda: self.others_waiting
        )

    def ask(self, number: int, seconds: float = 3.0) -> Exchange:
        speech = utterance(number, tone(seconds, rate=16_000))
        self.client.add(speech)
        return self.history.add("", speech)

    def transcribe(self, exchange: Exchange) -> None:
        async def on_transcript(text: str) -> None:
            self.transcripts.append(text)

        assert exchange.utterances
        self.prefetcher.transcribe(exchange.utterances, on_transcript)

    def heard(self, reply: str) -> None:
        self.history.add_heard(reply)
        self.prefetcher.trim_history()

    def turns(self) -> list[tuple[str, str, bool]]:
        return summary(self.history.conversation()[1:])

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)


def summary(turns: Iterable[ChatMessage]) -> list[tuple[str, str, bool]]:
    """Return (role, text, is audio) for each turn."""
    return [(turn.role, turn.text, turn.utterance is not None) for turn in turns]


@pytest.fixture
async def conversation(tmp_path: Path) -> AsyncIterator[Conversation]:
    engine = InstantLLMEngine()
    async with linked(engine, tmp_path / "s") as client:
        conversation = Conversation(client, engine)
        yield conversation
        await conversation.prefetcher.close()


async def two_questions(conversation: Conversation) -> tuple[Exchange, Exchange]:
    """Ask two questions; the first is answered and transcribed."""
    first = conversation.ask(1)
    await conversation.client.send(1)
    conversation.transcribe(first)
    await conversation.until(lambda: conversation.transcripts)
    conversation.heard("Yes.")
    second = conversation.ask(2)
    await conversation.client.send(2)
    return first, second


async def test_reply_end_replaces_older_audio_by_text_and_prefills_the_result(
    conversation: Conversation,
) -> None:
    _, second = await two_questions(conversation)
    conversation.transcribe(second)
    await conversation.until(lambda: len(conversation.transcripts) == 2)
    assert not conversation.engine.prefilled
    conversation.heard("No.")
    remembered = [
        ("user", "3000 milliseconds", False),
        ("assistant", "Yes.", False),
        ("user", "", True),
        ("assistant", "No.", False),
    ]
    assert conversation.turns() == remembered
    await conversation.until(lambda: conversation.engine.prefilled)
    prefilled = conversation.engine.prefilled[-1][1:]
    assert summary(prefilled) == remembered
    (session,) = conversation.engine.sessions
    assert set(session.heard) == {2}


async def test_history_is_trimmed_only_between_turns(
    conversation: Conversation,
) -> None:
    await two_questions(conversation)
    conversation.prefetcher.turn_running = True
    conversation.heard("No, because")
    assert conversation.turns()[0] == ("user", "", True)
    conversation.prefetcher.turn_running = False
    conversation.heard("it is not so.")
    assert conversation.turns()[0] == ("user", "3000 milliseconds", False)
    conversation.ask(3)
    conversation.ask(4)
    conversation.prefetcher.trim_history()
    assert len(conversation.turns()) == 6


async def test_history_is_not_trimmed_while_a_transcription_is_running(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcribed = asyncio.Event()

    async def transcribe_slowly(_session: InstantLLMSession, _utterance: int) -> str:
        await transcribed.wait()
        return "Is it late?"

    first = conversation.ask(1)
    monkeypatch.setattr(InstantLLMSession, "transcribe", transcribe_slowly)
    conversation.transcribe(first)
    conversation.heard("Yes.")
    conversation.ask(2)
    conversation.heard("No.")
    assert conversation.turns()[0] == ("user", "", True)
    transcribed.set()
    await conversation.until(lambda: conversation.turns()[0] == ("user", "Is it late?", False))


async def test_audio_without_a_transcript_leaves_no_placeholder(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_session: InstantLLMSession, _utterance: int) -> str:
        raise RuntimeError

    monkeypatch.setattr(InstantLLMSession, "transcribe", fail)
    first = conversation.ask(1)
    conversation.transcribe(first)
    conversation.heard("Yes.")
    conversation.ask(2)
    conversation.heard("No.")
    await conversation.until(lambda: len(conversation.turns()) == 2)
    assert conversation.turns() == [("user", "", True), ("assistant", "No.", False)]
    assert conversation.transcripts == []


async def test_shortened_history_is_prefilled_while_the_reply_is_played(
    conversation: Conversation,
) -> None:
    _, second = await two_questions(conversation)
    conversation.prefetcher.turn_running = True
    conversation.transcribe(second)  # not needed for the trim, because the audio is kept
    conversation.prefetcher.reply_generated(" No, because it rains. ")
    shortened = [
        ("user", "3000 milliseconds", False),
        ("assistant", "Yes.", False),
        ("user", "", True),
    ]
    assert conversation.turns() == shortened  # the user has heard nothing of the reply yet
    await conversation.until(lambda: conversation.engine.prefilled_early)
    expected = [*shortened, ("assistant", "No, because it rains.", False)]
    assert summary(conversation.engine.prefilled_early[-1][1:]) == expected
    conversation.prefetcher.turn_running = False
    conversation.heard("No, because")
    assert conversation.turns() == [*shortened, ("assistant", "No, because", False)]
    await conversation.until(lambda: len(conversation.transcripts) == 2)
    assert not conversation.engine.prefilled


async def test_history_below_the_budget_is_not_changed_by_a_reply(
    conversation: Conversation,
) -> None:
    conversation.ask(1)
    conversation.prefetcher.reply_generated("Yes.")
    conversation.heard("Yes.")
    await conversation.client.send(1)
    assert conversation.turns() == [("user", "", True), ("assistant", "Yes.", False)]
    assert not conversation.engine.prefilled_early


async def test_utterance_is_prefilled_while_the_user_speaks(conversation: Conversation) -> None:
    collector = UtteranceCollector(pre_roll_seconds=0.5, max_seconds=60)
    conversation.client.add(collector.speech_started())
    early = conversation.engine.prefilled_early
    for count in range(1, 76):  # 3 s; the next prefill is after 3.08 s
        collector.add_audio(tone(0.04, rate=16_000))
        conversation.prefetcher.audio_added(collector)
        await conversation.client.send(1)
        if count == 24:
            assert not early
    await conversation.until(lambda: len(early) == 2)
    assert [turn.role for turn in early[-1]] == ["system", "user"]
    assert not conversation.engine.prefilled


async def test_utterance_is_not_prefilled_while_the_engine_has_another_request(
    conversation: Conversation,
) -> None:
    collector = UtteranceCollector(pre_roll_seconds=0.5, max_seconds=60)
    conversation.client.add(collector.speech_started())
    conversation.prefetcher.turn_running = True
    for _ in range(50):
        collector.add_audio(tone(0.04, rate=16_000))
        conversation.prefetcher.audio_added(collector)
    await conversation.client.send(1)
    assert not conversation.engine.prefilled_early


async def test_second_part_of_a_question_is_prefilled_with_the_first(
    conversation: Conversation,
) -> None:
    collector = UtteranceCollector(pre_roll_seconds=0.5, max_seconds=60)
    conversation.ask(9)  # unanswered, so the utterance continues it
    conversation.client.add(collector.speech_started())
    for _ in range(50):
        collector.add_audio(tone(0.04, rate=16_000))
        conversation.prefetcher.audio_added(collector)
    early = conversation.engine.prefilled_early
    await conversation.until(lambda: early)
    assert [turn.utterance for turn in early[-1]] == [None, 9, 1]


async def test_utterance_is_not_prefilled_while_another_user_waits(
    conversation: Conversation,
) -> None:
    collector = UtteranceCollector(pre_roll_seconds=0.5, max_seconds=60)
    conversation.client.add(collector.speech_started())
    conversation.others_waiting = True
    for _ in range(50):
        collector.add_audio(tone(0.04, rate=16_000))
        conversation.prefetcher.audio_added(collector)
    await conversation.client.send(1)
    assert not conversation.engine.prefilled_early
    conversation.others_waiting = False
    conversation.prefetcher.audio_added(collector)
    await conversation.until(lambda: len(conversation.engine.prefilled_early) == 1)


def test_long_utterance_is_prefilled_less_often() -> None:
    policy = SpeechPrefill()
    times = [n / 25 for n in range(60 * 25) if policy.is_due(1, n / 25, is_free=True)]
    assert times[:3] == [1.0, 1.76, 3.08]  # of messages of 40 ms
    assert len(times) < 10
    assert policy.is_due(2, 1.0, is_free=True)


def test_prefill_that_was_not_possible_is_made_up_for() -> None:
    policy = SpeechPrefill()
    assert not policy.is_due(1, 1.0, is_free=False)
    assert policy.is_due(1, 1.2, is_free=True)
    assert not policy.is_due(1, 2.0, is_free=True)
    assert policy.is_due(1, 2.1, is_free=True)


async def test_engine_prefills_an_utterance_that_still_grows(conversation: Conversation) -> None:
    growing = Utterance(7)
    growing.pcm += tone(0.5, rate=16_000)
    conversation.client.add(growing)
    conversation.prefetcher.prefill(ChatMessage("user", utterance=7))
    await conversation.until(lambda: conversation.engine.prefilled)
    assert [turn.role for turn in conversation.engine.prefilled[0]] == ["system", "user"]
