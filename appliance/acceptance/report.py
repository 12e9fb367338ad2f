"""What a check found, and the report of all of them. Pure."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import psutil

from appliance import settings
from appliance.errors import BadSetting
from appliance.gpu import nvml
from appliance.gpu.cards import GIB, GpuCard, bytes_per_second
from appliance.settings import Settings
from appliance.weights import seal

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


# What decides how it hears, thinks, speaks and lets in.
MATTER = (
    "gateway.max_sessions",
    "turn.vad_start_seconds",
    "turn.vad_stop_seconds",
    "turn.incomplete_stop_seconds",
    "turn.half_duplex",
    "llm.engine",
    "llm.model",
    "llm.context_tokens",
    "llm.history_tokens",
    "llm.reply_tokens",
    "llm.temperature",
    "llm.dtype",
    "llm.kv_dtype",
    "tts.backend",
    "tts.voice",
    "tts.speed",
    "tts.device",
    "journal.transcripts",
)


def about(given: settings.Settings, told: dict[str, str]) -> dict[str, Any]:
    """`told` is what only the host knows: image, container, its name; empty for what it did not."""
    cards = nvml.list_cards()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": settings.VERSION,
        "profile": given.profile,
        "image_id": told.get("image_id") or "",
        "container": told.get("container") or "",
        "lock_sha256": seal.sha256_of(given.paths.lock) if given.paths.lock.is_file() else "",
        "host": told.get("host") or platform.node(),
        "kernel": platform.release(),
        "processor": processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "cards": [card(one) for one in cards.cards],
        "no_card_because": cards.problem,
        "settings": chosen(given),
        "changed_settings": changed(given),
    }


def card(of: GpuCard) -> dict[str, Any]:
    """A graphics card, for the report."""
    return {
        "name": of.name,
        "driver": of.driver,
        "uuid": of.uuid,
        "memory_gib": round(of.memory_bytes / GIB, 1),
        "capability": ".".join(map(str, of.capability)),
    }


def chosen(given: settings.Settings) -> dict[str, str]:
    """The settings of MATTER."""
    values = {f"{section}.{name}": value for section, name, value in settings.walk(given)}
    return {name: str(values[name]) for name in MATTER}


def changed(given: settings.Settings) -> list[str]:
    """The names of settings that are not the profile's own; a value may be nobody's business."""
    own = settings.load({f"{settings.PREFIX}PROFILE": given.profile})
    before = {(section, name): value for section, name, value in settings.walk(own)}
    return [
        f"{section}.{name}"
        for section, name, value in settings.walk(given)
        if value != before[section, name]
    ]


def processor(cpuinfo: str) -> str:
    """The first processor's name (proc(5), cpuinfo), or the machine's kind."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    named = (value.strip() for name, _, value in lines if name.strip() == "model name")
    return next(named, platform.machine())


COLUMNS = 80
SHOWN = {"pass": "pass", "fail": "FAIL", "skipped": "skip"}
INDENT = " " * 20


def lines(result: Result) -> str:
    """What was found; of what failed also what was wanted and what to do."""
    text = [_wrapped(f"{SHOWN[result.state]:5} {result.check:13} ", result.found)]
    if result.state == "fail":
        text.append(_wrapped(f"{INDENT}wanted: ", result.wanted))
    if result.advice:
        text.append(_wrapped(f"{INDENT}to do:  ", result.advice))
    return "\n".join(text)


def verdict(report: Report, took_seconds: float) -> str:
    """The last line."""
    counts = f"{report.count('pass')} passed, {report.count('fail')} failed"
    counts += f", {report.count('skipped')} skipped, in {took_seconds:.0f} s"
    return f"{'ACCEPTED' if report.passed else 'NOT ACCEPTED'}: {counts}"


def _wrapped(head: str, text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in text)
    after = INDENT if len(head) <= len(INDENT) else " " * len(head)
    return textwrap.fill(plain, COLUMNS, initial_indent=head, subsequent_indent=after)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that `share` (0..1) of all values do not exceed.

    Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def seconds(value: float) -> str:
    """For people: milliseconds below a second."""
    return f"{value * 1000:.0f} ms" if abs(value) < 1 else f"{value:.2f} s"


def ticks(longest: float, wanted: int = 5) -> list[float]:
    """Round steps of an axis from 0 to at least `longest`: 1, 2 or 5 times a power of ten."""
    rough = max(longest, 1e-3) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * 0.999)
    return [round(number * step, 6) for number in range(math.ceil(longest / step - 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, but for `agreement`: the part of a reply's words that has to be recognised in its
    sound, over all turns. Recognizer and voice each get some words wrong; garbled or foreign
    speech agrees in less than a third."""

    voice_to_voice_p50: float
    voice_to_voice_p95: float
    interruption_p95: float
    recovery: float
    agreement: float = 0.7


@dataclass(frozen=True, slots=True)
class Class:
    """Cards that read at least so many gigabytes a second."""

    name: str
    gigabytes_per_second: float
    voice_to_voice_p50: float


CPU_P50, CPU_P95 = 3.5, 7.0
CLASSES = (
    Class("A100 and larger", 1500, 1.1),
    Class("A10 and alike", 550, 1.3),
    Class("L4, and cards not known", 0, 1.5),
)
# From the first sample of an interruption: VAD needs `vad_start_seconds` of speech; then one frame
# on the way up, one down, and what the machine makes of it. Measured on two cores: 0.1 s.
STOP_SECONDS, CPU_STOP_SECONDS = 0.2, 0.4
START_SLACK_SECONDS = 60.0  # beyond the time in which supervisord expects a process to be up


def limits(given: Settings, cards: Sequence[GpuCard]) -> tuple[str, Limits]:
    """The class of machine and its limits."""
    turn = given.turn
    recovery = given.supervision.start_seconds + START_SLACK_SECONDS
    if given.profile == "cpu" or not cards:
        stop = turn.vad_start_seconds + CPU_STOP_SECONDS
        return "no card", Limits(CPU_P50, CPU_P95, stop, recovery)
    rate = bytes_per_second(cards[0]) / 1e9
    found = next(one for one in CLASSES if rate >= one.gigabytes_per_second)
    held = max(0.0, turn.incomplete_stop_seconds - turn.vad_stop_seconds)
    p50 = found.voice_to_voice_p50
    stop = turn.vad_start_seconds + STOP_SECONDS
    return found.name, Limits(p50, p50 + held, stop, recovery)


def adjusted(limits: Limits, wanted: Mapping[str, float]) -> Limits:
    """The limits with some of them replaced by name. Raises BadSetting for one there is not."""
    known = {field.name for field in dataclasses.fields(limits)}
    for name in wanted:
        if name not in known:
            raise BadSetting(name=f"--limit {name}", why=f"there are {', '.join(sorted(known))}")
    return dataclasses.replace(limits, **wanted)
