"""The verbs as an operator types them, on a machine where nothing runs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import recorded

ROOT = Path(__file__).parents[2]
LOG = "\n".join([*recorded.TEXTS, ""])


def start(run: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "appliance", *arguments],
        cwd=ROOT,
        env={**os.environ, "VOICE_PATHS_RUN": str(run), "VOICE_GATEWAY_PORT": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run"


def typed(run: Path, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    process = start(run, *arguments)
    out, complaints = process.communicate(stdin.encode(), timeout=120)
    return process.returncode, out.decode(), complaints.decode()


def test_the_state_of_nothing_is_stopped_and_its_exit_code_says_so(run: Path) -> None:
    code, out, _ = typed(run, "status")
    assert code == 3
    assert out.startswith("○ voice-appliance ")
    code, out, _ = typed(run, "status", "--json")
    assert (code, json.loads(out)["state"]) == (3, "stopped")
    assert typed(run, "status", "--plain")[:2] == (3, "down: appliance: stopped\n")


def test_the_last_lines_of_the_log_may_stand_below(run: Path) -> None:
    _, out, _ = typed(run, "status", "--lines", "2", stdin=LOG)
    *_, before, last = out.splitlines()
    assert before == "podman: something of its own"
    assert "session ended" in last
    assert max(map(len, out.splitlines())) <= 80


def test_logs_are_filtered_and_shown(run: Path) -> None:
    code, out, _ = typed(run, "logs", "--unit", "gateway", stdin=LOG)
    assert code == 0
    assert "podman: something of its own" not in out
    assert out.splitlines()[3] == (
        "Nov 22 09:55:11.000 gateway   warning: engine failed session=3f2a9c1b7d04 engine=tts "
        "reason=engine_gone"
    )
    assert typed(run, "logs", "--output", "json", stdin=LOG)[1] == LOG
    assert "\x1b[" in typed(run, "logs", "--colour", "always", stdin=LOG)[1]


def test_a_line_is_shown_as_soon_as_it_comes(run: Path) -> None:
    process = start(run, "logs", "--output", "cat")
    assert process.stdin and process.stdout
    for text in recorded.TEXTS[:2]:
        process.stdin.write(text.encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline()  # hangs where it is held back
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_whoever_stops_reading_gets_no_complaint(run: Path) -> None:
    process = start(run, "logs")
    assert process.stdin and process.stdout
    process.stdin.write(recorded.TEXTS[0].encode() + b"\n")
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):  # it may be gone before we have written all
        process.stdin.write(LOG.encode() * 100)
        process.stdin.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(60) == 0


def test_calls_are_listed_and_one_is_drawn(run: Path) -> None:
    code, out, _ = typed(run, "trace", stdin=LOG)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["3f2a9c1b7d04", "99aa"]
    code, out, _ = typed(run, "trace", "3f2a9c1b7d04", stdin=LOG)
    assert code == 0
    assert "voice to voice 1984 ms" in out
    code, out, complaints = typed(run, "trace", "0000", stdin=LOG)
    assert (code, out) == (1, "")
    assert "no call '0000' in this log" in complaints


def test_what_does_not_run_cannot_be_drained(run: Path) -> None:
    assert typed(run, "drain", "--wait", "1")[:2] == (3, "nothing runs here\n")


def test_a_bundle_is_a_tar(run: Path, tmp_path: Path) -> None:
    process = start(run, "bundle")
    out, _ = process.communicate(LOG.encode(), timeout=120)
    assert process.returncode == 0
    (tmp_path / "bundle.tar").write_bytes(out)
    with tarfile.open(tmp_path / "bundle.tar") as archive:
        assert "voice-bundle/log.jsonl" in archive.getnames()
