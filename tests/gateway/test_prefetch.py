"""What the engine is told when: getting ready, transcripts, and room for a longer conversation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from appliance.gateway.history import Exchange, History
from appliance.gateway.prefetch import Upkeep
from appliance.link.client import EngineClient
from appliance.link.engine import Tool, Turn, Utterance
from tests.fakes import InstantSpeechEngine, InstantSpeechSession, tone
from tests.link.contract import linked, utterance

BUDGET = 58  # tokens: two questions of three seconds are too many


class Call:
    """A conversation with the upkeep around it, and the engine behind a real link."""

    def __init__(self, client: EngineClient, engine: InstantSpeechEngine) -> None:
        self.client = client
        self.engine = engine
        self.history = History("Be kind.", BUDGET, 20, audio_turns=1)
        self.understood: list[str] = []
        self.upkeep = Upkeep(
            client, self.history, lambda: (Tool("noop", "Nothing.", "{}"),), self._spawn, self._stop
        )

    def ask(self, number: int, seconds: float = 3.0) -> Exchange:
        said = utterance(number, tone(seconds, rate=16_000))
        self.client.add(said)
        return self.history.ask(utterance=said)

    def transcribe(self, exchange: Exchange) -> None:
        async def then(text: str) -> None:
            self.understood.append(text)

        assert exchange.utterance is not None
        self.upkeep.transcribe(exchange.utterance, then)

    def heard(self, reply: str) -> None:
        self.history.heard(reply)
        self.upkeep.tidy()

    def told(self) -> list[tuple[str, str, bool]]:
        turns = self.history.conversation()[1:]
        return [(said.role, said.text, said.utterance is not None) for said in turns]

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work)

    async def _stop(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def call(tmp_path: Path) -> AsyncIterator[Call]:
    engine = InstantSpeechEngine()
    async with linked(engine, tmp_path / "s") as client:
        call = Call(client, engine)
        yield call
        await call.upkeep.close()


async def two_questions(call: Call) -> tuple[Exchange, Exchange]:
    """Asked and answered; the first is transcribed."""
    first = call.ask(1)
    await call.client.send(1)
    call.transcribe(first)
    await call.until(lambda: call.understood)
    call.heard("Yes.")
    second = call.ask(2)
    await call.client.send(2)
    return first, second


async def test_after_the_answer_old_audio_becomes_text_and_the_engine_gets_ready_for_that(
    call: Call,
) -> None:
    _, second = await two_questions(call)
    call.transcribe(second)
    await call.until(lambda: len(call.understood) == 2)
    assert not call.engine.warmed
    call.heard("No.")
    remembered = [
        ("user", "3000 milliseconds", False),
        ("assistant", "Yes.", False),
        ("user", "", True),
        ("assistant", "No.", False),
    ]
    assert call.told() == remembered
    await call.until(lambda: call.engine.warmed)
    warmed = call.engine.warmed[-1][1:]
    assert [(t.role, t.text, t.utterance is not None) for t in warmed] == remembered
    (session,) = call.engine.sessions
    assert set(session.heard) == {2}


async def test_nothing_is_cut_in_a_turn_or_before_its_answer_was_heard(call: Call) -> None:
    await two_questions(call)
    call.upkeep.busy = True
    call.heard("No, because")
    assert call.told()[0] == ("user", "", True)
    call.upkeep.busy = False
    call.heard("it is not so.")
    assert call.told()[0] == ("user", "3000 milliseconds", False)
    call.ask(3)
    call.ask(4)
    call.upkeep.tidy()
    assert len(call.told()) == 6


async def test_a_transcript_that_is_still_to_come_is_waited_for(
    call: Call, monkeypatch: pytest.MonkeyPatch
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
    assert call.told()[0] == ("user", "", True)
    done.set()
    await call.until(lambda: call.told()[0] == ("user", "Is it late?", False))


async def test_without_a_transcript_what_was_said_goes_but_no_placeholder_comes(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_session: InstantSpeechSession, _utterance: int) -> str:
        raise RuntimeError

    monkeypatch.setattr(InstantSpeechSession, "transcribe", fail)
    first = call.ask(1)
    call.transcribe(first)
    call.heard("Yes.")
    call.ask(2)
    call.heard("No.")
    await call.until(lambda: len(call.told()) == 2)
    assert call.told() == [("user", "", True), ("assistant", "No.", False)]
    assert call.understood == []


async def test_the_engine_is_warmed_with_what_is_being_said(call: Call) -> None:
    said = Utterance(7)
    said.pcm += tone(0.5, rate=16_000)
    call.client.add(said)
    call.upkeep.warm([Turn("user", utterance=7)])
    await call.until(lambda: call.engine.warmed)
    assert [turn.role for turn in call.engine.warmed[0]] == ["system", "user"]
