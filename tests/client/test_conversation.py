"""Conversations against a fake gateway, in real time."""

import asyncio
from typing import Any

import pytest

from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.errors import CallDropped
from tests.fakes import FakeCaller, FakeGateway, tone

SPEECH = bytes(3_200) + tone(0.3, 16_000) + bytes(3_200)


async def open_conversation(gateway: FakeGateway, **options: Any) -> Conversation:
    return Conversation(await connect(Config(gateway.url)), **options)


async def test_two_turns_have_texts_stages_and_latencies() -> None:
    async with FakeGateway() as gateway, await open_conversation(gateway) as conversation:
        first = await conversation.finished(conversation.say(SPEECH))
        second = await conversation.finished(conversation.say(SPEECH))
    assert [first.reply_text, second.reply_text] == ["Answer 1.", "Answer 2."]
    assert [first.user_text, second.user_text] == ["Question 1.", "Question 2."]
    assert first.stages == {"llm": 0.01, "tts": 0.02}
    for record in (first, second):
        assert record.heard.seconds == pytest.approx(0.5 + record.heard.gap_seconds, abs=0.01)
        # the fake ends a turn after 0.2 s of silence, and the prebuffer waits for its second chunk
        assert record.voice_to_voice_seconds is not None
        assert record.voice_to_voice_seconds >= 0.2
    assert {frame[:2] for frame in gateway.callers[0].heard} == {(16_000, 1)}


async def test_server_gets_a_message_when_each_reply_is_heard() -> None:
    async with FakeGateway() as gateway, await open_conversation(gateway) as conversation:
        for _ in range(2):
            await conversation.finished(conversation.say(SPEECH))
    sent = [m["data"] for m in gateway.callers[0].messages if m["type"] == "client-message"]
    assert sent == [{"t": "playback-started"}] * 2


async def test_server_without_turn_reports_is_supported() -> None:
    gateway = FakeGateway(sends_turns=False)
    async with gateway, await open_conversation(gateway) as conversation:
        record = await conversation.finished(conversation.say(SPEECH))
    assert (record.user_text, record.reply_text) == ("Question 1.", "Answer 1.")
    assert record.outcome == "answered"


async def test_barge_in_interrupts_the_reply() -> None:
    async def bot(caller: FakeCaller, text: str) -> None:
        await caller.speak("A long story." if text == "Question 1." else "Yes?", 5.0, text)

    async with FakeGateway(bot) as gateway, await open_conversation(gateway) as conversation:
        first = conversation.say(SPEECH)
        began_at = await conversation.audible(first)
        await asyncio.sleep(0.3)
        second = conversation.say(SPEECH)
        story = await conversation.finished(first)
        audible_at = await conversation.audible(second)
    assert began_at is not None
    assert audible_at is not None
    assert audible_at > began_at
    assert story.interrupted
    assert 0.2 < story.heard.seconds - story.heard.gap_seconds < 5.0
    assert story.user_text == "Question 1."


async def test_typed_text_is_a_turn_without_a_microphone() -> None:
    gateway = FakeGateway()
    async with gateway, await open_conversation(gateway, microphone=False) as conversation:
        record = await conversation.finished(await conversation.ask("What time is it?"))
        with pytest.raises(ValueError, match="no microphone"):
            conversation.say(SPEECH)
    assert (record.user_text, record.reply_text) == ("What time is it?", "Answer 1.")
    assert gateway.callers[0].heard == []


async def test_turn_without_an_answer_ends_after_patience() -> None:
    async def bot(_caller: FakeCaller, _text: str) -> None:
        return

    async with FakeGateway(bot) as gateway, await open_conversation(gateway) as conversation:
        number = conversation.say(SPEECH)
        record = await conversation.finished(number, timeout_seconds=0.3)
        assert await conversation.audible(number) is None
    assert (record.outcome, record.heard.pcm) == ("no_answer", b"")


async def test_dropped_call_keeps_what_was_heard() -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.message("bot-started-speaking")
        await caller.audio(tone(0.4))
        caller.die()

    async with FakeGateway(bot) as gateway, await open_conversation(gateway) as conversation:
        record = await conversation.finished(conversation.say(SPEECH))
        after = await conversation.finished(conversation.say(SPEECH))
    assert record.outcome == after.outcome == "broke_off"
    assert 0.1 < record.heard.seconds - record.heard.gap_seconds <= 0.41
    assert isinstance(conversation.failure, CallDropped)


async def test_unknown_frames_are_reported_and_the_turn_continues() -> None:
    async def bot(caller: FakeCaller, text: str) -> None:
        await caller.raw(b"\xff\xff")
        await caller.message("something-new", [1, 2])
        await caller.reply(text)

    problems: list[str] = []
    gateway = FakeGateway(bot)
    async with (
        gateway,
        await open_conversation(gateway, on_problem=problems.append) as conversation,
    ):
        record = await conversation.finished(conversation.say(SPEECH))
    assert record.reply_text == "Answer 1."
    assert problems == ["ignored not a protobuf frame"]


async def test_bug_in_a_callback_is_raised_and_does_not_hang() -> None:
    def broken(_text: str) -> None:
        raise ZeroDivisionError

    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.raw(b"\xff\xff")

    gateway = FakeGateway(bot)
    with pytest.raises(ZeroDivisionError):
        async with gateway, await open_conversation(gateway, on_problem=broken) as conversation:
            record = await conversation.finished(conversation.say(SPEECH))
            assert record.outcome == "broke_off"


async def test_leaving_the_conversation_closes_the_call() -> None:
    gateway = FakeGateway()
    async with gateway:
        async with await open_conversation(gateway):
            pass
        async with asyncio.timeout(5):
            await gateway.left.wait()
