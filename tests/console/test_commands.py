"""The commands as an operator types them, on a machine where nothing runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from appliance.console import commands
from tests.console import log_lines

ROOT = Path(__file__).parents[2]
LOG = "\n".join([*log_lines.TEXTS, ""])


def parse(command: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    getattr(commands, f"{command}_options")(parser)
    return parser.parse_args(arguments)


def test_status_options_default_to_a_screen_in_automatic_colour() -> None:
    args = parse("status")
    assert (args.json, args.plain, args.colour, args.lines) == (False, False, "auto", 0)


def test_colour_may_be_spelled_in_two_ways() -> None:
    assert parse("logs", "--color", "always").colour == "always"
    assert parse("trace", "--colour=never").colour == "never"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("status", ["--json", "--plain"]),
        ("status", ["--colour", "pink"]),
        ("exit_reason", ["--exit-code", "many"]),
        ("logs", ["--unit", "nginx"]),
        ("drain", ["--wait", "soon"]),
        ("drain", ["--wait", "3", "--undo"]),
        ("bundle", ["--all"]),
    ],
)
def test_wrong_arguments_are_refused(command: str, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(command, *arguments)


def test_help_explains_the_exit_codes() -> None:
    for command in ("status", "trace", "drain"):
        parser = argparse.ArgumentParser()
        getattr(commands, f"{command}_options")(parser)
        assert "Exit code" in parser.format_help()


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
def run(tmp_path: Path) -> Path:
    """A run folder that does not exist yet."""
    return tmp_path / "run"


def call(run: Path, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Run a command until it exits; return exit code, stdout and stderr."""
    process = start(run, *arguments)
    out, err = process.communicate(stdin.encode(), timeout=120)
    return process.returncode, out.decode(), err.decode()


def test_status_of_a_stopped_appliance_exits_with_3_in_all_forms(run: Path) -> None:
    code, out, _ = call(run, "status")
    assert code == 3
    assert out.startswith("○ voice-appliance ")
    code, out, _ = call(run, "status", "--json")
    assert (code, json.loads(out)["state"]) == (3, "stopped")
    assert call(run, "status", "--plain")[:2] == (3, "down: appliance: stopped\n")


def test_status_shows_the_last_log_lines_within_80_columns(run: Path) -> None:
    _, out, _ = call(run, "status", "--lines", "2", stdin=LOG)
    *_, before, last = out.splitlines()
    assert before == "podman: something of its own"
    assert "session ended" in last
    assert max(map(len, out.splitlines())) <= 80


def test_exit_reason_is_found_in_the_log_and_shown_with_its_last_lines(run: Path) -> None:
    error = log_lines.event(27, "stopped by an error", exit_code=78, what="Port 9.", advice="Look.")
    log = f"{LOG}{error}\n"
    code, out, _ = call(run, "exit-reason", "--exit-code", "78", "--lines", "1", stdin=log)
    *fields, blank, last = out.splitlines()
    assert code == 0
    assert fields[1:] == ["    Reason: Port 9.", "    Advice: Look."]
    assert blank == "" and "stopped by an error" in last and len(last) <= 80
    assert call(run, "exit-reason", "--plain", stdin=log)[1] == "exit code 78: Port 9\n"
    assert json.loads(call(run, "exit-reason", "--json", stdin=log)[1])["what"] == "Port 9."


def test_logs_are_filtered_by_unit_and_formatted(run: Path) -> None:
    code, out, _ = call(run, "logs", "--unit", "gateway", stdin=LOG)
    assert code == 0
    assert "podman: something of its own" not in out
    assert out.splitlines()[3] == (
        "Nov 22 09:55:11.000 gateway   warning: engine failed session=3f2a9c1b7d04 engine=tts "
        "reason=engine_gone"
    )
    assert call(run, "logs", "--output", "json", stdin=LOG)[1] == LOG
    assert "\x1b[" in call(run, "logs", "--colour", "always", stdin=LOG)[1]


def test_log_line_is_printed_as_soon_as_it_arrives(run: Path) -> None:
    process = start(run, "logs", "--output", "cat")
    assert process.stdin and process.stdout
    for text in log_lines.TEXTS[:2]:
        process.stdin.write(text.encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline()  # hangs if the line is buffered
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_closed_pipe_ends_logs_without_a_complaint(run: Path) -> None:
    process = start(run, "logs")
    assert process.stdin and process.stdout
    process.stdin.write(log_lines.TEXTS[0].encode() + b"\n")
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):  # the process may end before all is written
        process.stdin.write(LOG.encode() * 100)
        process.stdin.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(60) == 0


def test_trace_lists_all_calls_or_draws_one(run: Path) -> None:
    code, out, _ = call(run, "trace", stdin=LOG)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["3f2a9c1b7d04", "99aa"]
    code, out, _ = call(run, "trace", "3f2a9c1b7d04", stdin=LOG)
    assert code == 0
    assert "voice to voice 1984 ms" in out
    code, out, err = call(run, "trace", "0000", stdin=LOG)
    assert (code, out) == (1, "")
    assert "no call '0000' in this log" in err


def test_drain_of_a_stopped_appliance_is_refused(run: Path) -> None:
    assert call(run, "drain", "--wait", "1")[:2] == (3, "the appliance is not running\n")


def test_bundle_is_a_tar(run: Path, tmp_path: Path) -> None:
    process = start(run, "bundle")
    out, _ = process.communicate(LOG.encode(), timeout=120)
    assert process.returncode == 0
    (tmp_path / "bundle.tar").write_bytes(out)
    with tarfile.open(tmp_path / "bundle.tar") as archive:
        assert "voice-bundle/log.jsonl" in archive.getnames()
