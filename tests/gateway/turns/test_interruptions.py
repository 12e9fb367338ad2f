"""Sounds of the user while the bot speaks or thinks, on the real gateway with instant engines.

The sounds are synthesized words. What the engine hears in them is scripted.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial

import numpy as np
import pytest
from pipecat.services.llm_service import FunctionCallParams

from appliance.gateway.generation import tools
from appliance.link.engine import OUTPUT_SAMPLE_RATE, ToolCall
from client import wire
from tests.fakes import InstantLLMEngine, InstantLLMSession, InstantTTSEngine, InstantTTSSession
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway, RunningGateway
from tests.gateway.simulated_client import SimulatedClient

STORY = (
    "Once upon a time there was a river in the north. It was long and cold and very deep. "
    "Nobody had ever crossed it in the winter. One day a child came to its bank."
)
SOUND = "Okay, right."  # long enough for the detector
QUESTION = "How many people live in that city?"
PAUSE = "pause"  # an interruption frame, in the list of `played`
Played = tuple[int, float] | str


class NumberedVoice(InstantTTSSession):
    """Renders the phrase number n of the process as constant samples of 1000 + n."""

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        async for chunk in super().speak(text, voice, speed, urgent):
            number = len(self._engine.phrases) - 1
            yield np.full(len(chunk) // 2, 1000 + number, "<i2").tobytes()


@pytest.fixture(autouse=True)
def numbered_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InstantTTSEngine, "open", lambda engine: NumberedVoice(engine))


@pytest.fixture
def silent_engine(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An engine that does not answer requests for words. The event: it was asked."""
    asked = asyncio.Event()

    async def transcribe(_session: InstantLLMSession, _utterance: int) -> str:
        asked.set()
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(InstantLLMSession, "transcribe", transcribe)
    return asked


def words(text: str) -> Callable[[bytes], str]:
    """Return a transcript function of the engine that always hears `text`."""
    return lambda _pcm: text


def played(client: SimulatedClient) -> list[Played]:
    """Return the phrases received, in order, as (number, seconds), and PAUSE between them."""
    parts: list[Played] = []
    for frame in client.frames:
        if isinstance(frame, wire.Interruption):
            parts.append(PAUSE)
        elif isinstance(frame, wire.AudioFrame):
            samples = np.frombuffer(frame.pcm, "<i2")
            for number, run in itertools.groupby(int(s) - 1000 for s in samples if s):
                seconds = len(list(run)) / OUTPUT_SAMPLE_RATE
                last = parts[-1] if parts else PAUSE
                if not isinstance(last, str) and last[0] == number:
                    parts[-1] = (number, last[1] + seconds)
                else:
                    parts.append((number, seconds))
    return parts


def seconds_of(gateway: RunningGateway, number: int) -> float:
    """Return how long phrase `number` is."""
    return max(1, round(len(gateway.tts_engine.phrases[number]) * 0.06 / 0.2)) * 0.2


def pauses(gateway: RunningGateway) -> tuple[float, float]:
    """Return how many pauses of the bot were continued, and how many interrupted."""
    continued, interrupted = (
        gateway.metric("voice_bot_pauses_total", outcome=outcome)
        for outcome in ("continued", "interrupted")
    )
    return continued, interrupted


def messages(client: SimulatedClient) -> list[str]:
    """Return the kinds of server messages, in order, except turn reports."""
    kinds = [
        str(message.data["kind"])
        for message in client.messages("server-message")
        if isinstance(message.data, dict)
    ]
    return [kind for kind in kinds if kind != "turn"]


def resumed(client: SimulatedClient, times: int) -> bool:
    """Return whether the bot has gone on this many times."""
    return messages(client).count("bot-resumed") == times


async def tell_story(gateway: RunningGateway) -> SimulatedClient:
    """Let the bot begin STORY as the reply of turn 1, until some of its words are heard."""
    client = await gateway.connect()
    await client.type("Tell me a story.")
    await client.wait_bot_speaking()
    await client.wait_until(lambda: len(client.audio) > 48_000)  # a second
    return client


