"""ops/run stops the appliance on a signal, however it was started itself."""

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
    for name in ("run", "common.sh", "serving.sh"):
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
