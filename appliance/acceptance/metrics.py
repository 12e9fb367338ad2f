"""Do the metrics agree with what happened? Compares two scrapes with the test's calls. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from appliance.acceptance.report import CheckResult, judge
from appliance.journal_fields import STAGES

CHECK = "metrics"
REQUIRED_SERIES = (
    "voice_build_info",
    "voice_ready",
    "voice_sessions_active",
    "voice_sessions_total",
    "voice_sessions_rejected_total",
    "voice_turns_total",
    "voice_turn_response_latency_seconds_count",
    "voice_stage_latency_seconds_count",
    "voice_barge_in_stop_seconds_count",
    "voice_llm_requests_total",
    "voice_tts_phrases_total",
    "voice_process_up",
    "voice_process_restarts_total",
    "voice_seal_ok",
)
LATENCY = "voice_turn_response_latency_seconds"
TOO_SHORT = "too_short"  # outcome of a cough: counted, but not a turn of the caller
SUM_TOLERANCE = 0.001  # relative; the stages are differences of the same timestamps
DEFECT = "Make a support bundle (voicectl bundle): a defect, or parts of different versions."
MISSING = "voicectl status shows which process is missing."


class Scrape:
    """One metrics page. Raises ValueError for text that Prometheus would refuse."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (sample.name, dict(sample.labels), float(sample.value))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        self.names = {name for name, _, _ in self._samples}

    def sum(self, name: str, without: Iterable[str] = (), **labels: str) -> float:
        """Return the sum of all samples with these labels and none of the values `without`."""
        return sum(
            value
            for sample_name, sample_labels, value in self._samples
            if sample_name == name
            and labels.items() <= sample_labels.items()
            and not set(without) & set(sample_labels.values())
        )

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Return the value of each sample by the value of a label."""
        return {
            sample_labels[label]: value
            for sample_name, sample_labels, value in self._samples
            if sample_name == name
        }


@dataclass(frozen=True, slots=True)
class Activity:
    """What the test caller did, for comparison with the appliance's counters.

    turns       turns whose end the appliance reported
    unreported  turns that ended without a report: they had no answer
    answers     answers that were heard
    """

    calls: int = 0
    turns: int = 0
    unreported: int = 0
    answers: int = 0
    interruptions: int = 0


def check_complete(scrape: Scrape) -> list[CheckResult]:
    """Check that all series exist and every process is up."""
    absent = [name for name in REQUIRED_SERIES if name not in scrape.names]
    up = scrape.by_label("voice_process_up", "process")
    down = sorted(name for name, value in up.items() if value != 1)
    return [
        judge(
            CHECK,
            not absent,
            f"missing: {', '.join(absent)}" if absent else f"{len(scrape.names)} series",
            "all series",
            MISSING,
        ),
        judge(
            CHECK,
            bool(up) and not down,
            f"down: {', '.join(down)}" if down else f"{len(up)} processes up",
            "every process up",
            MISSING,
        ),
    ]


def check_counters(before: Scrape, after: Scrape, activity: Activity) -> list[CheckResult]:
    """Check that the counters rose by the activity, or by more if there were other callers."""

    def rise(name: str, without: Iterable[str] = (), **labels: str) -> float:
        return after.sum(name, without, **labels) - before.sum(name, without, **labels)

    calls, turns = rise("voice_sessions_total"), rise("voice_turns_total", (TOO_SHORT,))
    alone = calls <= activity.calls and not before.sum("voice_sessions_active")
    most_turns = activity.turns + activity.unreported
    turns_agree = turns >= activity.turns and (turns <= most_turns or not alone)
    answers = rise(f"{LATENCY}_count")
    latency = rise(f"{LATENCY}_sum")
    stages = sum(rise("voice_stage_latency_seconds_sum", stage=stage) for stage in STAGES)
    interruptions = rise("voice_barge_in_stop_seconds_count")
    others = "" if alone else ", others called meanwhile"
    return [
        judge(
            CHECK,
            turns_agree,
            f"{turns:.0f} turns counted, {activity.turns} made in {activity.calls} calls{others}",
            "as many as were made",
            DEFECT,
        ),
        judge(
            CHECK,
            answers >= activity.answers,
            f"{answers:.0f} answers in {LATENCY}, {activity.answers} heard",
            "at least as many as were heard",
            DEFECT,
        ),
        judge(
            CHECK,
            abs(latency - stages) <= SUM_TOLERANCE * max(1.0, latency),
            f"{latency:.2f} s of latency, {stages:.2f} s in its stages",
            "stages that sum to the latency",
            DEFECT,
        ),
        judge(
            CHECK,
            interruptions >= activity.interruptions,
            f"{interruptions:.0f} interruptions timed, {activity.interruptions} made",
            "at least as many as were made",
            DEFECT,
        ),
    ]
