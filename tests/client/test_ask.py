"""Through the real program in a process of its own."""

from client.wav import read_wav
from tests.fakes import FakeGateway


async def test_a_typed_question_prints_the_reply_and_keeps_its_sound(program, tmp_path):
    async with FakeGateway() as gateway:
        got = await program(
            "ask", "What time is it?", "--out", tmp_path / "a.wav", VOICE_CLIENT_URL=gateway.url
        )
    assert (got.code, got.out, got.err) == (0, "Answer 1.\n", "")
    assert len(read_wav(tmp_path / "a.wav", 24_000)) / 48_000 >= 0.49
    caller = gateway.callers[0]
    assert caller.messages[1]["data"]["content"] == "What time is it?"
    assert caller.heard == []


async def test_a_silent_bot_is_exit_6(program):
    async def bot(_caller, _text):
        return

    async with FakeGateway(bot) as gateway:
        got = await program(
            "ask", "Anyone?", "--answer-seconds", "0.3", VOICE_CLIENT_URL=gateway.url
        )
    assert (got.code, got.out) == (6, "")
    assert got.err == "voice-client: the bot did not answer\n"


async def test_a_bot_without_transcripts_says_where_the_reply_is(program):
    async def bot(caller, _text):
        await caller.speak("", 0.2)

    async with FakeGateway(bot) as gateway:
        got = await program("ask", "Hello", VOICE_CLIENT_URL=gateway.url)
    assert (got.code, got.out) == (0, "")
    assert "--out FILE.wav" in got.err


async def test_an_empty_question_is_a_usage_error(program):
    got = await program("ask", "  ")
    assert got.code == 2
    assert "empty" in got.err
