"""Results of checks, and the report of all checks as JSON and as text for a terminal. No I/O."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA = 1
TERMINAL_COLUMNS = 80
State = Literal["pass", "fail", "skipped"]
_LABELS = {"pass": "pass", "fail": "FAIL", "skipped": "skip"}
_INDENT = " " * 20


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the report.

    check    name of the check, or of a part of it; several results may share a name
    found    the actual outcome, in words
    wanted   the expected outcome, in words
    advice   what to do about a failure
    """

    check: str
    state: State
    found: str
    wanted: str = ""
    advice: str = ""


def judge(check: str, passed: bool, found: str, wanted: str, advice: str) -> CheckResult:
    """Return a passed result, or a failed one with advice."""
    return CheckResult(check, "pass" if passed else "fail", found, wanted, "" if passed else advice)


def skip(check: str, reason: str) -> CheckResult:
    """Return the result of a check that did not run."""
    return CheckResult(check, "skipped", reason)


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """One question and its answer.

    said        text of the question
    voice       who said it: a voice of espeak-ng, or the name of a recording
    understood  transcript of the question, as the gateway reports it
    reply       text of the answer
    sounded     transcript of the answer's audio
    outcome     outcome of the turn (client.record)
    latency     voice-to-voice latency in seconds; None if no answer was heard
    stages      seconds by stage of the latency, as the gateway measured them
    """

    said: str
    understood: str = ""
    reply: str = ""
    sounded: str = ""
    outcome: str = ""
    latency: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    voice: str = ""


@dataclass(frozen=True, slots=True)
class AcceptanceReport:
    """The report of one test run.

    about                   what was tested, and where (about.py)
    limits                  the limits that were applied, by name
    barge_in_stop_seconds   for each interruption, seconds until silence at the caller; `stops` in
                            JSON
    """

    about: Mapping[str, Any]
    limits: Mapping[str, float]
    results: Sequence[CheckResult]
    turns: Sequence[SpokenTurn] = ()
    barge_in_stop_seconds: Sequence[float] = ()

    @property
    def passed(self) -> bool:
        return not self.count("fail")

    def count(self, state: State) -> int:
        """Return the number of results with a state."""
        return sum(result.state == state for result in self.results)

    @property
    def counts(self) -> str:
        """A summary such as `12 passed, 1 failed, 2 skipped`."""
        passed, failed, skipped = (self.count(state) for state in ("pass", "fail", "skipped"))
        return f"{passed} passed, {failed} failed, {skipped} skipped"


def to_tree(report: AcceptanceReport) -> dict[str, Any]:
    """Convert the report to JSON values, with durations rounded to milliseconds."""
    return {
        "schema": SCHEMA,
        "passed": report.passed,
        "about": dict(report.about),
        "limits": dict(report.limits),
        "checks": [asdict(result) for result in report.results],
        "turns": [_round_durations(asdict(turn)) for turn in report.turns],
        "stops": [round(seconds, 3) for seconds in report.barge_in_stop_seconds],
    }


def from_tree(tree: Mapping[str, Any]) -> AcceptanceReport:
    """Convert JSON values to a report. Raises ValueError, KeyError or TypeError."""
    if tree["schema"] != SCHEMA:
        raise ValueError(f"the report has schema {tree['schema']!r}; this version reads {SCHEMA}")
    return AcceptanceReport(
        about=tree["about"],
        limits=tree["limits"],
        results=[CheckResult(**entry) for entry in tree["checks"]],
        turns=[SpokenTurn(**entry) for entry in tree["turns"]],
        barge_in_stop_seconds=tree["stops"],
    )


def _round_durations(turn: dict[str, Any]) -> dict[str, Any]:
    latency = turn["latency"]
    return {
        **turn,
        "latency": None if latency is None else round(latency, 3),
        "stages": {name: round(seconds, 3) for name, seconds in turn["stages"].items()},
    }


def format_result(result: CheckResult) -> str:
    """Format a result for a terminal. A failure also shows the expected outcome and the advice."""
    lines = [_wrap(f"{_LABELS[result.state]:5} {result.check:13} ", result.found)]
    if result.state == "fail":
        lines.append(_wrap(f"{_INDENT}wanted: ", result.wanted))
    if result.advice:
        lines.append(_wrap(f"{_INDENT}to do:  ", result.advice))
    return "\n".join(lines)


def format_verdict(report: AcceptanceReport, elapsed_seconds: float) -> str:
    """Format the last line of the output."""
    verdict = "ACCEPTED" if report.passed else "NOT ACCEPTED"
    return f"{verdict}: {report.counts}, in {elapsed_seconds:.0f} s"


def _wrap(head: str, text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    indent = _INDENT if len(head) <= len(_INDENT) else " " * len(head)
    return textwrap.fill(printable, TERMINAL_COLUMNS, initial_indent=head, subsequent_indent=indent)


def format_seconds(seconds: float) -> str:
    """Format a duration, in milliseconds if it is shorter than a second."""
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:.2f} s"
