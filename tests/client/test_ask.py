"""`client ask` as a real program in a separate process."""

from pathlib import Path

from client.wav import read_wav
from tests.client.conftest import RunClient
from tests.fakes import FakeCaller, FakeGateway


async def test_typed_question_prints_the_reply_and_saves_its_audio(
    run_client: RunClient, tmp_path: Path
) -> None:
    async with FakeGateway() as gateway:
        result = await run_client(
            "ask", "What time is it?", "--out", tmp_path / "a.wav", VOICE_CLIENT_URL=gateway.url
        )
    assert (result.code, result.out, result.err) == (0, "Answer 1.\n", "")
    assert len(read_wav(tmp_path / "a.wav", 24_000)) / 48_000 >= 0.49
    caller = gateway.callers[0]
    assert caller.messages[1]["data"]["content"] == "What time is it?"
    assert caller.heard == []


async def test_bot_without_an_answer_exits_with_6(run_client: RunClient) -> None:
    async def bot(_caller: FakeCaller, _text: str) -> None:
        return

    async with FakeGateway(bot) as gateway:
        result = await run_client(
            "ask", "Anyone?", "--answer-seconds", "0.3", VOICE_CLIENT_URL=gateway.url
        )
    assert (result.code, result.out) == (6, "")
    assert result.err == "voice: the bot did not answer\n"


async def test_reply_without_transcript_mentions_the_output_flag(
    run_client: RunClient,
) -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.speak("", 0.2)

    async with FakeGateway(bot) as gateway:
        result = await run_client("ask", "Hello", VOICE_CLIENT_URL=gateway.url)
    assert (result.code, result.out) == (0, "")
    assert "--out FILE.wav" in result.err


async def test_empty_question_is_a_usage_error(run_client: RunClient) -> None:
    result = await run_client("ask", "  ")
    assert result.code == 2
    assert "empty" in result.err
