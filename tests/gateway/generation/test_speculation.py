"""Speculation: replies that are begun at a pause.

The state machine is tested alone, the `Speculator` with simulated engines that stop, fail and
recover at any point, and the whole on the real gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import EngineGone
from appliance.gateway.generation.speculation import (
    MAX_TRIES,
    MAX_UTTERANCE_SECONDS,
    Phase,
    SpeculationKey,
    SpeculationState,
    Speculator,
)
from appliance.gateway.metrics import SPECULATION_OUTCOMES
from appliance.gateway.session_set import SessionSet
from appliance.link.client import EngineClient
from appliance.link.engine import ChatMessage, Chunk, GenerateRequest, Result, ToolCall
from appliance.link.utterance import Utterance
from appliance.settings import TTSConfig
from tests.fakes.audio import contains, middle_of
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway, RunningGateway
from tests.gateway.simulated_client import SimulatedClient

QUESTION = "What is the capital of France?"
FOLLOW_UP = "How many people live in that city?"


def request(number: int) -> GenerateRequest:
    return GenerateRequest((ChatMessage("user", utterance=number),), 100, 0.0)


# The state machine


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("pause"), st.integers(0, 3)),
            st.tuples(st.just("confirm"), st.integers(0, 3)),
            st.tuples(st.sampled_from(["discard", "reply_ended", "turn_ended"]), st.just(0)),
        )
    )
)
def test_only_the_latest_speculation_can_be_taken_and_only_once(
    steps: list[tuple[str, int]],
) -> None:
    state = SpeculationState(enabled=True)
    running: int | None = None
    tries = 0
    for step, number in steps:
        match step:
            case "pause" if state.may_begin(1.0, others_waiting=False):
                assert state.phase not in (Phase.RUNNING, Phase.TAKEN) and tries < MAX_TRIES
                state.begin(SpeculationKey(request(number), number))
                running, tries = number, tries + 1
            case "confirm":
                assert state.take(SpeculationKey(request(number), number)) is (running == number)
                if running == number:
                    running = None
            case "discard":
                assert state.discard() is (running is not None)
                running = None
            case "reply_ended":
                state.reply_ended()
            case "turn_ended":
                state.turn_ended()
                tries = 0
        assert (state.phase == Phase.RUNNING) is (running is not None)


def test_utterance_that_has_grown_is_another_one() -> None:
    state = SpeculationState(enabled=True)
    state.begin(SpeculationKey(request(1), 32_000))
    assert not state.take(SpeculationKey(request(1), 32_640))
    assert state.take(SpeculationKey(request(1), 32_000))


@pytest.mark.parametrize(
    ("enabled", "seconds", "others_waiting", "allowed"),
    [
        (True, 1.0, False, True),
        (True, MAX_UTTERANCE_SECONDS, False, True),
        (True, MAX_UTTERANCE_SECONDS + 0.1, False, False),
        (True, 1.0, True, False),
        (False, 1.0, False, False),
    ],
)
def test_speculation_begins_only_if_enabled_short_and_alone(
    enabled: bool, seconds: float, others_waiting: bool, allowed: bool
) -> None:
    assert SpeculationState(enabled).may_begin(seconds, others_waiting) is allowed


def test_after_three_tries_in_a_turn_the_next_turn_may_speculate_again() -> None:
    state = SpeculationState(enabled=True)
    for number in range(MAX_TRIES):
        assert state.may_begin(1.0, others_waiting=False)
        state.begin(SpeculationKey(request(number), number))
        state.discard()
    assert not state.may_begin(1.0, others_waiting=False)
    state.turn_ended()
    assert state.may_begin(1.0, others_waiting=False)


def test_only_other_sessions_count_as_waiting() -> None:
    waiting, first, second = SessionSet(), object(), object()
    waiting.add(first)
    assert not waiting.others(first) and waiting.others(second)
    waiting.remove(first)
    waiting.remove(first)
    assert not waiting.others(second)


# The speculator with simulated engines


class SimulatedEngines:
    """Both engine clients. A step lets every running request produce one item.

    The reply and the speech name what they belong to, so that a stale one is recognized.
    """

    def __init__(self, tool_call: bool = False) -> None:
        self.lost = False
        self.tool_call = tool_call
        self.generating = self.speaking = self.held = self.confirmed = 0
        self._step = asyncio.Event()

    async def step(self) -> None:
        self._step.set()
        for _ in range(10):
            await asyncio.sleep(0)
        self._step.clear()

    async def _wait(self, engine: str) -> None:
        while not self._step.is_set():
            if self.lost:
                raise EngineGone(engine=engine)
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        assert not self.generating, "two generations of one session at a time"
        self.generating += 1
        try:
            for chunk in reply_to(request, self.tool_call):
                await self._wait("llm")
                yield chunk
                while self.held and not self.lost:
                    await asyncio.sleep(0)
        finally:
            self.generating -= 1
            self.held = 0  # as in the engine: a hold belongs to one generation

    async def confirm(self) -> None:
        if self.lost:
            raise EngineGone(engine="llm")
        self.confirmed += self.generating

    async def hold(self) -> None:
        if self.lost:
            raise EngineGone(engine="llm")
        self.held += self.generating

    async def resume(self) -> None:
        self.held = 0

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        self.speaking += 1
        try:
            for part in range(3):
                await self._wait("tts")
                yield f"{part} {text}".encode()
        finally:
            self.speaking -= 1


def reply_to(request: GenerateRequest, tool_call: bool) -> list[Chunk]:
    if tool_call:
        return [ToolCall("order"), Result("tool_call")]
    number = request.conversation[-1].utterance
    return [f"Number {number} is it. ", "This is the ", "second sentence.", Result("stop")]


def first_phrase(number: int) -> str:
    """Return the first phrase of the reply to question `number`."""
    return f"Number {number} is it."


class SpeculatingSession:
    """A speculator, its engines, and what was reported."""

    def __init__(self, tool_call: bool = False) -> None:
        self.engines = SimulatedEngines(tool_call)
        self.outcomes: list[str] = []
        client = cast(EngineClient, self.engines)
        self.speculator = Speculator(True, TTSConfig(), client, client, SessionSet(), self._ended)

    def _ended(self, outcome: str, seconds: float) -> None:
        assert outcome in SPECULATION_OUTCOMES and seconds >= 0
        self.outcomes.append(outcome)

    async def reply(self, request: GenerateRequest) -> list[Chunk]:
        return await self._finish(self.speculator.generate(request))

    async def speech(self, text: str, urgent: bool = True) -> list[bytes]:
        return await self._finish(self.speculator.speak(text, urgent))

    async def _finish(self, items: AsyncGenerator[Any, None]) -> list[Any]:
        async def collect() -> list[Any]:
            async with contextlib.aclosing(items):
                return [item async for item in items]

        task = asyncio.create_task(collect())
        while not task.done():
            await self.engines.step()
        return task.result()


def utterance(number: int) -> Utterance:
    spoken = Utterance(number)
    spoken.pcm += bytes(32_000)
    return spoken


STEPS = st.lists(
    st.sampled_from(
        ["pause", "resume", "interrupt", "confirm", "type", "step", "step", "lose", "restart"]
    ),
    max_size=30,
)


@given(steps=STEPS, tool_call=st.booleans())
def test_every_confirmed_question_gets_its_own_complete_reply(
    steps: list[str], tool_call: bool
) -> None:
    """Engines are lost, restarted and slow at every state of a speculation."""

    async def run() -> None:
        session = SpeculatingSession(tool_call)
        speculator, engines = session.speculator, session.engines
        spoken, begun = utterance(1), 0
        for step in steps:
            match step:
                case "pause":
                    begun += speculator.begin(request(spoken.id), spoken)
                case "resume":
                    speculator.discard("speech_resumed")
                    spoken.pcm += bytes(640)
                case "interrupt":
                    speculator.discard("interrupted")
                case "confirm" | "type":
                    number = spoken.id if step == "confirm" else spoken.id + 1_000
                    speculator.turn_ended()
                    try:
                        reply = await session.reply(request(number))
                    except EngineGone:
                        assert engines.lost
                    else:
                        assert reply == reply_to(request(number), tool_call)
                        assert not engines.held, "nobody would resume the next reply"
                        phrase = first_phrase(number)
                        if not engines.lost and not tool_call:
                            parts = await session.speech(phrase)
                            assert parts == [f"{part} {phrase}".encode() for part in range(3)]
                    spoken = utterance(spoken.id + 1)
                case "step":
                    await engines.step()
                case "lose":
                    engines.lost = True
                    await engines.step()
                case "restart":
                    engines.lost = False
        await speculator.close()
        assert engines.generating == engines.speaking == 0
        assert len(session.outcomes) == begun, "each speculation has one outcome"

    asyncio.run(run())


async def test_reply_and_speech_begun_at_the_pause_are_taken_over() -> None:
    session = SpeculatingSession()
    spoken = utterance(1)
    assert session.speculator.begin(request(1), spoken)
    for _ in range(12):
        await session.engines.step()
    assert session.engines.held, "the rest of the reply waits until the turn is confirmed"
    session.engines.lost = True  # everything needed was computed before
    chunks = session.speculator.generate(request(1))
    assert await anext(chunks) == "Number 1 is it. "
    assert session.outcomes == ["taken"]
    phrase = first_phrase(1)
    assert [part async for part in session.speculator.speak(phrase, True)] == [
        f"{part} {phrase}".encode() for part in range(3)
    ]
    await chunks.aclose()
    await session.speculator.close()


async def test_reply_that_is_taken_over_is_confirmed_to_the_engine() -> None:
    session = SpeculatingSession()
    session.speculator.begin(request(1), utterance(1))
    await session.engines.step()
    assert session.engines.confirmed < 1
    await session.reply(request(1))
    assert session.engines.confirmed == 1
    await session.reply(request(2))
    assert session.engines.confirmed == 1, "nothing to confirm: it was not speculative"
    await session.speculator.close()


async def test_interrupted_reply_that_was_taken_over_stops_the_engines() -> None:
    session = SpeculatingSession()
    session.speculator.begin(request(1), utterance(1))
    await session.engines.step()
    chunks = session.speculator.generate(request(1))
    await anext(chunks)
    await chunks.aclose()
    assert not session.engines.generating
    assert session.speculator.begin(request(2), utterance(2))
    await session.speculator.close()
    assert session.engines.speaking == 0


async def test_speech_of_another_phrase_is_not_played() -> None:
    session = SpeculatingSession()
    session.speculator.begin(request(1), utterance(1))
    for _ in range(4):
        await session.engines.step()
    await session.reply(request(1))
    assert await session.speech("Something else,") == [
        f"{part} Something else,".encode() for part in range(3)
    ]
    await session.speculator.close()


# On the real gateway


def outcomes(gateway: RunningGateway) -> dict[str, float]:
    counts = {
        outcome: gateway.metric("voice_speculations_total", outcome=outcome)
        for outcome in SPECULATION_OUTCOMES
    }
    return {outcome: count for outcome, count in counts.items() if count}


async def say_in_two_parts(client: SimulatedClient, llm: ScriptedLLM, speak: Speak) -> None:
    """Speak half of a question, wait until its reply is begun, and go on."""
    await client.say(np.trim_zeros(np.frombuffer(speak("Tell me about the"), "<i2")).tobytes())
    await client.wait_until(lambda: llm.conversations)
    await client.say(speak("river that flows through Paris?"))


async def test_turn_takes_over_the_reply_begun_at_its_last_pause(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("Paris, of course.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.say(speak(QUESTION))
        turn = await client.turn(1)
        await gateway.wait_until(lambda: gateway.log_lines("turn"))
        (line,) = gateway.log_lines("turn")
        taken = outcomes(gateway)
    assert taken["taken"] == 1
    assert turn["reply_text"] == "Paris, of course."
    assert len(client.messages("bot-llm-started")) == 1
    assert line["speculation_seconds"] > 0
    assert len(llm.conversations) == sum(taken.values())


async def test_nothing_of_a_discarded_reply_is_shown_spoken_or_remembered(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    """The first half of the question is answered privately; then the user goes on."""
    llm = ScriptedLLM("Unwanted.", "The whole reply.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await say_in_two_parts(client, llm, speak)
        turn = await client.turn(1)
        await client.type("Go on.")
        await client.turn(2)
        counted = outcomes(gateway)
    assert counted["taken"] == 1 and sum(counted.values()) >= 2
    assert turn["reply_text"] == "The whole reply."
    assert "Unwanted" not in client.texts("bot-llm-text") + client.texts("bot-tts-text")
    assert ("assistant", "Unwanted.", False) not in llm.conversation(-1)


async def test_reply_to_a_question_that_goes_on_after_its_end_is_begun_early(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    """The turn was cut, and nothing of its reply was heard: both parts are one question."""
    llm = ScriptedLLM("Paris, of course.")
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.pause_seconds = 600
        client = await gateway.connect()
        await client.say(speak(QUESTION))
        await client.wait_until(lambda: client.messages("user-stopped-speaking"))
        gateway.llm_engine.pause_seconds = 0
        await client.say(speak(FOLLOW_UP))
        second = await client.turn(2)
        (line,) = gateway.log_lines("turn")[1:]
        await client.type("Go on.")
        await client.turn(3)
    assert second["reply_text"] == "Paris, of course."
    assert line["speculation_seconds"] > 0
    parts = [turn.utterance for turn in llm.conversations[-2] if turn.utterance is not None]
    for part, question in zip(parts, (QUESTION, FOLLOW_UP), strict=True):
        assert contains(llm.utterances[-2][part], middle_of(speak(question)))
    roles = [role for role, _, _ in llm.conversation(-1)[1:]]
    assert roles == ["user", "user", "assistant", "user"]


async def test_tool_called_by_a_discarded_reply_does_not_run(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM(ToolCall("end_call", "{}"), "The whole reply.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await say_in_two_parts(client, llm, speak)
        turn = await client.turn(1)
        calls = gateway.log_lines("tool called")
        assert not client.closed
    assert turn["reply_text"] == "The whole reply."
    assert calls == []


async def test_tool_called_by_the_reply_that_is_taken_over_runs_once(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM(ToolCall("current_time", "{}"), "It is late.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.say(speak("What time is it now?"))
        turn = await client.turn(1)
        calls = gateway.log_lines("tool called")
    assert turn["reply_text"] == "It is late."
    assert [call["outcome"] for call in calls] == ["done"]


@pytest.mark.parametrize("engine", ["llm", "tts"])
async def test_engine_lost_while_speculating_is_replaced_by_the_normal_path(
    make_gateway: MakeGateway, speak: Speak, engine: str
) -> None:
    llm = ScriptedLLM("Paris, of course.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        gateway.llm_engine.pause_seconds = 600  # the speculative reply never comes
        await client.say(speak(QUESTION))
        await gateway.wait_until(lambda: llm.conversations)
        process = getattr(gateway, f"{engine}_process")
        await process.kill()
        gateway.llm_engine.pause_seconds = 0
        if engine == "tts":  # the LLM still waits for its first word
            await gateway.llm_process.kill()
            await gateway.llm_process.start()
        await process.start()
        turn = await client.turn(1)
    assert turn["outcome"] == "answered"
    assert turn["reply_text"] == "Paris, of course."


async def test_client_that_leaves_while_speculating_frees_the_engines(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("Paris, of course.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        gateway.llm_engine.pause_seconds = 600
        await client.say(speak(QUESTION))
        await gateway.wait_until(lambda: llm.conversations)
        await client.disconnect()
        await gateway.wait_sessions_closed()
        assert all(session.running == 0 for session in gateway.llm_engine.sessions)
        assert gateway.logged_errors() == []


async def test_switched_off_the_reply_is_requested_after_the_turn(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("Paris.")
    async with make_gateway(llm, sections={"llm": {"speculation": False}}) as gateway:
        client = await gateway.connect()
        await client.say(speak(QUESTION))
        await client.turn(1)
        assert outcomes(gateway) == {}
        assert len(llm.conversations) == 1


async def test_no_speculation_while_another_user_waits(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("Paris.")
    async with make_gateway(llm) as gateway:
        waiting, speaking = await gateway.connect(), await gateway.connect()
        gateway.llm_engine.pause_seconds = 600
        await waiting.type("Where?")
        await gateway.wait_until(lambda: llm.conversations)
        gateway.llm_engine.pause_seconds = 0
        await speaking.say(speak(QUESTION))
        turn = await speaking.turn(1)
        assert outcomes(gateway) == {}
    assert turn["reply_text"] == "Paris."
