"""`client ask` as a real program in a separate process."""

import os
from pathlib import Path

import pytest

from appliance.gateway import wire
from client.wav import read_wav
from client.wire import MAX_TEXT_CHARS
from tests.client.conftest import RunClient, loud
from tests.fakes import FakeCaller, FakeGateway, tone

GOODBYE = "hung_up: The bot said goodbye and ended the session."


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


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("  ", "the question is empty"),
        ("x" * 4_001, "the question has 4001 characters; at most 4000"),
        (os.fsdecode(b"\xff"), "the question is not valid text"),
    ],
)
async def test_question_that_the_appliance_would_not_take_is_a_usage_error(
    run_client: RunClient, question: str, why: str
) -> None:
    result = await run_client("ask", question)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"voice: {why}")


def test_longest_question_is_that_of_the_gateway() -> None:
    assert MAX_TEXT_CHARS == wire.MAX_TEXT_CHARS


@pytest.mark.parametrize("out", ["", "none/a.wav"])
async def test_place_that_cannot_hold_the_reply_is_refused_before_the_call(
    run_client: RunClient, tmp_path: Path, out: str
) -> None:
    async with FakeGateway() as gateway:
        result = await run_client(
            "ask", "Hi", "--out", tmp_path / out, VOICE_CLIENT_URL=gateway.url
        )
    assert (result.code, result.out, gateway.attempts) == (2, "", 0)
    assert f"--out {tmp_path / out}" in result.err


async def test_reply_is_printed_although_the_disk_is_full(run_client: RunClient) -> None:
    async with FakeGateway() as gateway:
        result = await run_client("ask", "Hi", "--out", "/dev/full", VOICE_CLIENT_URL=gateway.url)
    assert (result.code, result.out) == (2, "Answer 1.\n")
    assert result.err == "voice: cannot write /dev/full: No space left on device\n"


async def test_goodbye_of_the_bot_is_heard_and_ends_the_command_with_0(
    run_client: RunClient, tmp_path: Path
) -> None:
    async def bot(caller: FakeCaller, text: str) -> None:
        await caller.speak("Goodbye.", 0.4, text, pace=0)
        await caller.close(1000, GOODBYE)

    wav = tmp_path / "goodbye.wav"
    async with FakeGateway(bot) as gateway:
        result = await run_client("ask", "Bye", "--out", wav, VOICE_CLIENT_URL=gateway.url)
    assert (result.code, result.out) == (0, "Goodbye.\n")
    assert result.err == "voice: the bot said goodbye and ended the call\n"
    assert loud(read_wav(wav, 24_000)) == loud(tone(0.4))  # nothing is cut off
    assert gateway.attempts == 1


async def test_other_end_of_the_call_exits_with_5(run_client: RunClient) -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.close(1008, "token_revoked: The access token of this session was revoked.")

    async with FakeGateway(bot) as gateway:
        result = await run_client("ask", "Hello", VOICE_CLIENT_URL=gateway.url)
    assert (result.code, result.out) == (5, "")
    assert result.err == (
        "voice: the appliance ended the call: The access token of this session was revoked"
        " (token_revoked, 1008); ask the people who run the appliance for a new token\n"
    )
