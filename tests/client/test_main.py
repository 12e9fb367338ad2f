"""The command line program: flags, exit codes and error messages."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from client.__main__ import main
from tests.client.conftest import ROOT, RunClient
from tests.fakes import FakeCaller, FakeGateway
from tests.signals import with_default_sigint


async def test_wrong_token_exits_with_3(run_client: RunClient) -> None:
    async with FakeGateway(token="secret") as gateway:
        result = await run_client(
            "ask", "Hi", VOICE_CLIENT_URL=gateway.url, VOICE_CLIENT_TOKEN="guess"
        )
    assert (result.code, result.out) == (3, "")
    assert "(401): The access token is missing or wrong. Name the file" in result.err
    assert "guess" not in result.err
    assert result.err.count("\n") == 1


async def test_full_appliance_exits_with_3_after_the_retry_time(run_client: RunClient) -> None:
    body = b'{"message": "All 4 sessions are taken.", "advice": "Try again when a call has ended."}'
    async with FakeGateway(refusals=[(503, {"Retry-After": "30"}, body)]) as gateway:
        result = await run_client("ask", "Hi", VOICE_CLIENT_URL=gateway.url)
    assert result.code == 3
    assert "All 4 sessions are taken. Try again when a call has ended." in result.err


async def test_connection_to_a_busy_appliance_is_retried(run_client: RunClient) -> None:
    async with FakeGateway(refusals=[(503, {"Retry-After": "1"}, b"")]) as gateway:
        result = await run_client("ask", "Hi", VOICE_CLIENT_URL=gateway.url)
    assert (result.code, result.out, gateway.attempts) == (0, "Answer 1.\n", 2)
    assert "Trying again in 1." in result.err


async def test_connection_refused_exits_with_4(run_client: RunClient) -> None:
    async with FakeGateway() as gateway:
        url = gateway.url
    result = await run_client("ask", "Hi", "--retry", "0", "--url", url)
    assert result.code == 4
    assert "nothing listens at 127.0.0.1:" in result.err


async def test_token_file_is_a_flag_and_the_token_is_not(
    run_client: RunClient, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret\n")
    async with FakeGateway(token="secret") as gateway:
        by_file = await run_client("ask", "Hi", "--url", gateway.url, "--token-file", token_file)
        by_flag = await run_client("ask", "Hi", "--url", gateway.url, "--token", "secret")
    assert by_file.code == 0
    assert by_flag.code == 2
    assert gateway.attempts == 1


async def test_settings_file_in_the_home_folder_is_read(
    run_client: RunClient, tmp_path: Path
) -> None:
    async with FakeGateway(token="secret") as gateway:
        folder = tmp_path / ".config"
        folder.mkdir()
        (folder / "voice-client.toml").write_text(f'url = "{gateway.url}"\ntoken = "secret"\n')
        result = await run_client("ask", "Hi")
    assert result.code == 0


async def test_client_runs_without_pipecat_or_a_sound_system(
    run_client: RunClient, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    for name in ("pipecat", "sounddevice"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text(f"raise RuntimeError('{name} was imported')")
    async with FakeGateway() as gateway:
        result = await run_client(
            "ask", "Hi", VOICE_CLIENT_URL=gateway.url, PYTHONPATH=str(blocked)
        )
    assert (result.code, result.err) == (0, "")


def test_client_imports_nothing_from_the_appliance() -> None:
    code = "import sys, client.__main__; print([m for m in sys.modules if m == 'appliance'])"
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True
    )
    assert completed.stdout == b"[]\n"


async def test_ctrl_c_stops_a_conversation_without_a_traceback() -> None:
    async def bot(_caller: FakeCaller, _text: str) -> None:
        return

    async with FakeGateway(bot) as gateway:
        process = await asyncio.create_subprocess_exec(
            *with_default_sigint(sys.executable, "-m", "client", "ask", "Hi"),
            cwd=ROOT,
            env={**os.environ, "VOICE_CLIENT_URL": gateway.url},
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            while not gateway.callers or len(gateway.callers[0].messages) < 2:
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (130, b"")


@pytest.mark.parametrize(
    "arguments", [[], ["sing"], ["say"], ["ask"], ["ask", "a", "--retry", "x"]]
)
def test_usage_error_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    assert "usage: voice" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--retry", "--answer-seconds"])
@pytest.mark.parametrize("seconds", ["nan", "-1", "inf"])
def test_seconds_out_of_range_are_refused(
    flag: str, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "Hi", f"{flag}={seconds}"]) == 2
    message = f"voice: {flag} {seconds} is not between 0 and 3600 seconds\n"
    assert capsys.readouterr().err == message


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for verb in ("talk", "say", "ask", "devices", "VOICE_CLIENT_TOKEN_FILE"):
        assert verb in text


def test_unencrypted_url_to_another_machine_prints_a_warning(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    main(["ask", "Hi", "--url", "ws://nowhere.invalid/ws", "--retry", "0"])
    assert "unencrypted" in capsys.readouterr().err