OWN_WORDS = "Once upon a time their"


@pytest.mark.parametrize("heard", ["Uh-huh.", "Yeah, I see.", "", "the", OWN_WORDS])
async def test_listeners_sound_pauses_the_bot_and_the_phrase_is_repeated(
    make_gateway: MakeGateway, speak: Speak, heard: str
) -> None:
    llm = ScriptedLLM(STORY, "Yes.")
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.transcript = words(heard)
        client = await tell_story(gateway)
        await client.say(speak(SOUND))
        turn = await client.turn(1)
        parts = played(client)
        await client.type("And then?")
        await client.turn(2)
        assert pauses(gateway) == (1, 0)
        assert gateway.metric("voice_barge_in_stop_seconds_count") == 0
        (line, _) = gateway.log_lines("turn")
        lengths = [seconds_of(gateway, number) for number in range(1, 6)]
        assert gateway.llm_engine.sessions[0].running == 0
        assert gateway.logged_errors() == []
    assert (turn["outcome"], turn["interrupted"], turn["reply_text"]) == ("answered", False, STORY)
    assert line["pauses"] == 1
    assert messages(client) == ["bot-paused", "bot-resumed"]
    assert not client.messages("user-started-speaking")
    # The first pause is the interruption frame of the typed text.
    pause = parts.index(PAUSE, 1)
    before, rest = (
        [p for p in half if isinstance(p, tuple)] for half in (parts[:pause], parts[pause:])
    )
    numbers = [part[0] for part in rest]
    assert numbers[0] <= before[-1][0]
    assert numbers == list(range(numbers[0], 6))
    assert [part[1] for part in rest] == pytest.approx(lengths[numbers[0] - 1 :])
    # The engine is asked again with the story as it was told, and without the sound.
    assert llm.conversation(1)[1:] == [
        ("user", "Tell me a story.", False),
        ("assistant", STORY, False),
        ("user", "And then?", False),
    ]
    assert len(llm.conversations) == 2


@pytest.mark.parametrize("heard", ["Stop!", "No, wait.", "Okay, but how deep is it?", "Why?"])
async def test_words_that_ask_for_the_turn_interrupt_the_bot_and_are_answered(
    make_gateway: MakeGateway, speak: Speak, heard: str
) -> None:
    llm = ScriptedLLM(STORY, "It is deep.")
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.transcript = words(heard)
        client = await tell_story(gateway)
        await client.say(speak(SOUND))
        interrupted, answered = await client.turn(1), await client.turn(2)
        parts = played(client)
        assert pauses(gateway) == (0, 1)
        assert gateway.metric("voice_barge_in_stop_seconds_count") == 1
        assert gateway.logged_errors() == []
    assert (interrupted["outcome"], interrupted["interrupted"]) == ("interrupted", True)
    assert (answered["outcome"], answered["reply_text"]) == ("answered", "It is deep.")
    # Nothing is played between the pause and the interruption. The first one is of the typed turn.
    pause = parts.index(PAUSE, 1)
    assert parts[0] == parts[pause + 1] == PAUSE
    assert interrupted["reply_text"] and STORY.startswith(interrupted["reply_text"])
    assert llm.conversation(1)[1:] == [
        ("user", "Tell me a story.", False),
        ("assistant", interrupted["reply_text"], False),
        ("user", "", True),
    ]


