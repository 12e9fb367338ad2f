"""Runs the steps, each in a process of its own, and keeps the record on disk up to date."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.gpu_proof import page
from appliance.gpu_proof.machine import ROOT, machine_facts, survey, version
from appliance.gpu_proof.record import Measurement, Record, Step, StepState, measurement
from appliance.gpu_proof.record_file import read, write
from appliance.gpu_proof.steps import StepPlan, next_step, not_reached, triage

RECORD = "gpu-proof.json"
PAGE = "gpu-proof.html"
SAME_MACHINE = ("run", "card", "driver")  # facts that have to agree to continue a record
STOP_SECONDS = 10.0  # between SIGTERM and SIGKILL
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run the proof.

    out       folder for the record, the page and the steps' logs
    weights   the folder of model files
    scratch   for large files; left to the caller to delete
    seconds   for all steps together
    device    cuda or cpu
    size      full, or tiny for a rehearsal
    """

    out: Path
    weights: Path
    scratch: Path
    seconds: float
    device: str = "cuda"
    size: str = "full"


def run(steps: Sequence[StepPlan], options: RunOptions, say: Callable[[str], None]) -> Record:
    """Run what can be run in the time, and write record and page after every step.

    Continues the record in `options.out`, if there is one of this machine: steps that were measured
    completely are not repeated. Raises ValueError for a file there that is not a record.
    """
    ends_at = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    options.scratch.mkdir(parents=True, exist_ok=True)
    record = _begin(options, say)
    done = {step.name: step for step in record.steps}
    waiting, impossible = triage(steps, survey(steps, options.weights), done)
    waiting.sort(key=lambda plan: plan.name in done and bool(done[plan.name].measurements))
    for step in impossible:
        record = record.with_step(step)
    _write(options.out, record)
    while waiting:
        left = ends_at - time.monotonic() - STOP_SECONDS
        plan = next_step(waiting, left)
        if plan is None:
            break
        waiting.remove(plan)
        seconds = min(left, plan.max_seconds)
        say(f"{plan.name}: {plan.title} (up to {seconds:.0f} s)")
        try:
            step = run_step(plan, options, seconds)
        except Interrupted as interrupted:
            _write(options.out, record.with_step(interrupted.step))
            raise
        say(
            f"{plan.name}: {step.state} in {step.seconds:.0f} s"
            + (f"; {step.why}" if step.why else "")
        )
        record = record.with_step(step)
        _write(options.out, record)
    for plan in waiting:
        step = not_reached(plan, ends_at - time.monotonic())
        record = record.with_step(step)
    _write(options.out, record)
    return record


def _begin(options: RunOptions, say: Callable[[str], None]) -> Record:
    """The record of an earlier run on this card, or a new one.

    Another card, another driver or a rehearsal is not continued: its file gets another name.
    """
    machine = {"run": describe_run(options), **machine_facts()}
    path = options.out / RECORD
    if path.exists():
        earlier = read(path)
        if all(earlier.machine.get(name) == machine[name] for name in SAME_MACHINE):
            return replace(earlier, machine={**earlier.machine, **machine})
        kept = path.with_name(f"{path.stem}-{earlier.started_at.replace(':', '')}.json")
        path.rename(kept)
        say(f"the record of another machine or kind of run is kept as {kept.name}")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Record("gpu-proof", version(), now, machine)


def describe_run(options: RunOptions) -> str:
    """A rehearsal or a measurement, and on which device."""
    kind = "rehearsal" if options.size == "tiny" else "measurement"
    return f"{kind} on {options.device}"


def _write(out: Path, record: Record) -> None:
    write(out / RECORD, record)
    (out / PAGE).write_text(page.render(record), encoding="utf-8")


def run_step(plan: StepPlan, options: RunOptions, seconds: float) -> Step:
    """Run a step as a child process for at most `seconds`, and read its results."""
    results = options.out / f"{plan.name}.jsonl"
    results.unlink(missing_ok=True)
    log_path = options.out / f"{plan.name}.log"
    command = [
        sys.executable,
        "-m",
        plan.module,
        f"--device={options.device}",
        f"--size={options.size}",
        f"--seconds={max(1.0, seconds - STOP_SECONDS):.0f}",
        f"--weights={options.weights}",
        f"--scratch={options.scratch}",
        f"--results={results}",
        *plan.arguments,
    ]
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    started = time.monotonic()
    interrupted = False
    with log_path.open("wb") as log:
        # A session of its own: the step's own child processes end with it.
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environ, start_new_session=True
        )
        try:
            exit_code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            exit_code = None
        except (KeyboardInterrupt, SystemExit):  # what was measured is kept
            interrupted = True
            exit_code = None
        finally:
            _stop(process)
    took = time.monotonic() - started
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    tail = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    results.unlink(missing_ok=True)
    step = interpret(plan.name, lines, exit_code, took, "".join(tail)[:300])
    if interrupted:
        raise Interrupted(step)
    return step


def interpret(
    name: str, lines: Sequence[str], exit_code: int | None, seconds: float, last_words: str
) -> Step:
    """The result of a step from the lines that it wrote.

    `exit_code` None: it was stopped at its deadline. `last_words`: the last line of its output.
    """
    measurements: list[Measurement] = []
    notes: list[str] = []
    problems: list[str] = []
    data: dict[str, Any] = {}
    for line in lines:
        try:
            [(kind, value)] = json.loads(line).items()
        except ValueError:  # cut off when the step was killed
            continue
        if kind == "measurement":
            measurements.append(measurement(value))
        elif kind == "note":
            notes.append(value)
        elif kind == "problem":
            problems.append(value)
        else:
            data |= value
    if exit_code is None:
        problems.append(f"stopped after {seconds:.0f} s")
    elif exit_code:
        problems.append(f"exit code {exit_code}: {last_words}")
    state: StepState = "measured"
    if problems:
        state = "partly" if measurements or data else "failed"
    return Step(
        name,
        state,
        "; ".join(problems),
        round(seconds, 1),
        tuple(measurements),
        tuple(notes),
        data,
    )


class Interrupted(Exception):
    """The run was ended by a signal; `step` is what the running step had measured."""

    def __init__(self, step: Step) -> None:
        super().__init__("interrupted")
        self.step = step


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the step's process group, and wait until it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        ends_at = time.monotonic() + STOP_SECONDS
        while time.monotonic() < ends_at:
            process.poll()
            with contextlib.suppress(ChildProcessError):  # orphans, where the proof is process 1
                os.waitpid(-process.pid, os.WNOHANG)
            if not _group_exists(process.pid):
                return
            time.sleep(POLL_SECONDS)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
