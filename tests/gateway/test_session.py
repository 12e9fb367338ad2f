"""Calls as a caller lives them, on the real pipeline with instant engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest

from appliance.link.engine import ToolCall
from client import wire
from tests.fakes import InstantSpeechSession, InstantVoiceEngine, InstantVoiceSession
from tests.gateway.conftest import Caller, MakeGateway, Mind, RunningGateway, Speak

QUESTION = "What is the capital of France?"
OTHER = "How many people live in that city?"


async def test_a_spoken_question_is_answered_aloud_and_its_stages_sum(
    gateway: RunningGateway, speak: Speak
) -> None:
    caller = await gateway.call()
    await caller.say(speak(QUESTION))
    turn = await caller.turn(1)
    assert turn["outcome"] == "answered"
    assert caller.audio
    assert turn["user_text"].endswith("milliseconds")
    assert turn["reply_text"] == caller.texts("bot-llm-text")
    assert sum(turn["stages"].values()) == pytest.approx(turn["response_seconds"], abs=0.01)
    assert all(seconds >= 0 for seconds in turn["stages"].values())


async def test_when_the_client_says_that_it_sounds_that_is_measured_once_a_turn(
    gateway: RunningGateway, speak: Speak
) -> None:
    caller = await gateway.call()
    await caller.send("client-message", {"t": "playback-started"})  # of nothing
    await caller.say(speak(QUESTION))
    await caller.bot_speaks()
    for _ in range(2):
        await caller.send("client-message", {"t": "playback-started"})
    turn = await caller.turn(1)
    await caller.say(speak(OTHER))
    await caller.turn(2)  # of which the client says nothing
    assert gateway.metric("voice_turn_heard_latency_seconds_count") == 1
    heard_seconds = gateway.metric("voice_turn_heard_latency_seconds_sum")
    assert heard_seconds >= turn["response_seconds"]
    first, second = gateway.lines("turn")
    assert first["heard_seconds"] == pytest.approx(heard_seconds, abs=1e-3)
    assert "heard_seconds" not in second
    assert gateway.metric("voice_turn_response_latency_seconds_count") == 2
    assert not caller.messages("error-response") and gateway.tracebacks() == []


async def test_the_second_question_comes_with_the_first_as_audio_and_the_answer_as_heard(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    mind = Mind("It is Paris.", "Two million.")
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        for number, question in enumerate((QUESTION, OTHER), 1):
            await caller.say(speak(question))
            await caller.turn(number)
    assert mind.past(1)[1:] == [
        ("user", "", True),
        ("assistant", "It is Paris.", False),
        ("user", "", True),
    ]
    first, second = (turn.utterance for turn in mind.told[1] if turn.utterance is not None)
    for utterance, question in ((first, QUESTION), (second, OTHER)):
        assert mind.heard[1][utterance] in bytes(caller.spoken_up)
        assert speak(question)[8000:-8000] in mind.heard[1][utterance]


async def test_typed_text_is_a_turn_of_the_same_conversation(make_gateway: MakeGateway) -> None:
    mind = Mind("Hello Ada.", "Ada.")
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.type("I am Ada.")
        assert (await caller.turn(1))["reply_text"] == "Hello Ada."
        await caller.type("Who am I?")
        assert (await caller.turn(2))["reply_text"] == "Ada."
    assert [text for _, text, _ in mind.past(1)[1:]] == ["I am Ada.", "Hello Ada.", "Who am I?"]


STORY = "This is the first sentence of a long story. " + " ".join(
    f"Then comes sentence number {n} of it, and nobody has to wait for its end." for n in range(9)
)
STORIES_END = "sentence number 8"


class MarkedVoice(InstantVoiceSession):
    """Speaks short answers as samples of 1000, which no tone of the story consists of."""

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        async for chunk in super().speak(text, voice, speed, urgent):
            yield chunk if text in STORY else b"\xe8\x03" * (len(chunk) // 2)


def of_the_story(frame: wire.Frame) -> bool:
    if not isinstance(frame, wire.AudioFrame):
        return False
    return not set(np.frombuffer(frame.pcm, "<i2").tolist()) <= {0, 1000}


async def test_a_caller_who_speaks_up_is_not_talked_over(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InstantVoiceEngine, "open", lambda engine: MarkedVoice(engine))
    async with make_gateway(Mind(STORY, "Two million.")) as gateway:
        caller = await gateway.call()
        await caller.type("Tell me a story.")
        await caller.bot_speaks()
        before = len(caller.frames)
        await caller.say(speak(OTHER))
        interrupted, answered = await caller.turn(1), await caller.turn(2)
        assert gateway.metric("voice_barge_in_stop_seconds_count") == 1
    after = caller.frames[before:]
    told = next(n for n, frame in enumerate(after) if isinstance(frame, wire.Interruption))
    assert any(map(of_the_story, after[:told]))
    # At most the 40 ms that were being written; the new answer's audio may overtake its messages.
    assert sum(map(of_the_story, after[told:])) <= 1
    assert any(isinstance(frame, wire.AudioFrame) for frame in after[told:])
    assert (interrupted["outcome"], interrupted["interrupted"]) == ("interrupted", True)
    assert (answered["outcome"], answered["interrupted"]) == ("answered", False)
    assert answered["reply_text"] == "Two million."


async def test_of_an_interrupted_answer_only_what_was_heard_is_remembered(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    mind = Mind(STORY, "Two million.")
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.type("Tell me a story.")
        await caller.bot_speaks()
        await caller.say(speak(OTHER))
        interrupted, _ = await caller.turn(1), await caller.turn(2)
        spoken = "".join(gateway.voice.phrases)
    assert "Two million" in spoken
    asked, heard, question = mind.past(1)[1:]
    assert asked == ("user", "Tell me a story.", False)
    assert heard[0] == "assistant"
    assert heard[1] == interrupted["reply_text"]
    assert STORY.startswith(heard[1])
    assert STORIES_END not in heard[1]
    assert question == ("user", "", True)


async def test_an_answer_interrupted_by_typing_is_remembered_as_far_as_it_was_heard(
    make_gateway: MakeGateway,
) -> None:
    mind = Mind(STORY, "Fine.")
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.type("Tell me a story.")
        await caller.bot_speaks()
        await caller.until(lambda: len(caller.audio) > 48_000)
        await caller.type("Stop, please.")
        await caller.turn(2)
    (_, asked, _), (role, heard, _), (_, question, _) = mind.past(1)[1:]
    assert (asked, role, question) == ("Tell me a story.", "assistant", "Stop, please.")
    assert heard and STORY.startswith(heard) and STORIES_END not in heard


async def test_a_question_interrupted_before_any_answer_is_joined_with_the_next(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    mind = Mind()
    async with make_gateway(mind) as gateway:
        gateway.thinker.pause_seconds = 600
        caller = await gateway.call()
        await caller.say(speak(QUESTION))
        await caller.until(lambda: mind.told)
        gateway.thinker.pause_seconds = 0
        await caller.say(speak(OTHER))
        first, second = await caller.turn(1), await caller.turn(2)
    assert (first["outcome"], second["outcome"]) == ("interrupted", "answered")
    assert mind.past(1)[1:] == [("user", "", True)]
    (both,) = (turn.utterance for turn in mind.told[1] if turn.utterance is not None)
    for question in (QUESTION, OTHER):
        assert speak(question)[8000:-8000] in mind.heard[1][both]


async def test_a_typed_question_without_an_answer_stands_before_the_spoken_one(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    mind = Mind()
    async with make_gateway(mind) as gateway:
        gateway.thinker.pause_seconds = 600
        caller = await gateway.call()
        await caller.type("In one word:")
        await caller.until(lambda: mind.told)
        gateway.thinker.pause_seconds = 0
        await caller.say(speak(QUESTION))
        await caller.turn(2)
    assert mind.past(1)[1:] == [("user", "In one word:", True)]


async def test_impatient_typing_never_breaks_a_call(make_gateway: MakeGateway) -> None:
    mind = Mind("Fine.")
    async with make_gateway(mind) as gateway:
        gateway.thinker.pause_seconds = 600
        caller = await gateway.call()
        for number in range(8):
            await caller.type(f"{number} " + "word " * 700)
            await caller.until(lambda: len(mind.told) == number + 1)  # noqa: B023
        gateway.thinker.pause_seconds = 0
        await caller.type("The end.")
        assert (await caller.turn(9))["outcome"] == "answered"
        assert gateway.tracebacks() == []
    assert mind.past(-1)[-1][1].endswith("The end.")


async def test_noise_and_silence_get_no_answer(make_gateway: MakeGateway) -> None:
    mind = Mind()
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        noise = np.random.default_rng(1).normal(0, 2000, 2 * wire.UP_RATE)
        await caller.say(noise.astype("<i2").tobytes())
        await caller.say(bytes(2 * 2 * wire.UP_RATE))
        assert not mind.told
        assert not caller.turns
        assert not caller.audio
        await caller.type("Still there?")
        assert (await caller.turn(1))["outcome"] == "answered"


async def test_an_utterance_in_which_the_engine_hears_nothing_gets_no_answer(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    mind = Mind("Hello.")
    monkeypatch.setattr(InstantSpeechSession, "hear", lambda *_: None)
    async with make_gateway(mind) as gateway:
        caller = await gateway.call()
        await caller.say(speak(QUESTION))
        assert (await caller.turn(1))["outcome"] == "nothing_heard"
        assert not caller.audio
        await caller.type("Hello?")
        await caller.turn(2)
        assert gateway.thinker.sessions[0].heard == {}
    assert mind.past(0)[1:] == [("user", "Hello?", False)]


async def test_a_cough_before_the_answer_does_not_cost_the_caller_the_answer(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    mind = Mind("It is Paris.")
    async with make_gateway(mind, sections={"llm": {"min_utterance_seconds": 0.6}}) as gateway:
        gateway.thinker.pause_seconds = 600
        caller = await gateway.call()
        await caller.say(speak(QUESTION))
        await caller.until(lambda: mind.told)
        gateway.thinker.pause_seconds = 0
        await caller.say(speak("Paris."))
        turn = await caller.turn(2)
        assert gateway.metric("voice_turns_total", outcome="too_short") == 1
        assert set(gateway.thinker.sessions[0].heard) == {t.utterance for t in mind.told[1][1:]}
    assert (turn["outcome"], turn["reply_text"]) == ("answered", "It is Paris.")
    assert mind.past(1)[1:] == [("user", "", True)]


async def test_two_callers_at_once_never_get_each_others_words(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    mind = Mind()
    async with make_gateway(mind) as gateway:
        ada, bob = await gateway.call(), await gateway.call()

        async def converse(caller: Caller, name: str, question: str) -> list[dict[str, Any]]:
            await caller.say(speak(question))
            spoken = await caller.turn(1)
            await caller.type(f"My name is {name}")
            return [spoken, await caller.turn(2)]

        await asyncio.gather(converse(ada, "Ada", QUESTION), converse(bob, "Bob", OTHER))
        heard_by_caller = [
            [pcm for heard in mind.heard for pcm in heard.values() if pcm in bytes(who.spoken_up)]
            for who in (ada, bob)
        ]
    assert ada.turns[1]["reply_text"] == "You wrote My name is Ada."
    assert bob.turns[1]["reply_text"] == "You wrote My name is Bob."
    assert "Bob" not in repr([f for f in ada.frames if not isinstance(f, wire.AudioFrame)])
    assert "Ada" not in repr([f for f in bob.frames if not isinstance(f, wire.AudioFrame)])
    assert speak(QUESTION)[8000:-8000] in heard_by_caller[0][0]
    assert speak(OTHER)[8000:-8000] in heard_by_caller[1][0]
    assert set(heard_by_caller[0]).isdisjoint(heard_by_caller[1])
    assert sum(map(len, heard_by_caller)) == sum(map(len, mind.heard))


async def test_after_the_loss_of_the_mind_the_caller_hears_an_apology_and_then_the_answer(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    mind = Mind("It is Paris.", "It is Paris.", "Two million.")
    async with make_gateway(mind) as gateway:
        gateway.thinker.pause_seconds = 600
        caller = await gateway.call()
        await caller.say(speak(QUESTION))
        await caller.until(lambda: mind.told)
        await gateway.llm.die()
        gateway.thinker.pause_seconds = 0
        await caller.bot_speaks()
        await gateway.llm.start()
        turn = await caller.turn(1)
        await caller.say(speak(OTHER))
        await caller.turn(2)
        assert gateway.tracebacks() == []
        assert gateway.metric("voice_engine_failures_total", engine="llm", reason="engine_gone")
    assert turn["outcome"] == "answered"
    assert turn["reply_text"] == "It is Paris."
    assert all(seconds >= 0 for seconds in turn["stages"].values())
    assert sum(turn["stages"].values()) == pytest.approx(turn["response_seconds"], abs=0.01)
    # The restarted engine was told everything again, the apology is no part of it.
    assert mind.past(2)[1:] == [
        ("user", "", True),
        ("assistant", "It is Paris.", False),
        ("user", "", True),
    ]
    at_start, *in_the_call = gateway.voice.phrases
    assert at_start == "One moment, please."
    assert in_the_call == ["One moment, please.", "It is Paris.", "Two million."]


async def test_a_mind_that_never_comes_back_fails_the_turn_and_not_the_call(
    make_gateway: MakeGateway,
) -> None:
    mind = Mind("Back again.")
    async with make_gateway(mind, sections={"llm": {"recover_seconds": 0.5}}) as gateway:
        caller = await gateway.call()
        await gateway.llm.die()
        await caller.type("Anybody there?")
        assert (await caller.turn(1))["outcome"] == "failed"
        await caller.until(
            lambda: "I am sorry, I cannot answer right now." in gateway.voice.phrases
        )
        await gateway.llm.start()
        await caller.type("And now?")
        turn = await caller.turn(2)
        assert (turn["outcome"], turn["reply_text"]) == ("answered", "Back again.")
        assert gateway.tracebacks() == []
    assert "Anybody there?" in mind.past(0)[-1][1]


async def test_while_the_voice_is_gone_the_caller_is_asked_for_patience_and_then_answered(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(Mind("It is Paris.")) as gateway:
        caller = await gateway.call()
        await gateway.tts.die()
        await caller.type("What is the capital of France?")
        await caller.bot_speaks()  # "One moment, please", kept since the start
        assert "It is Paris." not in gateway.voice.phrases
        await gateway.tts.start()
        turn = await caller.turn(1)
        assert gateway.tracebacks() == []
    assert (turn["outcome"], turn["reply_text"]) == ("answered", "It is Paris.")
    assert gateway.voice.phrases[-1] == "It is Paris."


async def test_both_engines_may_die_in_one_turn(make_gateway: MakeGateway) -> None:
    async with make_gateway(Mind("It is Paris.")) as gateway:
        gateway.thinker.pause_seconds = 600
        caller = await gateway.call()
        await caller.type("What is the capital of France?")
        await caller.until(lambda: gateway.mind.told)
        await gateway.llm.die()
        await gateway.tts.die()
        gateway.thinker.pause_seconds = 0
        await caller.bot_speaks()
        await gateway.llm.start()
        await gateway.tts.start()
        assert (await caller.turn(1))["outcome"] == "answered"
        assert gateway.tracebacks() == []


async def test_an_answer_that_cannot_be_spoken_holds_up_nothing(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(Mind("***", "Yes.")) as gateway:
        caller = await gateway.call()
        await caller.type("Say nothing.")
        await caller.until(lambda: caller.messages("bot-llm-stopped"))
        await caller.type("Are you there?")
        assert (await caller.turn(2))["outcome"] == "answered"
        assert gateway.tracebacks() == []


async def test_in_strict_privacy_no_word_of_either_side_goes_over_the_wire(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    answer = "The xylophone answers."
    sections = {"journal": {"transcripts": False}, "llm": {"greeting": "Welcome, xylophone."}}
    mind = Mind(answer, ToolCall("current_time"), answer)
    async with make_gateway(mind, sections=sections) as gateway:
        caller = await gateway.call()
        await caller.type("A zeppelin asks.")
        assert "user_text" not in await caller.turn(1)
        await caller.say(speak("Where does the zeppelin land?"))
        turn = await caller.turn(2)
        assert answer in gateway.voice.phrases
    assert turn["outcome"] == "answered"
    assert "reply_text" not in turn
    shown = repr([frame for frame in caller.frames if not isinstance(frame, wire.AudioFrame)])
    for word in ("zeppelin", "xylophone", "milliseconds", "current_time"):
        assert word not in shown
    # What happens is still told, as clients go by it.
    for kind in ("bot-llm-started", "bot-tts-stopped", "user-stopped-speaking"):
        assert caller.messages(kind)


async def test_a_greeting_is_said_first_and_remembered(make_gateway: MakeGateway) -> None:
    mind = Mind("I am well.", "Yes.")
    async with make_gateway(mind, sections={"llm": {"greeting": "Good day!"}}) as gateway:
        caller = await gateway.call()
        await caller.until(lambda: caller.messages("bot-stopped-speaking"))
        await caller.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
        await caller.type("How are you?")
        assert (await caller.turn(1))["reply_text"] == "I am well."
        await caller.type("Really?")
        await caller.turn(2)
        assert gateway.tracebacks() == []
        assert gateway.voice.phrases[1:] == ["Good day!", "I am well.", "Yes."]
    assert [(role, text) for role, text, _ in mind.past(1)[1:]] == [
        ("assistant", "Good day!"),
        ("user", "How are you?"),
        ("assistant", "I am well."),
        ("user", "Really?"),
    ]


async def test_a_greeting_can_be_interrupted_and_is_remembered_as_far_as_it_was_heard(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    mind = Mind("It is Paris.")
    async with make_gateway(mind, sections={"llm": {"greeting": STORY[:400]}}) as gateway:
        caller = await gateway.call()
        await caller.bot_speaks()
        await caller.say(speak(QUESTION))
        assert (await caller.turn(1))["reply_text"] == "It is Paris."
        assert gateway.tracebacks() == []
    (role, heard, _), (_, _, is_audio) = mind.past(0)[1:]
    assert (role, is_audio) == ("assistant", True)
    assert heard and STORY.startswith(heard) and len(heard) < 400


async def test_a_call_in_which_nobody_speaks_ends(make_gateway: MakeGateway) -> None:
    async with make_gateway(idle_seconds=0.5) as gateway:
        caller = await gateway.call()
        code, reason = await caller.ended()
        await gateway.everybody_left()
        assert gateway.metric("voice_sessions_total", outcome="idle") == 1
    assert code == 1000
    assert str(reason).startswith("idle: ")


async def test_a_call_ends_at_its_deadline(make_gateway: MakeGateway) -> None:
    async with make_gateway(Mind(STORY), session_seconds=2.0) as gateway:
        caller = await gateway.call()
        await caller.type("Tell me a story.")
        code, reason = await caller.ended()
        await gateway.everybody_left()
        assert gateway.lines("session ended")[0]["reason"] == "deadline"
    assert code == 1000
    assert str(reason).startswith("deadline: ")


async def test_a_client_can_end_the_call(gateway: RunningGateway) -> None:
    caller = await gateway.call()
    await caller.send("disconnect-bot")
    await caller.ended()
    await gateway.everybody_left()
    assert gateway.tracebacks() == []


async def test_a_turn_is_one_line_of_the_log_and_none_of_its_words(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(Mind("The xylophone answers.")) as gateway:
        caller = await gateway.call()
        await caller.type("A zeppelin asks.")
        await caller.turn(1)
        await caller.say(speak("Where does the zeppelin land?"))
        await caller.turn(2)
        await caller.hang_up()
        await gateway.everybody_left()
        turns, log = gateway.lines("turn"), gateway.raw_log()
        session = gateway.lines("session started")[0]["session"]
        ours = [line for line in gateway.lines() if line.get("session") == session]
        assert [(line["event"], line.get("place")) for line in ours] == [
            ("session started", None), ("turn", None), ("turn", None), ("session ended", None),
        ]  # fmt: skip
    assert {line["session"] for line in turns} == {session}
    assert turns[1]["by"] in ("smart_turn", "fallback")
    stages = ("end_of_turn", "hearing", "first_token", "first_phrase", "synthesis", "transport")
    total = sum(turns[1][f"{stage}_seconds"] for stage in stages)
    assert total == pytest.approx(turns[1]["response_seconds"], abs=0.01)
    for word in (b"zeppelin", b"xylophone", b"milliseconds"):
        assert word not in log


async def test_half_duplex_lets_the_bot_finish(make_gateway: MakeGateway, speak: Speak) -> None:
    mind = Mind("This is a sentence of some length, and nobody can stop it.", "Two million.")
    async with make_gateway(mind, sections={"turn": {"half_duplex": True}}) as gateway:
        caller = await gateway.call()
        await caller.type("Talk!")
        await caller.bot_speaks()
        await caller.say(speak("Stop!"))
        turn = await caller.turn(1)
        assert (turn["outcome"], turn["interrupted"]) == ("answered", False)
        await caller.say(speak(OTHER))
        assert (await caller.turn(2))["reply_text"] == "Two million."
    assert len(mind.told) == 2
