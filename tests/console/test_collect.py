"""Collecting facts from sources that are absent, hang or answer nonsense."""

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
from appliance.console.collect import collect_facts, fetch_metrics, query_all
from appliance.console.state import judge
from appliance.settings import ExporterConfig, GatewayConfig, PathsConfig, Settings
from tests.supervision import dummies
from tests.supervision.dummies import DummyAppliance


@pytest.fixture
def unresponsive_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def make_settings(run: Path, port: int = 1) -> Settings:
    paths = PathsConfig(run=run, lock=run / "no.lock")
    return Settings(
        paths=paths, gateway=GatewayConfig(port=port), exporter=ExporterConfig(port=port)
    )


def test_state_is_stopped_when_nothing_runs(tmp_path: Path) -> None:
    facts = collect_facts(make_settings(tmp_path / "none"))
    assert judge(facts).name == "stopped"
    assert (facts.boot_pid, facts.processes, facts.metrics, facts.lock) == (None, None, None, "")
    assert facts.silent == ["supervisord", "exporter"]


def test_damaged_state_files_count_as_absent(tmp_path: Path) -> None:
    for name in ("seal.json", "guard.json", "reason.json", "restarts.json", "boot.lock"):
        (tmp_path / name).write_bytes(b"\xff{")
    facts = collect_facts(make_settings(tmp_path))
    assert (facts.seal, facts.guard, facts.reason, facts.boot_pid) == ({}, {}, {}, None)


def test_processes_of_a_real_boot_are_found(tmp_path: Path) -> None:
    appliance = DummyAppliance(tmp_path, {"gateway": dummies.SLEEPER, "tts": dummies.SLEEPER})
    try:
        pid = appliance.wait_running("tts").pid
        facts = collect_facts(make_settings(appliance.run))
    finally:
        appliance.stop()
    assert facts.boot_pid == appliance.boot.pid
    (tts,) = (process for process in facts.processes or () if process.name == "tts")
    assert (tts.pid, tts.up, tts.restarts) == (pid, True, 0)
    assert tts.resident_bytes > 0
    assert 0 < facts.boot_started <= facts.now
    after = collect_facts(make_settings(appliance.run))
    assert (after.boot_pid, judge(after).name) == (None, "stopped")


def test_reason_of_a_failed_start_is_found_afterwards(tmp_path: Path) -> None:
    appliance = DummyAppliance(tmp_path, {"gateway": dummies.SLEEPER}, BROKEN_SEAL="yes")
    assert appliance.wait() == 79
    facts = collect_facts(make_settings(appliance.run))
    state = judge(facts)
    assert (state.name, facts.reason["exit_code"]) == ("broken", 79)
    assert "a byte was changed" in state.why
    assert state.since is not None


def test_query_that_hangs_or_fails_does_not_hide_the_other_answers() -> None:
    asleep = threading.Event()
    answers = query_all({"slow": asleep.wait, "quick": lambda: 7, "gone": _fail_to_connect}, 0.2)
    asleep.set()
    assert answers == {"quick": 7}


def _fail_to_connect() -> None:
    raise ConnectionError


def test_defect_in_a_query_is_not_swallowed() -> None:
    raised: list[type[BaseException]] = []
    before, threading.excepthook = threading.excepthook, lambda args: raised.append(args.exc_type)
    try:
        assert query_all({"wrong": lambda: sys.undefined}, 5.0) == {}  # type: ignore[attr-defined]
    finally:
        threading.excepthook = before
    assert raised == [AttributeError]


def test_silent_exporter_times_out(unresponsive_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.console.collect.METRICS_SECONDS", 0.2)
    with pytest.raises(TimeoutError):
        fetch_metrics(ExporterConfig(host="0.0.0.0", port=unresponsive_port))


def test_appliance_that_hangs_altogether_still_has_a_state(
    unresponsive_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.console.collect.LIMIT_SECONDS", 0.5)
    with run_folder.claim(tmp_path), _frozen_supervisord(tmp_path):
        run_folder.write_seal(tmp_path, {"full": True})
        facts = collect_facts(make_settings(tmp_path, unresponsive_port))
    assert facts.silent == ["supervisord", "gateway", "exporter"]
    assert facts.boot_pid == os.getpid()
    assert judge(facts).name in ("starting", "unknown")


@contextlib.contextmanager
def _frozen_supervisord(run: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(run / "supervisor.sock"))
        listening.listen()
        yield


def test_killed_boot_counts_as_not_running(tmp_path: Path) -> None:
    run_folder.claim(tmp_path).close()
    (tmp_path / "boot.lock").write_text("999999999 7")
    assert collect_facts(make_settings(tmp_path)).boot_pid is None
