"""One-word answers, and sounds without words, on the real gateway with instant engines."""

from __future__ import annotations

import pytest

from client import wire
from tests.fakes import InstantLLMSession
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway


@pytest.mark.parametrize("word", ["No.", "Stop.", "Two.", "What?", "U", "Q", "M"])
async def test_one_word_is_a_turn(make_gateway: MakeGateway, speak: Speak, word: str) -> None:
    llm = ScriptedLLM("I see.")
    async with make_gateway(llm) as gateway:
        gateway.llm_engine.transcript = lambda _pcm: word
        client = await gateway.connect()
        await client.say(speak(word))
        turn = await client.turn(1)
        assert gateway.metric("voice_turns_total", outcome="too_short") == 0
        assert gateway.logged_errors() == []
    assert (turn["outcome"], turn["user_text"], turn["reply_text"]) == ("answered", word, "I see.")


async def test_sound_without_words_leaves_no_trace(
    make_gateway: MakeGateway, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = ScriptedLLM("I see.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        with monkeypatch.context() as patch:  # the engine hears nothing
            patch.setattr(InstantLLMSession, "add_audio", lambda *_: None)
            await client.say(speak("Thank you for watching!"))
            noise = await client.turn(1)
        await client.say(speak("What is the capital of France?"))
        turn = await client.turn(2)
        shown = [frame for frame in client.frames if isinstance(frame, wire.RTVIMessage)]
        assert gateway.metric("voice_bot_pauses_total", outcome="interrupted") == 0
        assert gateway.metric("voice_turn_response_latency_seconds_count") == 1
        assert gateway.logged_errors() == []
    assert (noise["outcome"], noise["user_text"], noise["reply_text"]) == ("nothing_heard", "", "")
    assert noise["response_seconds"] is None
    # Nothing is shown or spoken for the noise, and the model never sees it.
    kinds = [message.type for message in shown]
    report = next(i for i, message in enumerate(shown) if message.data == noise)
    words = {"user-input", "user-transcription", "bot-llm-text", "bot-output", "bot-tts-text"}
    assert not words & set(kinds[:report])
    assert (turn["outcome"], "replaces" in turn) == ("answered", False)
    assert llm.conversation(-1)[1:] == [("user", "", True)]
