"""Check that two scrapes of the metrics agree with what the test caller did. No I/O."""

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
# Outcome of an utterance below the minimum length: counted, but not as a caller turn.
TOO_SHORT = "too_short"
SUM_TOLERANCE = 0.001  # relative; small, because stages and latency use the same timestamps
BUG_ADVICE = (
    "This is a bug, or components of different versions are mixed."
    " Create a support bundle (voicectl bundle)."
)
MISSING_ADVICE = "Run voicectl status to see which process is missing."


class Scrape:
    """The samples of one metrics page. Raises ValueError for text that Prometheus would refuse."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (sample.name, dict(sample.labels), float(sample.value))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        self.names = {name for name, _, _ in self._samples}

    def sum(self, name: str, exclude_values: Iterable[str] = (), **labels: str) -> float:
        """Return the sum of the samples with these labels.

        Samples with a label value in `exclude_values` are left out.
        """
        return sum(
            value
            for sample_name, sample_labels, value in self._samples
            if sample_name == name
            and labels.items() <= sample_labels.items()
            and not set(exclude_values) & set(sample_labels.values())
        )

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Map each value of `label` to its sample's value."""
        return {
            sample_labels[label]: value
            for sample_name, sample_labels, value in self._samples
            if sample_name == name
        }


@dataclass(frozen=True, slots=True)
class Activity:
    """What the test caller did, for comparison with the appliance's counters.

    turns           turns for which the appliance sent a turn report
    unreported      turns without an answer and without a turn report
    answers         answers with audible speech
    interruptions   answers that the test caller interrupted
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
            "all series present",
            MISSING_ADVICE,
        ),
        judge(
            CHECK,
            bool(up) and not down,
            f"down: {', '.join(down)}" if down else f"{len(up)} processes up",
            "every process up",
            MISSING_ADVICE,
        ),
    ]


def check_counters(before: Scrape, after: Scrape, activity: Activity) -> list[CheckResult]:
    """Check that the counters increased by what the test caller did.

    With other callers at the same time, a larger increase passes, too.
    """

    def increase(name: str, exclude_values: Iterable[str] = (), **labels: str) -> float:
        return after.sum(name, exclude_values, **labels) - before.sum(
            name, exclude_values, **labels
        )

    calls, turns = increase("voice_sessions_total"), increase("voice_turns_total", (TOO_SHORT,))
    alone = calls <= activity.calls and not before.sum("voice_sessions_active")
    most_turns = activity.turns + activity.unreported
    turns_agree = turns >= activity.turns and (turns <= most_turns or not alone)
    answers = increase(f"{LATENCY}_count")
    latency = increase(f"{LATENCY}_sum")
    stages = sum(increase("voice_stage_latency_seconds_sum", stage=stage) for stage in STAGES)
    interruptions = increase("voice_barge_in_stop_seconds_count")
    others = "" if alone else "; there were other callers"
    return [
        judge(
            CHECK,
            turns_agree,
            f"{turns:.0f} turns counted; the test had {activity.turns} turns"
            f" in {activity.calls} calls{others}",
            "equal to the turns of the test",
            BUG_ADVICE,
        ),
        judge(
            CHECK,
            answers >= activity.answers,
            f"{answers:.0f} answers in {LATENCY}; the test caller heard {activity.answers}",
            "at least the answers that the test caller heard",
            BUG_ADVICE,
        ),
        judge(
            CHECK,
            abs(latency - stages) <= SUM_TOLERANCE * max(1.0, latency),
            f"{latency:.2f} s of latency; its stages add up to {stages:.2f} s",
            "stages that add up to the latency",
            BUG_ADVICE,
        ),
        judge(
            CHECK,
            interruptions >= activity.interruptions,
            f"{interruptions:.0f} interruptions counted; the test had {activity.interruptions}",
            "at least the interruptions of the test",
            BUG_ADVICE,
        ),
    ]