async def test_words_after_a_listeners_sound_in_the_same_breath_interrupt(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(ScriptedLLM(STORY, "It is deep.")) as gateway:
        heard = iter(["Okay."])
        gateway.llm_engine.transcript = lambda _pcm: next(heard, "Okay, how deep is it?")
        client = await tell_story(gateway)
        await client.wait_until(lambda: played(client)[-1] not in (PAUSE, played(client)[1]))
        await client.say(speak("Okay. ") + speak(QUESTION))
        interrupted, answered = await client.turn(1), await client.turn(2)
        assert gateway.logged_errors() == []
    assert interrupted["outcome"] == "interrupted"
    assert answered["reply_text"] == "It is deep."


async def test_two_sounds_in_a_row_lose_and_repeat_nothing_in_the_reply(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM(STORY)
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.transcript = words("Mm-hmm.")
        client = await tell_story(gateway)
        for number in (1, 2):
            await client.say(speak(SOUND))
            await client.wait_until(partial(resumed, client, number))
        turn = await client.turn(1)
        parts = played(client)
        assert pauses(gateway) == (2, 0)
        complete = {
            part[0]
            for part in parts
            if isinstance(part, tuple) and part[1] == pytest.approx(seconds_of(gateway, part[0]))
        }
        assert gateway.logged_errors() == []
    assert (turn["outcome"], turn["reply_text"]) == ("answered", STORY)
    assert complete == set(range(1, 6))
    assert len(llm.conversations) == 1


async def test_bot_goes_on_over_a_long_sound_without_words(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    long_sound = speak(" and ".join([QUESTION.rstrip("?")] * 4))
    async with make_gateway(ScriptedLLM(STORY)) as gateway:
        gateway.llm_engine.transcript = words("")
        client = await tell_story(gateway)
        saying = asyncio.create_task(client.say(long_sound))
        await client.wait_until(lambda: "bot-resumed" in messages(client))
        assert not saying.done()
        assert (await client.turn(1))["reply_text"] == STORY
        await saying
        assert pauses(gateway)[1] == 0
        assert gateway.logged_errors() == []


async def test_bot_does_not_wait_for_an_engine_that_does_not_answer(
    make_gateway: MakeGateway, speak: Speak, silent_engine: asyncio.Event
) -> None:
    async with make_gateway(ScriptedLLM(STORY, "Fine.")) as gateway:
        client = await tell_story(gateway)
        await client.say(speak(SOUND))
        assert (await client.turn(1))["outcome"] == "interrupted"
        assert (await client.turn(2))["reply_text"] == "Fine."
        assert pauses(gateway) == (0, 1)
        assert gateway.logged_errors() == []


async def test_engine_lost_while_the_bot_is_paused_counts_as_an_interruption(
    make_gateway: MakeGateway, speak: Speak, silent_engine: asyncio.Event
) -> None:
    async with make_gateway(ScriptedLLM(STORY, "Fine.")) as gateway:
        client = await tell_story(gateway)
        await client.say(speak(SOUND))
        await client.wait_until(silent_engine.is_set)
        await gateway.llm_process.kill()
        assert (await client.turn(1))["outcome"] == "interrupted"
        await gateway.llm_process.start()
        assert (await client.turn(2))["reply_text"] == "Fine."
        assert gateway.logged_errors() == []


async def test_client_may_leave_while_the_bot_is_paused(
    make_gateway: MakeGateway, speak: Speak, silent_engine: asyncio.Event
) -> None:
    async with make_gateway(ScriptedLLM(STORY)) as gateway:
        client = await tell_story(gateway)
        await client.say(speak(SOUND))
        await client.wait_until(silent_engine.is_set)
        await client.disconnect()
        await gateway.wait_sessions_closed()
        assert gateway.logged_errors() == []


async def test_text_typed_while_the_bot_is_paused_is_answered(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    release = asyncio.Event()

    async def transcribe(_session: InstantLLMSession, _utterance: int) -> str:
        await release.wait()
        return "Okay."

    async with make_gateway(ScriptedLLM(STORY, "Fine.")) as gateway:
        client = await tell_story(gateway)
        with pytest.MonkeyPatch.context() as slow:
            slow.setattr(InstantLLMSession, "transcribe", transcribe)
            await client.say(speak(SOUND))
            await client.wait_until(lambda: "bot-paused" in messages(client))
            await client.type("How are you?")
            release.set()
            assert (await client.turn(2))["reply_text"] == "Fine."
        assert gateway.logged_errors() == []


@contextlib.asynccontextmanager
async def hold_message(
    make_gateway: MakeGateway, llm: ScriptedLLM, heard: str
) -> AsyncIterator[tuple[RunningGateway, SimulatedClient]]:
    """Call, and lose the voice in turn 1: the client hears the hold message.

    The engine will understand what the client says as `heard`.
    """
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.transcript = words(heard)
        client = await gateway.connect()
        await gateway.tts_process.kill()
        await client.type("Tell me a story.")
        await client.wait_bot_speaking()  # the hold message, synthesized at start-up
        yield gateway, client
        assert gateway.logged_errors() == []


async def test_sound_during_the_hold_message_does_not_cancel_the_reply(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM(STORY)
    async with hold_message(make_gateway, llm, "Okay.") as (gateway, client):
        await client.say(speak(SOUND))
        await client.wait_until(lambda: "bot-resumed" in messages(client))
        await gateway.tts_process.start()
        turn = await client.turn(1)
        assert pauses(gateway) == (1, 0)
    assert (turn["outcome"], turn["reply_text"]) == ("answered", STORY)
    assert len(llm.conversations) == 1


async def test_question_during_the_hold_message_is_answered(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM(STORY, "It is deep.")
    async with hold_message(make_gateway, llm, "And how deep is the river?") as (gateway, client):
        await client.say(speak(QUESTION))
        await client.wait_until(lambda: len(llm.conversations) == 2)
        await gateway.tts_process.start()
        assert (await client.turn(2))["reply_text"] == "It is deep."
    assert llm.conversation(1)[-1][2], "the spoken question comes last"


@contextlib.asynccontextmanager
async def tool_call(
    make_gateway: MakeGateway, reply: str, heard: str
) -> AsyncIterator[tuple[RunningGateway, SimulatedClient, asyncio.Event]]:
    """Call, and begin a tool call in turn 1, which ends when the event is set; then `reply`.

    The engine will understand what the client says as `heard`.
    """
    began, finish = asyncio.Event(), asyncio.Event()

    async def search(params: FunctionCallParams) -> None:
        """Searches."""
        began.set()
        await finish.wait()
        await params.result_callback("found")

    sections = {"llm": {"tools": ("search",), "tool_seconds": 60.0}}
    llm = ScriptedLLM(ToolCall("search", "{}"), reply)
    with pytest.MonkeyPatch.context() as offered:
        offered.setattr(tools, "TOOLS", (*tools.TOOLS, search))
        async with make_gateway(llm, sections=sections) as gateway:
            gateway.llm_engine.transcript = words(heard)
            client = await gateway.connect()
            await client.type("Search!")
            await client.wait_until(began.is_set)
            yield gateway, client, finish
            assert gateway.logged_errors() == []


async def test_sound_during_a_tool_call_does_not_cancel_it(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with tool_call(make_gateway, "I found it.", "Okay.") as (gateway, client, finish):
        await client.say(speak(SOUND))
        await client.wait_until(lambda: "bot-resumed" in messages(client))
        finish.set()
        turn = await client.turn(1)
        assert gateway.metric("voice_tool_calls_total", outcome="done") == 1
    assert (turn["outcome"], turn["reply_text"]) == ("answered", "I found it.")


async def test_question_during_a_tool_call_cancels_it_and_its_reply_is_begun_early(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with tool_call(make_gateway, "Fine.", "Forget it.") as (gateway, client, _):
        await client.say(speak(QUESTION))
        assert (await client.turn(2))["reply_text"] == "Fine."
        assert gateway.metric("voice_tool_calls_total", outcome="done") == 0
        line = gateway.log_lines("turn")[-1]
    assert line["speculation_seconds"] > 0


async def test_sound_before_the_reply_neither_cancels_nor_repeats_it(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("It is Paris.")
    async with make_gateway(llm, sections={"llm": {"speculation": False}}) as gateway:
        go_on = slow_start(gateway.llm_engine)
        client = await gateway.connect()
        await client.say(speak("What is the capital of France?"))
        await client.wait_until(lambda: llm.conversations)
        gateway.llm_engine.transcript = words("Uh-huh.")
        await client.say(speak(SOUND))
        await client.wait_until(lambda: "bot-resumed" in messages(client))
        go_on()
        turn = await client.turn(1)
        parts = played(client)
        assert set(gateway.llm_engine.sessions[0].heard) >= {
            t.utterance for t in llm.conversations[0][1:]
        }
        assert gateway.logged_errors() == []
    assert (turn["outcome"], turn["reply_text"]) == ("answered", "It is Paris.")
    assert len(llm.conversations) == 1
    assert [part[0] for part in parts if isinstance(part, tuple)] == [1]
    assert [part[1] for part in parts if isinstance(part, tuple)] == pytest.approx([0.8])


async def test_words_before_the_reply_continue_the_question(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("It is Paris.", "Two million.")
    async with make_gateway(llm, sections={"llm": {"speculation": False}}) as gateway:
        go_on = slow_start(gateway.llm_engine)
        client = await gateway.connect()
        await client.say(speak("What is the capital of France?"))
        await client.wait_until(lambda: llm.conversations)
        go_on()
        gateway.llm_engine.transcript = words("And how many people live there?")
        gateway.llm_engine.pause_seconds = 600
        await client.say(speak(QUESTION))
        gateway.llm_engine.pause_seconds = 0
        turn = await client.turn(2)
        assert gateway.logged_errors() == []
    assert turn["reply_text"] == "Two million."
    first, second = llm.conversations[1][1:]
    assert first == llm.conversations[0][1]
    assert second.role == "user" and second.utterance is not None


def slow_start(engine: InstantLLMEngine) -> Callable[[], None]:
    """Let `engine` pause before each word until the returned function is called."""
    engine.pause_seconds = 0.5
    return lambda: setattr(engine, "pause_seconds", 0)


@pytest.mark.parametrize("word", ["No.", "Stop!", "Two."])
async def test_answer_of_one_word_is_a_turn(
    make_gateway: MakeGateway, speak: Speak, word: str
) -> None:
    llm = ScriptedLLM("Fine.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.say(bytes(16_000) + speak(word))
        turn = await client.turn(1)
        assert gateway.metric("voice_turns_total", outcome="too_short") == 0
    assert (turn["outcome"], turn["reply_text"]) == ("answered", "Fine.")


async def test_yes_is_an_answer_while_the_bot_asks(make_gateway: MakeGateway, speak: Speak) -> None:
    question = "Would you like to hear the very long story of the river in the far north?"
    async with make_gateway(ScriptedLLM(question, "Here it is.")) as gateway:
        gateway.llm_engine.transcript = words("Yes.")
        client = await gateway.connect()
        await client.type("Tell me something.")
        await client.wait_until(lambda: played(client) and played(client)[-1][0] == 3)
        await client.say(speak(SOUND))
        assert (await client.turn(2))["reply_text"] == "Here it is."


async def test_with_the_setting_voice_every_voice_interrupts(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    sections = {"turn": {"interruption": "voice"}}
    async with make_gateway(ScriptedLLM(STORY, "Fine."), sections=sections) as gateway:
        gateway.llm_engine.transcript = words("Okay.")
        client = await tell_story(gateway)
        await client.say(speak(SOUND))
        assert (await client.turn(1))["outcome"] == "interrupted"
        assert (await client.turn(2))["reply_text"] == "Fine."
        assert pauses(gateway) == (0, 0)
        assert gateway.metric("voice_barge_in_stop_seconds_count") == 1
    assert messages(client) == []


async def test_words_of_the_bot_interrupt_it_if_echoes_are_not_ignored(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    turn_settings = {"turn": {"ignore_echo": False}}
    async with make_gateway(ScriptedLLM(STORY, "Yes."), sections=turn_settings) as gateway:
        gateway.llm_engine.transcript = words(OWN_WORDS)
        client = await tell_story(gateway)
        await client.say(speak(SOUND))
        assert (await client.turn(1))["outcome"] == "interrupted"
        assert pauses(gateway) == (0, 1)
