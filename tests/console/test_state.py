"""Asking everybody: who is not there, who hangs, who talks nonsense."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import run_folder
from appliance.console.state import gathered, judged, page, together
from appliance.settings import ExporterConfig, GatewayConfig, PathsConfig, Settings
from tests.supervision import dummies
from tests.supervision.dummies import DummyAppliance


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def settings(run: Path, port: int = 1) -> Settings:
    paths = PathsConfig(run=run, lock=run / "no.lock")
    return Settings(
        paths=paths, gateway=GatewayConfig(port=port), exporter=ExporterConfig(port=port)
    )


def test_where_nothing_runs_it_is_stopped(tmp_path: Path) -> None:
    facts = gathered(settings(tmp_path / "none"))
    assert judged(facts).name == "stopped"
    assert (facts.boot_pid, facts.programs, facts.figures, facts.lock) == (None, None, None, "")
    assert facts.silent == ["supervisord", "exporter"]


def test_files_that_are_damaged_do_not_keep_it_from_answering(tmp_path: Path) -> None:
    for name in ("seal.json", "guard.json", "reason.json", "restarts.json", "boot.lock"):
        (tmp_path / name).write_bytes(b"\xff{")
    facts = gathered(settings(tmp_path))
    assert (facts.seal, facts.guard, facts.reason, facts.restarts) == ({}, {}, {}, {})


def test_the_processes_of_a_real_boot_are_found(tmp_path: Path) -> None:
    running = DummyAppliance(tmp_path, {"gateway": dummies.SLEEPER, "tts": dummies.SLEEPER})
    try:
        pid = running.running("tts").pid
        facts = gathered(settings(running.run))
    finally:
        running.stop()
    assert facts.boot_pid == running.boot.pid
    assert {program.name: program.pid for program in facts.programs or ()}["tts"] == pid
    assert facts.vitals["tts"].resident_bytes > 0
    assert facts.restarts["tts"] == 0
    assert 0 < facts.boot_started <= facts.now
    after = gathered(settings(running.run))
    assert (after.boot_pid, judged(after).name) == (None, "stopped")


def test_why_it_ended_is_found_afterwards(tmp_path: Path) -> None:
    broken = DummyAppliance(tmp_path, {"gateway": dummies.SLEEPER}, BROKEN_SEAL="yes")
    assert broken.wait() == 79
    facts = gathered(settings(broken.run))
    state = judged(facts)
    assert (state.name, facts.reason["exit_code"]) == ("broken", 79)
    assert "a byte was changed" in state.why
    assert state.since is not None


def test_who_hangs_is_left_out_and_the_others_are_heard() -> None:
    asleep = threading.Event()
    answers = together({"slow": asleep.wait, "quick": lambda: 7, "gone": failing}, 0.2)
    asleep.set()
    assert answers == {"quick": 7}


def failing() -> None:
    raise ConnectionError


def test_a_defect_is_not_taken_for_silence(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[type[BaseException]] = []
    before, threading.excepthook = threading.excepthook, lambda it: heard.append(it.exc_type)
    try:
        assert together({"wrong": lambda: sys.undefined}, 5.0) == {}  # type: ignore[attr-defined]
    finally:
        threading.excepthook = before
    assert heard == [AttributeError]


def test_a_port_that_takes_calls_and_says_nothing_costs_a_limited_time(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.console.state.PAGE_SECONDS", 0.2)
    with pytest.raises(TimeoutError):
        page(ExporterConfig(host="0.0.0.0", port=silent_port))


def test_an_appliance_that_hangs_altogether_still_has_a_state(
    silent_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.console.state.LIMIT_SECONDS", 0.5)
    with run_folder.claim(tmp_path), frozen_supervisord(tmp_path):
        run_folder.write_seal(tmp_path, {"full": True})
        facts = gathered(settings(tmp_path, silent_port))
    assert facts.silent == ["supervisord", "gateway", "exporter"]
    assert facts.boot_pid == os.getpid()
    assert judged(facts).name in ("starting", "unknown")


@contextlib.contextmanager
def frozen_supervisord(run: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(run / "supervisor.sock"))
        listening.listen()
        yield


def test_a_boot_that_was_killed_is_not_running(tmp_path: Path) -> None:
    run_folder.claim(tmp_path).close()
    (tmp_path / "boot.lock").write_text("999999999 7")
    assert gathered(settings(tmp_path)).boot_pid is None
