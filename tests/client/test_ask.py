"""`client ask` as a real program in a process of its own."""

from client.wav import read_wav
from tests.fakes import FakeGateway


async def test_typed_question_prints_the_reply_and_saves_its_audio(run_client, tmp_path):
    async with FakeGateway() as gateway:
        result = await run_client(
            "ask", "What time is it?", "--out", tmp_path / "a.wav", VOICE_CLIENT_URL=gateway.url
        )
    assert (result.code, result.out, result.err) == (0, "Answer 1.\n", "")
    assert len(read_wav(tmp_path / "a.wav", 24_000)) / 48_000 >= 0.49
    caller = gateway.callers[0]
    assert caller.messages[1]["data"]["content"] == "What time is it?"
    assert caller.heard == []


async def test_silent_bot_exits_with_6(run_client):
    async def bot(_caller, _text):
        return

    async with FakeGateway(bot) as gateway:
        result = await run_client(
            "ask", "Anyone?", "--answer-seconds", "0.3", VOICE_CLIENT_URL=gateway.url
        )
    assert (result.code, result.out) == (6, "")
    assert result.err == "voice-client: the bot did not answer\n"


async def test_reply_without_transcript_names_the_flag_that_saves_it(run_client):
    async def bot(caller, _text):
        await caller.speak("", 0.2)

    async with FakeGateway(bot) as gateway:
        result = await run_client("ask", "Hello", VOICE_CLIENT_URL=gateway.url)
    assert (result.code, result.out) == (0, "")
    assert "--out FILE.wav" in result.err


async def test_empty_question_is_a_usage_error(run_client):
    result = await run_client("ask", "  ")
    assert result.code == 2
    assert "empty" in result.err
