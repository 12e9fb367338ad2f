"""Writes the results of one step of the GPU proof as JSON lines.

Each step runs in a process of its own. Every line is on disk as soon as it is known: a step that
crashes or runs out of time keeps what it measured. runner.py reads the lines.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from appliance.gpu_proof.record import Condition, Measurement, summarise

LineKind = Literal["measurement", "note", "problem", "data"]


@dataclass(frozen=True, slots=True)
class StepOptions:
    """Command-line options that every step accepts.

    device     cuda or cpu
    size       full: the real model. tiny: a rehearsal of the same code on a CPU
    seconds    time budget of the step
    weights    the folder of model files
    scratch    folder for large files, deleted after the proof
    """

    device: str
    size: str
    seconds: float
    weights: Path
    scratch: Path
    results: Path

    @property
    def is_rehearsal(self) -> bool:
        return self.size == "tiny"


def parse(program: str, description: str | None, argv: Sequence[str]) -> StepOptions:
    """The options of a step; prints help or an error and exits like argparse."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--seconds", type=float, default=240.0, help="time for the step")
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--scratch", type=Path, required=True, help="a folder for large files")
    parser.add_argument("--results", type=Path, required=True, help="file to append results to")
    return StepOptions(**vars(parser.parse_args(argv)))


class Results:
    """Writes the results of one step."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._ends_at = time.monotonic() + seconds

    def seconds_left(self) -> float:
        """How much of the step's time is left; negative when it has run out."""
        return self._ends_at - time.monotonic()

    def measure(
        self, name: str, values: Sequence[float], unit: str, **conditions: Condition
    ) -> Measurement:
        """Record a quantity and print it. Raises ValueError like record.summarise."""
        result = summarise(name, values, unit, conditions)
        self._write("measurement", asdict(result))
        spread = f", p95 {result.p95:.4g}, n={result.n}" if result.n > 1 else ""
        print(f"{result.title}: {result.median:.4g} {unit}{spread}", flush=True)
        return result

    def note(self, text: str) -> None:
        """Record and print a note for the reader of the report."""
        self._write("note", text)
        print(text, flush=True)

    def data(self, name: str, value: Any) -> None:
        """Record a JSON value."""
        self._write("data", {name: value})

    def problem(self, what: str, why: str) -> None:
        """Record that a part was not measured, and why."""
        self._write("problem", f"{what}: {why}")
        print(f"{what}: {why}", flush=True)

    def not_applicable(self, what: str, why: str) -> None:
        """Record that a part does not apply to this machine; the step still counts as measured."""
        self.note(f"{what}: not measured, {why}")

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Run a part of the step; record a failure, so that the next part still runs."""
        try:
            yield
        except Exception as error:  # for example out of memory, or no kernel for this card
            first_line = str(error).strip().splitlines()[:1]
            self.problem(what, f"{type(error).__name__}: {''.join(first_line)[:300]}")

    def require_time(self, what: str, min_seconds: float) -> bool:
        """Return whether `min_seconds` are left; if not, record that the part was not measured."""
        left = self.seconds_left()
        if left >= min_seconds:
            return True
        self.problem(what, f"needs {min_seconds:.0f} s; {max(0.0, left):.0f} s were left")
        return False

    def _write(self, kind: LineKind, value: Any) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({kind: value}, ensure_ascii=False) + "\n")
