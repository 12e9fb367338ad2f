"""The door of the program: flags, exit codes, and errors in one or two lines."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from client.__main__ import main
from tests.client.conftest import ROOT
from tests.fakes import FakeGateway
from tests.signals import with_default_sigint


async def test_a_wrong_token_is_exit_3(program):
    async with FakeGateway(token="secret") as gateway:
        got = await program("ask", "Hi", VOICE_CLIENT_URL=gateway.url, VOICE_CLIENT_TOKEN="guess")
    assert (got.code, got.out) == (3, "")
    assert "access token (401)" in got.err
    assert "guess" not in got.err
    assert got.err.count("\n") == 1


async def test_a_full_appliance_is_exit_3_when_patience_is_over(program):
    body = b'{"message": "All 4 sessions are taken.", "advice": "Try again when a call has ended."}'
    async with FakeGateway(refusals=[(503, {"Retry-After": "30"}, body)]) as gateway:
        got = await program("ask", "Hi", VOICE_CLIENT_URL=gateway.url)
    assert got.code == 3
    assert "All 4 sessions are taken. Try again when a call has ended." in got.err


async def test_a_busy_appliance_is_waited_for(program):
    async with FakeGateway(refusals=[(503, {"Retry-After": "1"}, b"")]) as gateway:
        got = await program("ask", "Hi", VOICE_CLIENT_URL=gateway.url)
    assert (got.code, got.out, gateway.attempts) == (0, "Answer 1.\n", 2)
    assert "Trying again in 1." in got.err


async def test_nothing_listening_is_exit_4(program):
    async with FakeGateway() as gateway:
        url = gateway.url
    got = await program("ask", "Hi", "--patience", "0", "--url", url)
    assert got.code == 4
    assert "nothing listens at 127.0.0.1:" in got.err


async def test_the_token_file_is_a_flag_and_the_token_is_not(program, tmp_path):
    token_file = tmp_path / "token"
    token_file.write_text("secret\n")
    async with FakeGateway(token="secret") as gateway:
        by_file = await program("ask", "Hi", "--url", gateway.url, "--token-file", token_file)
        by_flag = await program("ask", "Hi", "--url", gateway.url, "--token", "secret")
    assert by_file.code == 0
    assert by_flag.code == 2
    assert gateway.attempts == 1


async def test_a_settings_file_in_the_home_folder_is_found(program, tmp_path):
    async with FakeGateway(token="secret") as gateway:
        folder = tmp_path / ".config"
        folder.mkdir()
        (folder / "voice-client.toml").write_text(f'url = "{gateway.url}"\ntoken = "secret"\n')
        got = await program("ask", "Hi")
    assert got.code == 0


async def test_the_whole_program_runs_without_pipecat_or_a_sound_system(program, tmp_path):
    blocked = tmp_path / "blocked"
    for name in ("pipecat", "sounddevice"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text(f"raise RuntimeError('{name} was imported')")
    async with FakeGateway() as gateway:
        got = await program("ask", "Hi", VOICE_CLIENT_URL=gateway.url, PYTHONPATH=str(blocked))
    assert (got.code, got.err) == (0, "")


def test_nothing_of_the_appliance_is_imported():
    code = "import sys, client.__main__; print([m for m in sys.modules if m == 'appliance'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"[]\n"


async def test_ctrl_c_ends_a_conversation_without_a_traceback():
    async def bot(_caller, _text):
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
    "arguments", [[], ["sing"], ["say"], ["ask"], ["ask", "a", "--patience", "x"]]
)
def test_wrong_usage_is_exit_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: client" in capsys.readouterr().err


def test_help_names_every_verb(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for verb in ("talk", "say", "ask", "devices", "VOICE_CLIENT_TOKEN_FILE"):
        assert verb in shown


def test_speaking_to_another_machine_in_the_clear_is_warned_about(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    main(["ask", "Hi", "--url", "ws://nowhere.invalid/ws", "--patience", "0"])
    assert "unencrypted" in capsys.readouterr().err
