"""ops/run stops on a signal, however it was started; ops/demo says what failed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.signals import with_default_sigint, with_ignored_sigint

OPS = Path(__file__).resolve().parents[2] / "ops"

# Stands in for the virtual environment's Python: `-m appliance boot` runs until SIGTERM, and
# everything else (the readiness check, the token) does nothing.
PYTHON = """#!/usr/bin/env bash
[[ "$*" == "-m appliance boot" ]] || { sleep 0.1; exit 0; }
trap 'echo stopped >"$VOICE_TEST_FOLDER/stopped"; exit 0' TERM
trap '' INT
touch "$VOICE_TEST_FOLDER/booted"
while :; do sleep 0.1; done
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout with ops/run and stand-ins for the set-up and the appliance."""
    (tmp_path / "ops").mkdir()
    for name in ("run", "demo", "common.sh", "serving.sh"):
        shutil.copy(OPS / name, tmp_path / "ops" / name)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for path, text in ((".venv/bin/python", PYTHON), ("ops/setup", "#!/bin/sh\n")):
        (tmp_path / path).write_text(text, encoding="utf-8")
        (tmp_path / path).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("start", [with_default_sigint, with_ignored_sigint])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_the_appliance_and_ends_the_script(
    folder: Path, start: Callable[..., list[str]], sent: signal.Signals
) -> None:
    process = subprocess.Popen(
        start(str(folder / "ops/run")),
        env={**os.environ, "VOICE_TEST_FOLDER": str(folder), "XDG_RUNTIME_DIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (folder / "booted").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(sent)
        assert process.wait(60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert (folder / "stopped").exists()


def run_demo(folder: Path, boot: str, ready_seconds: int) -> tuple[int, str]:
    """Run ops/demo with a stand-in for the appliance. Return its exit code and its errors.

    The stand-in of Python prints ports, which are also no answer of a ready appliance.
    """
    python = f'#!/bin/sh\n[ "$*" = "-m appliance boot" ] || {{ echo 1 2; exit 0; }}\n{boot}\n'
    (folder / ".venv/bin/python").write_text(python, encoding="utf-8")
    demo = folder / "ops/demo"
    text = demo.read_text(encoding="utf-8")
    assert text.count("READY_SECONDS=600") == 1
    demo.write_text(text.replace("READY_SECONDS=600", f"READY_SECONDS={ready_seconds}"))
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    done = subprocess.run([demo], env=environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_demo_tells_an_appliance_that_exited(folder: Path) -> None:
    code, errors = run_demo(folder, "exit 78", ready_seconds=600)
    assert code == 1
    assert "the appliance exited before it was ready" in errors
    assert str(folder / "demo-out/appliance.log") in errors


def test_demo_tells_a_slow_machine_and_what_it_waits_for(folder: Path) -> None:
    code, errors = run_demo(folder, "trap 'exit 0' TERM; while :; do sleep 0.1; done", 0)
    assert code == 1
    assert "not ready after 0 s: it waits for 1 2. This machine may be busy" in errors
    assert not list(folder.glob("voice.*"))  # stopped, and its run folder is removed
