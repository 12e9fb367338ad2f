"""Do the metrics tell what happened? Two scrapes, and what we did between them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from appliance.acceptance.report import Result, judged
from appliance.journal_fields import STAGES

CHECK = "metrics"
FAMILIES = (
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
HEADLINE = "voice_turn_response_latency_seconds"
NOT_A_TURN = "too_short"  # a cough: counted, but no turn of the caller
SUM_TOLERANCE = 0.001  # of the headline; the stages are differences of the same marks
SUPPORT = "Make a support bundle (voicectl bundle): this is a defect, or a part of another version."
LOOK = "See which process is missing: voicectl status."


class Page:
    """One scrape. Raises ValueError for text that Prometheus would refuse."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (sample.name, dict(sample.labels), float(sample.value))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        self.names = {name for name, _, _ in self._samples}

    def sum(self, name: str, without: Iterable[str] = (), **labels: str) -> float:
        """All samples of a name that have these labels and none of the values `without`."""
        return sum(
            value
            for named, has, value in self._samples
            if named == name
            and labels.items() <= has.items()
            and not set(without) & set(has.values())
        )

    def labels(self, name: str, label: str) -> dict[str, float]:
        """Value of each sample of a name, by one label."""
        return {has[label]: value for named, has, value in self._samples if named == name}


@dataclass(frozen=True, slots=True)
class Made:
    """What we did between two scrapes: calls, turns we were told the end of, turns that ended
    untold (nothing was answered), answers heard, interruptions, refusals by reason."""

    calls: int = 0
    turns: int = 0
    untold: int = 0
    answers: int = 0
    interruptions: int = 0


def complete(page: Page) -> list[Result]:
    """Are all families there, and every process up?"""
    absent = [name for name in FAMILIES if name not in page.names]
    up = page.labels("voice_process_up", "process") if "voice_process_up" in page.names else {}
    down = sorted(name for name, value in up.items() if value != 1)
    return [
        judged(
            CHECK,
            not absent,
            f"missing: {', '.join(absent)}" if absent else f"{len(page.names)} series by name",
            "all families",
            LOOK,
        ),
        judged(
            CHECK,
            bool(up) and not down,
            f"down: {', '.join(down)}" if down else f"{len(up)} processes up",
            "every process up",
            LOOK,
        ),
    ]


def counted(before: Page, after: Page, made: Made) -> list[Result]:
    """Did the counters rise by what we did? By more, if somebody else called meanwhile."""

    def rise(name: str, without: Iterable[str] = (), **labels: str) -> float:
        return after.sum(name, without, **labels) - before.sum(name, without, **labels)

    calls, turns = rise("voice_sessions_total"), rise("voice_turns_total", (NOT_A_TURN,))
    alone = calls <= made.calls and not before.sum("voice_sessions_active")
    least, most = made.turns, made.turns + made.untold
    right = turns >= least and (turns <= most or not alone)
    answers = rise(f"{HEADLINE}_count")
    headline = rise(f"{HEADLINE}_sum")
    stages = sum(rise("voice_stage_latency_seconds_sum", stage=stage) for stage in STAGES)
    others = "" if alone else ", others called meanwhile"
    return [
        judged(
            CHECK,
            right,
            f"{turns:.0f} turns counted, {made.turns} made in {made.calls} calls{others}",
            "as many as were made",
            SUPPORT,
        ),
        judged(
            CHECK,
            answers >= made.answers,
            f"{answers:.0f} answers in {HEADLINE}, {made.answers} heard",
            "at least as many as were heard",
            SUPPORT,
        ),
        judged(
            CHECK,
            abs(headline - stages) <= SUM_TOLERANCE * max(1.0, headline),
            f"{headline:.2f} s of waiting, {stages:.2f} s in its stages",
            "stages that sum to the whole",
            SUPPORT,
        ),
        judged(
            CHECK,
            rise("voice_barge_in_stop_seconds_count") >= made.interruptions,
            f"{rise('voice_barge_in_stop_seconds_count'):.0f} interruptions timed,"
            f" {made.interruptions} made",
            "at least as many as were made",
            SUPPORT,
        ),
    ]
