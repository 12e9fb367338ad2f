"""`client talk` with a simulated sound system against a fake gateway."""

import asyncio
import io
from collections.abc import Callable

import pytest

from client.config import Config
from client.errors import BotHungUp, CallRefused, UsageError
from client.talk import Talk
from tests.fakes import FakeCaller, FakeGateway, FakeSound, tone

SPEECH = tone(0.4, 16_000)


async def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def talk_to(
    gateway: FakeGateway, sound: FakeSound, out: io.StringIO, half_duplex: bool = False
) -> Talk:
    return Talk(Config(gateway.url), sound, None, None, half_duplex, out)


async def test_spoken_question_is_answered_on_the_speaker_and_printed() -> None:
    sound, out = FakeSound(), io.StringIO()
    async with FakeGateway() as gateway:
        talk = talk_to(gateway, sound, out)
        running = asyncio.create_task(talk.run())
        await until(lambda: gateway.callers and gateway.callers[0].heard)
        sound.said += SPEECH
        await until(lambda: "Answer 1." in out.getvalue())
        talk.stop()
        await running
        await asyncio.wait_for(gateway.left.wait(), 5)
    assert "you  Question 1.\nbot  Answer 1.\n" in out.getvalue()
    assert tone(0.04)[200:400] in bytes(sound.played)
    sent = [m["data"] for m in gateway.callers[0].messages if m["type"] == "client-message"]
    assert sent == [{"t": "playback-started"}]
    assert all(stream.closed for stream in sound.streams)


async def test_latency_is_measured_from_the_microphone() -> None:
    sound = FakeSound()
    async with FakeGateway() as gateway:
        talk = talk_to(gateway, sound, io.StringIO())
        running = asyncio.create_task(talk.run())
        await until(lambda: gateway.callers and gateway.callers[0].heard)
        sound.said += SPEECH
        await until(lambda: talk._status.latency_seconds is not None)
        latency_seconds = talk._status.latency_seconds
        assert latency_seconds is not None
        assert latency_seconds >= 0.15
        talk.stop()
        await running


async def test_barge_in_silences_the_speaker() -> None:
    async def bot(caller: FakeCaller, text: str) -> None:
        await caller.speak("A long story.", 30.0, text)

    sound, out = FakeSound(), io.StringIO()
    async with FakeGateway(bot) as gateway:
        talk = talk_to(gateway, sound, out)
        running = asyncio.create_task(talk.run())
        await until(lambda: gateway.callers and gateway.callers[0].heard)
        sound.said += SPEECH
        await until(lambda: any(sound.played))
        sound.said += SPEECH
        await until(lambda: "bot  A long story. -" in out.getvalue())
        talk.stop()
        await running


async def test_half_duplex_mutes_the_microphone_while_the_bot_speaks() -> None:
    async def bot(caller: FakeCaller, text: str) -> None:
        await caller.speak("A story.", 1.5, text)

    sound, out = FakeSound(), io.StringIO()
    async with FakeGateway(bot) as gateway:
        talk = talk_to(gateway, sound, out, half_duplex=True)
        running = asyncio.create_task(talk.run())
        await until(lambda: gateway.callers and gateway.callers[0].heard)
        sound.said += SPEECH
        await until(lambda: any(sound.played))
        sound.said += SPEECH  # the bot's own voice from the loudspeaker
        await until(lambda: "bot  A story." in out.getvalue())
        talk.stop()
        await running
    assert "A story. -" not in out.getvalue()
    assert "Question 2." not in out.getvalue()


async def test_call_is_reopened_after_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("client.backoff.FIRST_SECONDS", 0.01)

    async def bot(caller: FakeCaller, text: str) -> None:
        if len(caller._gateway.callers) == 1:
            await caller.close(1012, "restarting")
        else:
            await caller.speak("Back again.", 0.2, text)

    sound, out = FakeSound(), io.StringIO()
    async with FakeGateway(bot) as gateway:
        talk = talk_to(gateway, sound, out)
        running = asyncio.create_task(talk.run())
        await until(lambda: gateway.callers and gateway.callers[0].heard)
        gateway.refusals = [(503, {"Retry-After": "0"}, b'{"message": "Still starting."}')]
        sound.said += SPEECH
        await until(lambda: len(gateway.callers) == 2 and gateway.callers[1].heard)
        sound.said += SPEECH
        await until(lambda: "Back again." in out.getvalue())
        talk.stop()
        await running
    assert "restarting" in out.getvalue()
    assert "Still starting." in out.getvalue()


async def test_goodbye_of_the_bot_is_played_to_its_end_and_ends_talk() -> None:
    last = tone(0.04, 24_000)[:1000] + b"\x11\x22" * 100

    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.message("bot-started-speaking")
        await caller.audio(tone(0.4))
        await caller.audio(last)
        await caller.close(1000, "hung_up: The bot said goodbye and ended the session.")

    sound, out = FakeSound(), io.StringIO()
    async with FakeGateway(bot) as gateway:
        running = asyncio.create_task(talk_to(gateway, sound, out).run())
        await until(lambda: gateway.callers and gateway.callers[0].heard)
        sound.said += SPEECH
        with pytest.raises(BotHungUp, match="said goodbye") as caught:
            await asyncio.wait_for(running, 15)
    assert caught.value.exit_code == 0
    assert b"\x11\x22" * 50 in bytes(sound.played)
    assert gateway.attempts == 1


async def test_wrong_token_stops_talk() -> None:
    sound = FakeSound()
    async with FakeGateway(token="secret") as gateway:
        with pytest.raises(CallRefused, match="token"):
            await talk_to(gateway, sound, io.StringIO()).run()
    assert all(stream.closed for stream in sound.streams)


async def test_talk_can_be_stopped_cleanly_while_connecting() -> None:
    async with FakeGateway() as gateway:
        pass
    out = io.StringIO()
    talk = talk_to(gateway, FakeSound(), out)
    running = asyncio.create_task(talk.run())
    await until(lambda: "nothing listens" in out.getvalue())
    talk.stop()
    await asyncio.wait_for(running, 5)


async def test_missing_microphone_is_reported_before_a_call_is_opened() -> None:
    sound = FakeSound()
    del sound.devices[0]
    async with FakeGateway() as gateway:
        with pytest.raises(UsageError, match="no sound input"):
            talk_to(gateway, sound, io.StringIO())
    assert gateway.attempts == 0
