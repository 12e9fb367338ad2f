"""`client say` as a real program in a separate process."""

import json
from pathlib import Path

import numpy as np
import pytest

from client.wav import read_wav, write_wav
from tests.client.conftest import RunClient, loud
from tests.fakes import FakeCaller, FakeGateway, tone


async def test_two_files_are_two_turns_of_one_call(
    run_client: RunClient, questions: list[Path], tmp_path: Path
) -> None:
    async with FakeGateway(token="secret") as gateway:
        result = await run_client(
            *("say", *questions, "--out", tmp_path / "replies", "--json"),
            VOICE_CLIENT_URL=gateway.url,
            VOICE_CLIENT_TOKEN="secret",
        )
    assert (result.code, result.err) == (0, "")
    first, second = map(json.loads, result.out.splitlines())
    assert len(gateway.callers) == 1
    assert [first["turn"], second["turn"]] == [1, 2]
    assert [first["user_text"], second["user_text"]] == ["Question 1.", "Question 2."]
    assert [first["reply_text"], second["reply_text"]] == ["Answer 1.", "Answer 2."]
    assert first["stages"] == {"llm": 0.01, "tts": 0.02}
    assert not first["interrupted"]
    for turn in (first, second):
        assert turn["voice_to_voice_seconds"] >= 0.2
        pcm = read_wav(turn["reply_wav"] and tmp_path / turn["reply_wav"], 24_000)
        assert len(pcm) / 48_000 == pytest.approx(turn["reply_seconds"], abs=0.001)
        assert np.frombuffer(pcm, "<i2").any()


async def test_barge_in_shortens_the_written_reply(
    run_client: RunClient, questions: list[Path], tmp_path: Path
) -> None:
    async def bot(caller: FakeCaller, text: str) -> None:
        await caller.speak("A long story.", 8.0 if text == "Question 1." else 0.3, text)

    async with FakeGateway(bot) as gateway:
        result = await run_client(
            *("say", *questions, "--out", tmp_path, "--json", "--barge-in", "0.5"),
            VOICE_CLIENT_URL=gateway.url,
        )
    assert (result.code, result.err) == (0, "")
    first, second = map(json.loads, result.out.splitlines())
    assert (first["interrupted"], second["interrupted"]) == (True, False)
    # about 0.5 s, then 0.2 s of silence in the file, then the first loud frame
    assert 0.3 < first["reply_seconds"] < 8.0
    assert len(read_wav(tmp_path / first["reply_wav"], 24_000)) / 48_000 < 8.0
    assert second["reply_text"] == "A long story."


async def test_output_without_json_is_readable_text(
    run_client: RunClient, questions: list[Path]
) -> None:
    async with FakeGateway() as gateway:
        result = await run_client("say", questions[0], "--url", gateway.url)
    assert result.code == 0
    assert "you  Question 1." in result.out
    assert "at the client's buffer" in result.out


async def test_call_that_is_dropped_each_time_exits_with_5_and_keeps_what_was_heard(
    run_client: RunClient, questions: list[Path], tmp_path: Path
) -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.message("bot-started-speaking")
        await caller.audio(tone(0.5))
        caller.die()

    async with FakeGateway(bot) as gateway:
        result = await run_client(
            "say", *questions, "--json", "--out", tmp_path, VOICE_CLIENT_URL=gateway.url
        )
    assert result.code == 5
    *again, failed = result.err.splitlines()
    assert len(again) == 2 and all("Asking again in a new call" in line for line in again)
    assert failed == "voice: the call was dropped: the connection was lost"
    (turn,) = map(json.loads, result.out.splitlines())
    assert (turn["outcome"], turn["user_text"]) == ("call_dropped", "Question 1.")
    assert turn["reply_seconds"] > 0.1


async def test_close_code_is_printed_with_its_reason(
    run_client: RunClient, questions: list[Path]
) -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.close(1013, "the engines are overloaded")

    async with FakeGateway(bot) as gateway:
        result = await run_client("say", *questions, VOICE_CLIENT_URL=gateway.url)
    assert result.code == 5
    assert "the engines are overloaded (1013)" in result.err
    assert "Traceback" not in result.err


