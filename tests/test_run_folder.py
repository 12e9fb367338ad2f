"""The files processes leave for each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import run_folder
from appliance import run_folder as draining
from appliance.errors import AlreadyRunning, BadSetting, MissingWeights, PortTaken

ROOT = Path(__file__).parents[1]


def test_only_one_boot_holds_a_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with run_folder.claim(run), pytest.raises(AlreadyRunning, match="run"):
        run_folder.claim(run)
    run_folder.claim(run).close()


def test_what_an_earlier_run_left_is_cleared(tmp_path: Path) -> None:
    run_folder.write_failure(tmp_path, "tts", MissingWeights(path="model"))
    run_folder.write_reason(tmp_path, MissingWeights(path="model"))
    run_folder.write_restarts(tmp_path, {"tts": 7})
    run_folder.claim(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["boot.lock"]


def test_a_drain_of_an_earlier_run_does_not_keep_callers_out(tmp_path: Path) -> None:
    draining.begin(tmp_path)
    run_folder.claim(tmp_path).close()
    assert draining.since(tmp_path) is None


def test_whoever_asks_finds_the_boot_that_runs(tmp_path: Path) -> None:
    assert run_folder.boot_pid(tmp_path) is None
    with run_folder.claim(tmp_path):
        assert run_folder.boot_pid(tmp_path) == os.getpid()
        with pytest.raises(AlreadyRunning):
            run_folder.claim(tmp_path)
        assert run_folder.boot_pid(tmp_path) == os.getpid()


def test_a_boot_that_was_killed_is_not_mistaken_for_who_has_its_number_now(tmp_path: Path) -> None:
    run_folder.claim(tmp_path).close()
    lock = tmp_path / "boot.lock"
    lock.write_text(f"{os.getpid()} 7")  # this number, but another process: it began at tick 7
    assert run_folder.boot_pid(tmp_path) is None
    for left in ("999999999 7", "", "one two"):
        lock.write_text(left)
        assert run_folder.boot_pid(tmp_path) is None


def test_a_boot_that_has_ended_and_was_not_yet_waited_for_does_not_run(tmp_path: Path) -> None:
    claim = f"""
from pathlib import Path
from appliance import run_folder
run_folder.claim(Path({str(tmp_path)!r}))
"""
    with subprocess.Popen([sys.executable, "-c", claim], cwd=ROOT) as boot:
        os.waitid(os.P_PID, boot.pid, os.WEXITED | os.WNOWAIT)
        assert run_folder.boot_pid(tmp_path) is None


def test_a_clock_that_is_set_does_not_hide_a_boot(tmp_path: Path) -> None:
    with run_folder.claim(tmp_path):
        os.utime(tmp_path / "boot.lock", (1, 1))
        assert run_folder.boot_pid(tmp_path) == os.getpid()


def test_a_folder_too_deep_for_a_socket_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="too long for a unix socket"):
        run_folder.claim(tmp_path / ("deep" * 30))


def test_a_folder_that_cannot_be_made_is_a_bad_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match=r"paths\.run"):
        run_folder.claim(tmp_path / "file" / "run")


def test_an_error_crosses_from_one_process_to_another(tmp_path: Path) -> None:
    run_folder.write_failure(tmp_path, "gateway", PortTaken(host="127.0.0.1", port=8765))
    error = run_folder.read_failure(tmp_path, "gateway")
    assert isinstance(error, PortTaken)
    assert str(error) == "127.0.0.1:8765 is already in use."
    assert run_folder.read_failure(tmp_path, "tts") is None


def test_restarts_are_read_as_written(tmp_path: Path) -> None:
    assert run_folder.read_restarts(tmp_path) == {}
    run_folder.write_restarts(tmp_path, {"gateway": 0, "tts": 2})
    assert run_folder.read_restarts(tmp_path) == {"gateway": 0, "tts": 2}


def test_a_file_that_a_power_cut_left_empty_is_as_none(tmp_path: Path) -> None:
    for name in ("seal.json", "guard.json"):
        (tmp_path / name).touch()
    run_folder.claim(tmp_path).close()
    assert run_folder.read_seal(tmp_path) == run_folder.read_guard(tmp_path) == {}


def test_without_a_run_folder_a_failure_is_not_written(tmp_path: Path) -> None:
    run_folder.write_failure(tmp_path / "none", "tts", MissingWeights(path="model"))
    assert not (tmp_path / "none").exists()
