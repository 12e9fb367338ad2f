"""Steps run in processes of their own; what they measured is kept whatever happens to them."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from appliance.gpu_proof import runner
from appliance.gpu_proof.record import Record, Step
from appliance.gpu_proof.record_file import read, write
from appliance.gpu_proof.runner import RECORD, RunOptions, interpret, run
from appliance.gpu_proof.steps import StepPlan


def plan(
    behaviour: str = "ends", name: str = "fake", min_seconds: float = 1.0, package: str = "json"
) -> StepPlan:
    """A step that behaves like this."""
    module, arguments = "tests.gpu_proof.fake_step", (behaviour,)
    return StepPlan(name, name, module, (package,), min_seconds, 300.0, arguments=arguments)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    monkeypatch.setattr(runner, "STOP_SECONDS", 3.0)
    return RunOptions(tmp_path / "out", tmp_path, tmp_path / "scratch", 120.0, "cpu", "tiny")


def run_one(behaviour: str, options: RunOptions) -> Step:
    (step,) = run([plan(behaviour)], options, print).steps
    return step


def test_step_that_ends_well_is_measured(options: RunOptions) -> None:
    step = run_one("ends", options)
    assert (step.state, step.why, step.notes) == ("measured", "", ("a note",))
    (value,) = step.measurements
    assert (value.name, value.median, value.n, value.conditions) == (
        "speed", 2.0, 2, {"device": "cpu"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ("measures part of it", "second part: RuntimeError: no kernel image is available"),
        ("crashes", "exit code 1: illegal memory access"),
        ("is killed", "exit code -9"),
    ],
)
def test_step_that_fails_keeps_its_values_and_the_reason(
    options: RunOptions, behaviour: str, why: str
) -> None:
    step = run_one(behaviour, options)
    assert step.state == "partly"
    assert step.why.startswith(why)
    assert len(step.measurements) == 1


def test_step_that_hangs_is_stopped_with_its_children_and_keeps_its_values(
    options: RunOptions,
) -> None:
    step = run_one("hangs", replace(options, seconds=30.0))
    assert step.state == "partly"
    assert step.why.startswith("stopped after ")
    assert len(step.measurements) == 1
    child = int((options.scratch / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_failed_step_does_not_stop_the_next(options: RunOptions) -> None:
    record = run([plan("crashes", "first"), plan("ends", "second")], options, print)
    assert [step.state for step in record.steps] == ["partly", "measured"]


def test_step_without_its_package_or_its_time_is_in_the_record_with_the_reason(
    options: RunOptions,
) -> None:
    steps = [plan(name="lacks", package="no_such_package"), plan(name="long", min_seconds=500)]
    record = run(steps, options, print)
    assert [(step.name, step.state) for step in record.steps] == [
        ("lacks", "unavailable"),
        ("long", "not reached"),
    ]
    assert record.steps[0].why == "not installed here: no_such_package"


def test_second_run_goes_on_with_what_is_missing(options: RunOptions) -> None:
    run([plan(name="first")], options, print)
    started: list[str] = []
    record = run([plan(name="first"), plan(name="second")], options, started.append)
    assert [step.state for step in record.steps] == ["measured", "measured"]
    assert not any(line.startswith("first") for line in started)


def test_rehearsal_is_not_taken_for_a_measurement(options: RunOptions) -> None:
    run([plan()], options, print)
    said: list[str] = []
    record = run([plan()], replace(options, size="full"), said.append)
    assert any(line.startswith("fake: fake") for line in said)  # it ran again
    assert record.machine["run"] == "measurement on cpu"
    kept = options.out.glob("gpu-proof-*.json")
    assert [read(path).machine["run"] for path in kept] == ["rehearsal on cpu"]


def test_step_that_was_never_tried_comes_before_one_to_repeat(options: RunOptions) -> None:
    run([plan("crashes", "first")], options, print)
    said: list[str] = []
    run([plan("crashes", "first"), plan(name="second")], options, said.append)
    started = [line.split(":")[0] for line in said if "up to" in line]
    assert started == ["second", "first"]


def test_interrupted_run_keeps_what_the_step_measured_and_ends_it(
    options: RunOptions,
) -> None:
    def interrupt(*_: object) -> None:
        raise SystemExit(130)

    def signal_when_it_hangs() -> None:
        while not (options.scratch / "child").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    thread = threading.Thread(target=signal_when_it_hangs)
    thread.start()
    try:
        with pytest.raises(runner.Interrupted):
            run([plan("hangs")], options, print)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    (step,) = read(options.out / RECORD).steps
    assert len(step.measurements) == 1
    child = int((options.scratch / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_record_of_another_machine_is_kept_and_not_continued(options: RunOptions) -> None:
    options.out.mkdir(parents=True)
    other = Record("gpu-proof", "0.1.0", "2026-01-01", {"card": "other"}, (Step("x", "measured"),))
    write(options.out / RECORD, other)
    assert [step.name for step in run([plan()], options, print).steps] == ["fake"]


def test_record_and_page_are_on_disk_after_the_run(options: RunOptions) -> None:
    record = run([plan()], options, print)
    assert read(options.out / RECORD) == record
    assert "fake" in (options.out / runner.PAGE).read_text()


def test_file_that_is_not_a_record_is_refused(options: RunOptions) -> None:
    options.out.mkdir(parents=True)
    (options.out / RECORD).write_text("[]")
    with pytest.raises(ValueError, match=r"gpu-proof\.json"):
        run([plan()], options, print)


def test_line_that_was_cut_off_is_left_out() -> None:
    lines = ['{"note": "whole"}', '{"note": "cut o']
    step = interpret("x", lines, None, 9.0, "")
    assert step.notes == ("whole",)
    assert step.state == "failed"  # nothing was measured
