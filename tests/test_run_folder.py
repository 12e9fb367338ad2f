"""The files that processes leave for each other."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from appliance import run_folder
from appliance.errors import AlreadyRunning, BadSetting, MissingWeights, PortTaken

ROOT = Path(__file__).parents[1]


# Claiming the folder.


def test_only_one_boot_may_claim_a_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with run_folder.claim(run), pytest.raises(AlreadyRunning, match="run"):
        run_folder.claim(run)
    run_folder.claim(run).close()


def test_claim_clears_the_files_of_an_earlier_run(tmp_path: Path) -> None:
    run_folder.write_failure(tmp_path, "tts", MissingWeights(path="model"))
    run_folder.write_reason(tmp_path, MissingWeights(path="model"))
    run_folder.write_restarts(tmp_path, {"tts": 7})
    run_folder.claim(tmp_path).close()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["boot.lock"]


def test_claim_ends_a_drain_of_an_earlier_run(tmp_path: Path) -> None:
    run_folder.begin_drain(tmp_path)
    run_folder.claim(tmp_path).close()
    assert run_folder.draining_since(tmp_path) is None


@pytest.mark.parametrize("closed", [True, False])
def test_claim_decides_whether_the_appliance_starts_closed(tmp_path: Path, closed: bool) -> None:
    run_folder.close(tmp_path)  # what an earlier run was does not count
    run_folder.claim(tmp_path, closed=closed).close()
    assert (run_folder.closed_since(tmp_path) is not None) == closed
    run_folder.open_again(tmp_path)
    run_folder.claim(tmp_path, closed=closed).close()
    assert (run_folder.closed_since(tmp_path) is not None) == closed


def test_boot_pid_is_that_of_the_boot_that_holds_the_folder(tmp_path: Path) -> None:
    assert run_folder.boot_pid(tmp_path) is None
    with run_folder.claim(tmp_path):
        assert run_folder.boot_pid(tmp_path) == os.getpid()
        with pytest.raises(AlreadyRunning):
            run_folder.claim(tmp_path)
        assert run_folder.boot_pid(tmp_path) == os.getpid()


def test_boot_pid_ignores_a_reused_pid_and_a_damaged_file(tmp_path: Path) -> None:
    run_folder.claim(tmp_path).close()
    lock = tmp_path / "boot.lock"
    lock.write_text(f"{os.getpid()} 7")  # this pid, but a process that started at tick 7
    assert run_folder.boot_pid(tmp_path) is None
    for content in ("999999999 7", "", "one two"):
        lock.write_text(content)
        assert run_folder.boot_pid(tmp_path) is None


def test_boot_that_is_a_zombie_does_not_run(tmp_path: Path) -> None:
    claim = f"""
from pathlib import Path
from appliance import run_folder
run_folder.claim(Path({str(tmp_path)!r}))
"""
    with subprocess.Popen([sys.executable, "-c", claim], cwd=ROOT) as boot:
        os.waitid(os.P_PID, boot.pid, os.WEXITED | os.WNOWAIT)
        assert run_folder.boot_pid(tmp_path) is None


def test_boot_pid_does_not_depend_on_the_clock(tmp_path: Path) -> None:
    with run_folder.claim(tmp_path):
        os.utime(tmp_path / "boot.lock", (1, 1))
        assert run_folder.boot_pid(tmp_path) == os.getpid()


def test_path_too_long_for_a_socket_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="too long for a unix socket"):
        run_folder.claim(tmp_path / ("deep" * 30))


def test_path_that_cannot_be_created_is_a_bad_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match=r"paths\.run"):
        run_folder.claim(tmp_path / "file" / "run")


# Records.


def test_error_passes_from_one_process_to_another(tmp_path: Path) -> None:
    run_folder.write_failure(tmp_path, "gateway", PortTaken(host="127.0.0.1", port=8765))
    error = run_folder.read_failure(tmp_path, "gateway")
    assert isinstance(error, PortTaken)
    assert str(error) == "127.0.0.1:8765 is already in use."
    assert run_folder.read_failure(tmp_path, "tts") is None


def test_restarts_are_read_as_written(tmp_path: Path) -> None:
    assert run_folder.read_restarts(tmp_path) == {}
    run_folder.write_restarts(tmp_path, {"gateway": 0, "tts": 2})
    assert run_folder.read_restarts(tmp_path) == {"gateway": 0, "tts": 2}


def test_file_that_a_power_failure_left_empty_counts_as_missing(tmp_path: Path) -> None:
    for name in ("seal.json", "guard.json"):
        (tmp_path / name).touch()
    run_folder.claim(tmp_path).close()
    assert run_folder.read_seal(tmp_path) == run_folder.read_guard(tmp_path) == {}


def _bad_records() -> dict[str, Callable[[Path], object]]:
    """What a program that was taken over can leave in its folder in place of a record."""
    texts = {
        "no details": '{"reason": "bad_setting"}',
        "missing detail": '{"reason": "bad_setting", "details": {"name": "x"}}',
        "taken name": '{"reason": "bad_setting", "details": {"self": 1, "name": 1, "why": 1}}',
        "no object": "[1]",
        "no text": "\udcff",
        "deep": "[" * 60_000,
        "large": '{"reason": "closed", "details": {}, "x": "' + "x" * (1 << 20) + '"}',
    }
    writers = {
        name: partial(Path.write_text, data=text, errors="surrogateescape")
        for name, text in texts.items()
    }
    return {
        **writers,
        "pipe": os.mkfifo,
        "endless": lambda path: path.symlink_to("/dev/zero"),
        "folder": Path.mkdir,
        "socket": lambda path: _bind(path),
    }


def _bind(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


@pytest.mark.parametrize("kind", _bad_records())
def test_record_of_a_program_that_was_taken_over_is_ignored(tmp_path: Path, kind: str) -> None:
    """The guard and boot read it: neither an exception nor a pipe may stop them."""
    for name in (run_folder.FAILED, run_folder.ACCEPTANCE):
        _bad_records()[kind](run_folder.of_program(tmp_path, "gateway") / name)
    assert run_folder.read_failure(tmp_path, "gateway") is None
    if kind in ("pipe", "endless", "folder", "socket"):
        assert run_folder.read_acceptance_pass(tmp_path, "gateway") == ""


def test_failure_is_not_recorded_without_a_run_folder(tmp_path: Path) -> None:
    run_folder.write_failure(tmp_path / "none", "tts", MissingWeights(path="model"))
    assert not (tmp_path / "none").exists()


# Draining.


def test_drain_has_a_start_time_until_it_ends(tmp_path: Path) -> None:
    assert run_folder.draining_since(tmp_path) is None
    run_folder.begin_drain(tmp_path)
    assert run_folder.draining_since(tmp_path) == pytest.approx(time.time(), abs=60)
    run_folder.end_drain(tmp_path)
    assert run_folder.draining_since(tmp_path) is None


def test_second_drain_keeps_the_time_of_the_first_and_may_be_ended_twice(tmp_path: Path) -> None:
    run_folder.begin_drain(tmp_path)
    first = run_folder.draining_since(tmp_path)
    run_folder.begin_drain(tmp_path)
    assert run_folder.draining_since(tmp_path) == first
    run_folder.end_drain(tmp_path)
    run_folder.end_drain(tmp_path)


def test_drain_needs_a_run_folder(tmp_path: Path) -> None:
    assert run_folder.draining_since(tmp_path / "none") is None
    with pytest.raises(FileNotFoundError):
        run_folder.begin_drain(tmp_path / "none")
