"""Complete sessions on the real pipeline with instant engines, as a client sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest
from pipecat.pipeline.worker import PipelineWorker

from appliance.gateway.generation.turn_runner import CANNOT_REPLY
from appliance.link.client import EngineClient
from appliance.link.engine import ToolCall
from appliance.settings import GatewayConfig
from client import wire
from tests.fakes import InstantLLMSession, InstantTTSEngine, InstantTTSSession
from tests.fakes.audio import contains, middle_of
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway, RunningGateway
from tests.gateway.simulated_client import SimulatedClient

QUESTION = "What is the capital of France?"
FOLLOW_UP = "How many people live in that city?"


async def test_spoken_question_is_answered_and_stages_sum_to_the_latency(
    gateway: RunningGateway, speak: Speak
) -> None:
    client = await gateway.connect()
    await client.say(speak(QUESTION))
    turn = await client.turn(1)
    assert turn["outcome"] == "answered"
    assert client.audio
    # The fake engine transcribes an utterance as its length: "transcript 1000 milliseconds".
    assert turn["user_text"].endswith("milliseconds")
    assert turn["reply_text"] == client.texts("bot-llm-text")
    assert sum(turn["stages"].values()) == pytest.approx(turn["response_seconds"], abs=0.01)
    assert all(seconds >= 0 for seconds in turn["stages"].values())


async def test_playback_report_is_measured_once_per_turn(
    gateway: RunningGateway, speak: Speak
) -> None:
    client = await gateway.connect()
    await client.send("client-message", {"t": "playback-started"})  # before any reply
    await client.say(speak(QUESTION))
    await client.wait_bot_speaking()
    for _ in range(2):
        await client.send("client-message", {"t": "playback-started"})
    turn = await client.turn(1)
    await client.say(speak(FOLLOW_UP))
    await client.turn(2)  # without a playback report
    assert gateway.metric("voice_turn_heard_latency_seconds_count") == 1
    heard_seconds = gateway.metric("voice_turn_heard_latency_seconds_sum")
    assert heard_seconds >= turn["response_seconds"]
    first, second = gateway.log_lines("turn")
    assert first["heard_seconds"] == pytest.approx(heard_seconds, abs=1e-3)
    assert "heard_seconds" not in second
    assert gateway.metric("voice_turn_response_latency_seconds_count") == 2
    assert not client.messages("error-response") and gateway.logged_errors() == []


async def test_second_request_contains_first_question_as_audio_and_heard_reply_as_text(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("It is Paris.", "Two million.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        for number, question in enumerate((QUESTION, FOLLOW_UP), 1):
            await client.say(speak(question))
            await client.turn(number)
    assert llm.conversation(1)[1:] == [
        ("user", "", True),
        ("assistant", "It is Paris.", False),
        ("user", "", True),
    ]
    first, second = (turn.utterance for turn in llm.conversations[1] if turn.utterance is not None)
    for utterance, question in ((first, QUESTION), (second, FOLLOW_UP)):
        assert contains(client.sent_pcm, llm.utterances[1][utterance])
        assert contains(llm.utterances[1][utterance], middle_of(speak(question)))


async def test_typed_text_is_a_turn_of_the_same_conversation(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM("Hello Ada.", "Ada.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.type("I am Ada.")
        assert (await client.turn(1))["reply_text"] == "Hello Ada."
        await client.type("Who am I?")
        assert (await client.turn(2))["reply_text"] == "Ada."
    assert [text for _, text, _ in llm.conversation(1)[1:]] == [
        "I am Ada.",
        "Hello Ada.",
        "Who am I?",
    ]


STORY = "This is the first sentence of a long story. " + " ".join(
    f"Then comes sentence number {n} of it, and nobody has to wait for its end." for n in range(9)
)
STORY_END = "sentence number 8"


class MarkingVoice(InstantTTSSession):
    """Renders text outside STORY as constant samples of 1000, so that tests can tell it apart."""

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        async for chunk in super().speak(text, voice, speed, urgent):
            yield chunk if text in STORY else b"\xe8\x03" * (len(chunk) // 2)


def is_story_audio(frame: wire.Frame) -> bool:
    if not isinstance(frame, wire.AudioFrame):
        return False
    return not set(np.frombuffer(frame.pcm, "<i2").tolist()) <= {0, 1000}


async def test_barge_in_stops_the_bot_and_the_next_question_is_answered(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InstantTTSEngine, "open", lambda engine: MarkingVoice(engine))
    async with make_gateway(ScriptedLLM(STORY, "Two million.")) as gateway:
        client = await gateway.connect()
        await client.type("Tell me a story.")
        await client.wait_bot_speaking()
        before = len(client.frames)
        await client.say(speak(FOLLOW_UP))
        interrupted, answered = await client.turn(1), await client.turn(2)
        assert gateway.metric("voice_barge_in_stop_seconds_count") == 1
    after = client.frames[before:]
    cut = next(n for n, frame in enumerate(after) if isinstance(frame, wire.Interruption))
    assert any(map(is_story_audio, after[:cut]))
    # At most the 40 ms that were being written. Audio of the next reply may precede its messages.
    assert sum(map(is_story_audio, after[cut:])) <= 1
    assert any(isinstance(frame, wire.AudioFrame) for frame in after[cut:])
    assert (interrupted["outcome"], interrupted["interrupted"]) == ("interrupted", True)
    assert (answered["outcome"], answered["interrupted"]) == ("answered", False)
    assert answered["reply_text"] == "Two million."


async def test_only_the_heard_part_of_an_interrupted_reply_is_remembered(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM(STORY, "Two million.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.type("Tell me a story.")
        await client.wait_bot_speaking()
        await client.wait_until(lambda: len(client.audio) > 48_000)  # a second: words were heard
        await client.say(speak(FOLLOW_UP))
        interrupted, _ = await client.turn(1), await client.turn(2)
        spoken = "".join(gateway.tts_engine.phrases)
    assert "Two million" in spoken
    asked, heard, question = llm.conversation(1)[1:]
    assert asked == ("user", "Tell me a story.", False)
    assert heard[0] == "assistant"
    assert heard[1] == interrupted["reply_text"]
    assert STORY.startswith(heard[1])
    assert STORY_END not in heard[1]
    assert question == ("user", "", True)


async def test_only_the_heard_part_of_a_reply_interrupted_by_typing_is_remembered(
    make_gateway: MakeGateway,
) -> None:
    llm = ScriptedLLM(STORY, "Fine.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.type("Tell me a story.")
        await client.wait_bot_speaking()
        await client.wait_until(lambda: len(client.audio) > 48_000)
        await client.type("Stop, please.")
        await client.turn(2)
    (_, asked, _), (role, heard, _), (_, question, _) = llm.conversation(1)[1:]
    assert (asked, role, question) == ("Tell me a story.", "assistant", "Stop, please.")
    assert heard and STORY.startswith(heard) and STORY_END not in heard


async def test_question_interrupted_before_its_reply_is_joined_with_the_next(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM()
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.pause_seconds = 600
        client = await gateway.connect()
        await client.say(speak(QUESTION))
        await client.wait_until(lambda: client.messages("user-stopped-speaking"))
        gateway.llm_engine.pause_seconds = 0
        await client.say(speak(FOLLOW_UP))
        first, second = await client.turn(1), await client.turn(2)
        assert gateway.metric("voice_bot_pauses_total", outcome="interrupted") == 0
        assert gateway.metric("voice_bot_pauses_total", outcome="joined") == 1
        assert gateway.metric("voice_barge_in_stop_seconds_count") == 0
        assert gateway.metric("voice_turns_total", outcome="interrupted") == 0
        assert gateway.metric("voice_turn_response_latency_seconds_count") == 1
        lines = gateway.log_lines("turn")
    assert (first["outcome"], second["outcome"]) == ("joined", "answered")
    assert [turn["interrupted"] for turn in (first, second, *lines)] == [False] * 4
    assert "replaces" not in first and second["replaces"] == 1
    # The words of the first part are in the second report only.
    parts = [turn.utterance for turn in llm.conversations[1] if turn.utterance is not None]
    heard = sum(len(llm.utterances[1][part]) for part in parts) // 32
    assert (first["user_text"], second["user_text"]) == ("", f"{heard} milliseconds")
    assert llm.conversation(1)[1:] == [("user", "", True)] * 2
    for part, question in zip(parts, (QUESTION, FOLLOW_UP), strict=True):
        assert contains(llm.utterances[1][part], middle_of(speak(question)))


async def test_words_of_a_question_in_two_parts_are_reported_once(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(ScriptedLLM("Well, it depends.")) as gateway:
        gateway.llm_engine.transcript = lambda pcm: "Part" if len(pcm) < 32_000 * 2.5 else "Whole"
        gateway.llm_engine.pause_seconds = 1.0  # the first word arrives, but no phrase is complete
        client = await gateway.connect()
        await client.say(speak(QUESTION))
        await client.wait_until(lambda: client.texts("user-input") == "Part")
        gateway.llm_engine.pause_seconds = 0
        await client.say(speak(FOLLOW_UP))
        first, second = await client.turn(1), await client.turn(2)
    assert [turn["user_text"] for turn in (first, second)] == ["", "Whole"]
    assert (first["outcome"], second["outcome"]) == ("joined", "answered")
    # A client that shows the words at once knows from the report which ones to remove.
    (joined,) = (turn for turn in client.turns if turn["outcome"] == "joined")
    shown = [frame for frame in client.frames if isinstance(frame, wire.RTVIMessage)]
    order = [m.text() or m.type for m in shown if m.type == "user-input" or m.data == joined]
    assert order == ["Part", "server-message", "Whole"]


async def test_unanswered_typed_question_precedes_the_spoken_one_in_one_turn(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM()
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.pause_seconds = 600
        client = await gateway.connect()
        await client.type("In one word:")
        await client.wait_until(lambda: llm.conversations)
        gateway.llm_engine.pause_seconds = 0
        await client.say(speak(QUESTION))
        await client.turn(2)
    assert llm.conversation(1)[1:] == [("user", "In one word:", True)]


async def test_repeated_typing_without_waiting_does_not_break_the_session(
    make_gateway: MakeGateway,
) -> None:
    llm = ScriptedLLM("Fine.")
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.pause_seconds = 600
        client = await gateway.connect()
        for number in range(8):
            await client.type(f"{number} " + "word " * 700)
            await client.wait_until(lambda: len(llm.conversations) == number + 1)  # noqa: B023
        gateway.llm_engine.pause_seconds = 0
        await client.type("The end.")
        assert (await client.turn(9))["outcome"] == "answered"
        assert gateway.logged_errors() == []
    assert llm.conversation(-1)[-1][1].endswith("The end.")


async def test_noise_and_silence_start_no_turn(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM()
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        noise = np.random.default_rng(1).normal(0, 2000, 2 * wire.MIC_SAMPLE_RATE)
        await client.say(noise.astype("<i2").tobytes())
        await client.say(bytes(2 * 2 * wire.MIC_SAMPLE_RATE))
        assert not llm.conversations
        assert not client.turns
        assert not client.audio
        await client.type("Still there?")
        assert (await client.turn(1))["outcome"] == "answered"


async def test_utterance_without_recognizable_speech_gets_no_reply(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = ScriptedLLM("Hello.")
    monkeypatch.setattr(InstantLLMSession, "add_audio", lambda *_: None)
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        await client.say(speak(QUESTION))
        assert (await client.turn(1))["outcome"] == "nothing_heard"
        assert not client.audio
        await client.type("Hello?")
        await client.turn(2)
        assert gateway.llm_engine.sessions[0].heard == {}
    assert llm.conversation(0)[1:] == [("user", "Hello?", False)]


async def test_concurrent_sessions_do_not_leak_into_each_other(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM()
    async with make_gateway(llm) as gateway:
        ada, bob = await gateway.connect(), await gateway.connect()

        async def converse(
            client: SimulatedClient, name: str, question: str
        ) -> list[dict[str, Any]]:
            await client.say(speak(question))
            spoken = await client.turn(1)
            await client.type(f"My name is {name}")
            return [spoken, await client.turn(2)]

        await asyncio.gather(converse(ada, "Ada", QUESTION), converse(bob, "Bob", FOLLOW_UP))
        received = [
            [
                pcm
                for heard in llm.utterances
                for pcm in heard.values()
                if contains(client.sent_pcm, pcm)
            ]
            for client in (ada, bob)
        ]
    assert ada.turns[1]["reply_text"] == "You wrote My name is Ada."
    assert bob.turns[1]["reply_text"] == "You wrote My name is Bob."
    assert "Bob" not in repr([f for f in ada.frames if not isinstance(f, wire.AudioFrame)])
    assert "Ada" not in repr([f for f in bob.frames if not isinstance(f, wire.AudioFrame)])
    assert contains(received[0][0], middle_of(speak(QUESTION)))
    assert contains(received[1][0], middle_of(speak(FOLLOW_UP)))
    assert set(received[0]).isdisjoint(received[1])
    assert sum(map(len, received)) == sum(map(len, llm.utterances))


async def test_llm_engine_loss_before_the_reply_plays_hold_message_first(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("It is Paris.", "It is Paris.", "Two million.")
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.pause_seconds = 600
        client = await gateway.connect()
        await client.say(speak(QUESTION))
        await client.wait_until(lambda: llm.conversations)
        await gateway.llm_process.kill()
        gateway.llm_engine.pause_seconds = 0
        await client.wait_bot_speaking()
        await gateway.llm_process.start()
        turn = await client.turn(1)
        await client.say(speak(FOLLOW_UP))
        await client.turn(2)
        assert gateway.logged_errors() == []
        assert gateway.metric("voice_engine_failures_total", engine="llm", reason="engine_gone")
    assert turn["outcome"] == "answered"
    assert turn["reply_text"] == "It is Paris."
    assert all(seconds >= 0 for seconds in turn["stages"].values())
    assert sum(turn["stages"].values()) == pytest.approx(turn["response_seconds"], abs=0.01)
    # The restarted engine received the whole conversation again, without the hold message.
    assert llm.conversation(2)[1:] == [
        ("user", "", True),
        ("assistant", "It is Paris.", False),
        ("user", "", True),
    ]
    at_startup, *in_sessions = gateway.tts_engine.phrases
    assert at_startup == "One moment, please."
    assert in_sessions == ["One moment, please.", "It is Paris.", "Two million."]


async def test_llm_engine_that_does_not_come_back_fails_the_turn_but_not_the_session(
    make_gateway: MakeGateway,
) -> None:
    llm = ScriptedLLM("Back again.")
    async with make_gateway(llm, sections={"llm": {"recover_seconds": 0.5}}) as gateway:
        client = await gateway.connect()
        await gateway.llm_process.kill()
        await client.type("Anybody there?")
        assert (await client.turn(1))["outcome"] == "failed"
        await client.wait_until(lambda: CANNOT_REPLY in gateway.tts_engine.phrases)
        await gateway.llm_process.start()
        await client.type("And now?")
        turn = await client.turn(2)
        assert (turn["outcome"], turn["reply_text"]) == ("answered", "Back again.")
        assert gateway.logged_errors() == []
    assert "Anybody there?" in llm.conversation(0)[-1][1]


async def test_reply_that_cannot_be_spoken_has_failed(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM("It is Paris.", "Back again.")
    async with make_gateway(llm, sections={"llm": {"recover_seconds": 0.5}}) as gateway:
        client = await gateway.connect()
        await gateway.tts_process.kill()
        await client.type("What is the capital of France?")
        turn = await client.turn(1)
        assert (turn["outcome"], turn["reply_text"]) == ("failed", "")
        assert gateway.metric("voice_turns_total", outcome="failed") == 1
        assert gateway.metric("voice_turns_total", outcome="answered") == 0
        await gateway.tts_process.start()
        await client.type("And now?")
        turn = await client.turn(2)
    assert (turn["outcome"], turn["reply_text"]) == ("answered", "Back again.")


async def test_question_typed_after_a_spoken_one_ends_as_a_typed_one(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(ScriptedLLM()) as gateway:
        gateway.llm_engine.pause_seconds = 600
        client = await gateway.connect()
        await client.say(speak(QUESTION))
        await client.wait_until(lambda: client.messages("user-stopped-speaking"))
        gateway.llm_engine.pause_seconds = 0
        await client.type("And of Spain?")
        first, second = await client.turn(1), await client.turn(2)
        assert gateway.metric("voice_turn_ends_total", by="timeout") == 0
        assert gateway.metric("voice_turn_response_latency_seconds_count") == 0
    assert (first["outcome"], second["outcome"], second["replaces"]) == ("joined", "answered", 1)
    assert first["ended_by"] != "" and second["ended_by"] == ""


async def test_tts_engine_loss_plays_hold_message_and_then_the_reply(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(ScriptedLLM("It is Paris.")) as gateway:
        client = await gateway.connect()
        await gateway.tts_process.kill()
        await client.type("What is the capital of France?")
        await client.wait_bot_speaking()  # the hold message, synthesized at start-up
        assert "It is Paris." not in gateway.tts_engine.phrases
        await gateway.tts_process.start()
        turn = await client.turn(1)
        assert gateway.logged_errors() == []
    assert (turn["outcome"], turn["reply_text"]) == ("answered", "It is Paris.")
    assert gateway.tts_engine.phrases[-1] == "It is Paris."


async def test_loss_of_both_engines_in_one_turn_is_recovered(make_gateway: MakeGateway) -> None:
    async with make_gateway(ScriptedLLM("It is Paris.")) as gateway:
        gateway.llm_engine.pause_seconds = 600
        client = await gateway.connect()
        await client.type("What is the capital of France?")
        await client.wait_until(lambda: gateway.llm.conversations)
        await gateway.llm_process.kill()
        await gateway.tts_process.kill()
        gateway.llm_engine.pause_seconds = 0
        await client.wait_bot_speaking()
        await gateway.llm_process.start()
        await gateway.tts_process.start()
        assert (await client.turn(1))["outcome"] == "answered"
        assert gateway.logged_errors() == []


async def test_reply_that_cannot_be_spoken_does_not_block_the_next_turn(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(ScriptedLLM("***", "Yes.")) as gateway:
        client = await gateway.connect()
        await client.type("Say nothing.")
        await client.wait_until(lambda: client.messages("bot-llm-stopped"))
        await client.type("Are you there?")
        assert (await client.turn(2))["outcome"] == "answered"
        assert gateway.logged_errors() == []


async def test_disabled_transcripts_keep_all_words_from_the_client(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    answer = "The xylophone answers."
    sections = {"journal": {"transcripts": False}, "llm": {"greeting": "Welcome, xylophone."}}
    llm = ScriptedLLM(answer, ToolCall("current_time"), answer)
    async with make_gateway(llm, sections=sections) as gateway:
        client = await gateway.connect()
        await client.type("A zeppelin asks.")
        assert "user_text" not in await client.turn(1)
        await client.say(speak("Where does the zeppelin land?"))
        turn = await client.turn(2)
        assert answer in gateway.tts_engine.phrases
    assert turn["outcome"] == "answered"
    assert "reply_text" not in turn
    sent_frames = repr([frame for frame in client.frames if not isinstance(frame, wire.AudioFrame)])
    for word in ("zeppelin", "xylophone", "milliseconds", "current_time"):
        assert word not in sent_frames
    # Events are still reported: clients depend on them.
    for kind in ("bot-llm-started", "bot-tts-stopped", "user-stopped-speaking"):
        assert client.messages(kind)


async def test_greeting_is_spoken_once_and_remembered(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM("I am well.", "Yes.")
    async with make_gateway(llm, sections={"llm": {"greeting": "Good day!"}}) as gateway:
        client = await gateway.connect()
        await client.wait_until(lambda: client.messages("bot-stopped-speaking"))
        await asyncio.sleep(GatewayConfig().lead_seconds)  # until it is played
        await client.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
        await client.type("How are you?")
        assert (await client.turn(1))["reply_text"] == "I am well."
        await client.type("Really?")
        await client.turn(2)
        assert gateway.logged_errors() == []
        assert gateway.tts_engine.phrases[1:] == ["Good day!", "I am well.", "Yes."]
    assert [(role, text) for role, text, _ in llm.conversation(1)[1:]] == [
        ("assistant", "Good day!"),
        ("user", "How are you?"),
        ("assistant", "I am well."),
        ("user", "Really?"),
    ]


async def test_only_the_heard_part_of_an_interrupted_greeting_is_remembered(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("It is Paris.")
    async with make_gateway(llm, sections={"llm": {"greeting": STORY[:400]}}) as gateway:
        client = await gateway.connect()
        await client.wait_bot_speaking()
        await client.wait_until(lambda: len(client.audio) > 48_000)  # a second: words were heard
        await client.say(speak(QUESTION))
        assert (await client.turn(1))["reply_text"] == "It is Paris."
        assert gateway.logged_errors() == []
    (role, heard, _), (_, _, is_audio) = llm.conversation(0)[1:]
    assert (role, is_audio) == ("assistant", True)
    assert heard and STORY.startswith(heard) and len(heard) < 400


async def test_turn_that_crashes_is_logged_and_plays_an_apology(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_gateway(ScriptedLLM("Fine.")) as gateway:
        client = await gateway.connect()

        def fail(*_: object, **__: object) -> None:
            raise ValueError("a defect")

        with monkeypatch.context() as defect:
            defect.setattr(EngineClient, "generate", fail)
            await client.type("How are you?")
            assert (await client.turn(1))["outcome"] == "failed"
        await client.wait_until(lambda: CANNOT_REPLY in gateway.tts_engine.phrases)
        (line,) = gateway.log_lines("turn crashed")
        assert (line["level"], line["error"]) == ("error", "ValueError")
        assert "test_session.py:" in line["trace"][-1]
        await client.type("And now?")
        assert (await client.turn(2))["reply_text"] == "Fine."


async def test_session_closes_even_if_its_pipeline_cannot_be_cancelled(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_worker: PipelineWorker) -> None:
        raise ValueError("a defect")

    async with make_gateway(idle_seconds=0.5) as gateway:
        with monkeypatch.context() as defect:
            defect.setattr(PipelineWorker, "cancel", fail)
            client = await gateway.connect()
            code, _ = await client.wait_closed()
            await gateway.wait_sessions_closed()
        assert {line["task"] for line in gateway.log_lines("task failed")} == {"session end"}
        assert gateway.metric("voice_sessions_total", outcome="idle") == 1
    assert code == 1000


async def test_idle_session_is_closed(make_gateway: MakeGateway) -> None:
    async with make_gateway(idle_seconds=0.5) as gateway:
        client = await gateway.connect()
        code, reason = await client.wait_closed()
        await gateway.wait_sessions_closed()
        assert gateway.metric("voice_sessions_total", outcome="idle") == 1
    assert code == 1000
    assert str(reason).startswith("idle: ")


async def test_session_is_closed_at_its_deadline(make_gateway: MakeGateway) -> None:
    async with make_gateway(ScriptedLLM(STORY), session_seconds=2.0) as gateway:
        client = await gateway.connect()
        await client.type("Tell me a story.")
        code, reason = await client.wait_closed()
        await gateway.wait_sessions_closed()
        assert gateway.log_lines("session ended")[0]["reason"] == "deadline"
    assert code == 1000
    assert str(reason).startswith("deadline: ")


async def test_client_can_end_the_session(gateway: RunningGateway) -> None:
    client = await gateway.connect()
    await client.send("disconnect-bot")
    await client.wait_closed()
    await gateway.wait_sessions_closed()
    assert gateway.logged_errors() == []


async def test_turn_is_logged_as_one_line_without_its_words(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    async with make_gateway(ScriptedLLM("The xylophone answers.")) as gateway:
        client = await gateway.connect()
        await client.type("A zeppelin asks.")
        await client.turn(1)
        await client.say(speak("Where does the zeppelin land?"))
        await client.turn(2)
        await client.disconnect()
        await gateway.wait_sessions_closed()
        turns, log = gateway.log_lines("turn"), gateway.raw_log()
        session = gateway.log_lines("session started")[0]["session"]
        session_lines = [line for line in gateway.log_lines() if line.get("session") == session]
        assert [(line["event"], line.get("place")) for line in session_lines] == [
            ("session started", None), ("turn", None), ("turn", None), ("session ended", None),
        ]  # fmt: skip
    assert {line["session"] for line in turns} == {session}
    assert turns[1]["by"] in ("smart_turn", "pace", "fallback")
    stages = ("end_of_turn", "hearing", "first_token", "first_phrase", "synthesis", "transport")
    total = sum(turns[1][f"{stage}_seconds"] for stage in stages)
    assert total == pytest.approx(turns[1]["response_seconds"], abs=0.01)
    for word in (b"zeppelin", b"xylophone", b"milliseconds"):
        assert word not in log


async def test_half_duplex_ignores_speech_while_the_bot_speaks(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("This is a sentence of some length, and nobody can stop it.", "Two million.")
    async with make_gateway(llm, sections={"turn": {"half_duplex": True}}) as gateway:
        client = await gateway.connect()
        await client.type("Talk!")
        await client.wait_bot_speaking()
        await client.say(speak("Stop!"))
        turn = await client.turn(1)
        assert (turn["outcome"], turn["interrupted"]) == ("answered", False)
        await client.say(speak(FOLLOW_UP))
        assert (await client.turn(2))["reply_text"] == "Two million."
    assert len(llm.conversations) == 2