async def test_unanswered_file_exits_with_6_after_all_files(
    run_client: RunClient, questions: list[Path]
) -> None:
    async def bot(caller: FakeCaller, text: str) -> None:
        if text == "Question 1.":
            await caller.send_turn(outcome="nothing_heard")
        else:
            await caller.reply(text)

    async with FakeGateway(bot) as gateway:
        result = await run_client("say", *questions, "--json", VOICE_CLIENT_URL=gateway.url)
    assert result.code == 6
    assert result.err == "voice: no answer to first.wav\n"
    outcomes = [json.loads(line)["outcome"] for line in result.out.splitlines()]
    assert outcomes == ["nothing_heard", "answered"]


async def test_invalid_wav_file_is_rejected_before_a_call_is_opened(
    run_client: RunClient, tmp_path: Path
) -> None:
    (tmp_path / "song.mp3").write_bytes(b"ID3")
    async with FakeGateway() as gateway:
        for arguments in (
            [tmp_path / "song.mp3"],
            [tmp_path / "none.wav"],
            [tmp_path / "none.wav", "--barge-in", "-1"],
        ):
            result = await run_client("say", *arguments, VOICE_CLIENT_URL=gateway.url)
            assert result.code == 2
            assert result.err.count("\n") == 1
    assert gateway.attempts == 0


@pytest.mark.parametrize(("pcm", "why"), [(b"", "has no audio"), (bytes(32_000), "is silent")])
async def test_file_in_which_nothing_is_heard_is_rejected_before_a_call_is_opened(
    run_client: RunClient, questions: list[Path], tmp_path: Path, pcm: bytes, why: str
) -> None:
    write_wav(tmp_path / "nothing.wav", pcm, 16_000)
    async with FakeGateway() as gateway:
        result = await run_client(
            "say", questions[0], tmp_path / "nothing.wav", VOICE_CLIENT_URL=gateway.url
        )
    assert (result.code, result.out, gateway.attempts) == (2, "", 0)
    assert f"nothing.wav {why}" in result.err


async def test_full_disk_costs_the_files_but_no_turn(
    run_client: RunClient, questions: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "01-first.reply.wav").symlink_to("/dev/full")
    async with FakeGateway() as gateway:
        result = await run_client(
            "say", *questions, "--json", "--out", out, VOICE_CLIENT_URL=gateway.url
        )
    assert result.code == 2
    first, second = map(json.loads, result.out.splitlines())
    assert (first["reply_text"], first["reply_wav"]) == ("Answer 1.", None)
    assert (second["reply_text"], Path(second["reply_wav"]).is_file()) == ("Answer 2.", True)
    problem, summary = result.err.splitlines()
    assert problem.endswith("01-first.reply.wav: No space left on device")
    assert summary == "voice: not saved: the reply to first.wav"


async def test_goodbye_of_the_bot_is_heard_and_ends_the_command_with_0(
    run_client: RunClient, questions: list[Path], tmp_path: Path
) -> None:
    async def bot(caller: FakeCaller, text: str) -> None:
        await caller.speak("Goodbye.", 0.4, text, pace=0)
        await caller.close(1000, "hung_up: The bot said goodbye and ended the session.")

    async with FakeGateway(bot) as gateway:
        result = await run_client(
            "say", *questions, "--json", "--out", tmp_path, VOICE_CLIENT_URL=gateway.url
        )
    assert result.code == 0
    assert result.err == "voice: the bot said goodbye and ended the call\n"
    (turn,) = map(json.loads, result.out.splitlines())
    assert (turn["reply_text"], turn["outcome"]) == ("Goodbye.", "hung_up")
    heard = read_wav(tmp_path / turn["reply_wav"], 24_000)
    assert loud(heard) == loud(tone(0.4))  # nothing is cut off
    assert gateway.attempts == 1
