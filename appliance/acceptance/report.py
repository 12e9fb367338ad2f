"""What a check found, and the report of all of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA = 1
State = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report.

    check    id of the check, as --skip takes it; several lines may have the same
    found    what there is, in words; wanted: what should be
    advice   what to do about it; empty unless it failed
    """

    check: str
    state: State
    found: str
    wanted: str = ""
    advice: str = ""


def judged(check: str, good: bool, found: str, wanted: str, advice: str) -> Result:
    """A result that passed, or one that failed with its advice."""
    return Result(check, "pass" if good else "fail", found, wanted, "" if good else advice)


def skipped(check: str, why: str) -> Result:
    """A result of a check that was not made."""
    return Result(check, "skipped", why)


@dataclass(frozen=True, slots=True)
class Sample:
    """One turn that was spoken. Seconds; `latency` is voice to voice, None if nothing was heard.

    said     our question; understood: the words the gateway says it heard
    reply    the words of the answer; sounded: what the recognizer hears in its sound
    """

    said: str
    understood: str = ""
    reply: str = ""
    sounded: str = ""
    outcome: str = ""
    latency: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """All of it: `about` says what was tested where, `limits` what it was held against."""

    about: Mapping[str, Any]
    limits: Mapping[str, float]
    results: Sequence[Result]
    turns: Sequence[Sample] = ()
    stops: Sequence[float] = ()
    """Seconds from an interruption until silence at the caller, one for each."""

    @property
    def passed(self) -> bool:
        return not any(result.state == "fail" for result in self.results)

    def count(self, state: State) -> int:
        """How many results are in this state."""
        return sum(result.state == state for result in self.results)


def to_tree(report: Report) -> dict[str, Any]:
    """The report as JSON values; durations to the millisecond."""
    return {
        "schema": SCHEMA,
        "passed": report.passed,
        "about": dict(report.about),
        "limits": dict(report.limits),
        "checks": [asdict(result) for result in report.results],
        "turns": [_rounded(asdict(turn)) for turn in report.turns],
        "stops": [round(seconds, 3) for seconds in report.stops],
    }


def from_tree(tree: Mapping[str, Any]) -> Report:
    """Such JSON values as a report. Raises ValueError, KeyError or TypeError."""
    if tree["schema"] != SCHEMA:
        raise ValueError(f"a report of schema {tree['schema']!r}, and this version reads {SCHEMA}")
    return Report(
        about=tree["about"],
        limits=tree["limits"],
        results=[Result(**entry) for entry in tree["checks"]],
        turns=[Sample(**entry) for entry in tree["turns"]],
        stops=tree["stops"],
    )


def _rounded(turn: dict[str, Any]) -> dict[str, Any]:
    latency = turn["latency"]
    stages = {name: round(seconds, 3) for name, seconds in turn["stages"].items()}
    return {
        **turn,
        "latency": None if latency is None else round(latency, 3),
        "stages": stages,
    }
