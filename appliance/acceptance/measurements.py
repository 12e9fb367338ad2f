"""The latencies of an acceptance test as a record that `ops/gpu-proof --compare` reads. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from appliance.acceptance.report import AcceptanceReport
from appliance.gpu_proof.record import Measurement, Record, Step, StepState, summarise


def to_record(report: AcceptanceReport) -> Record:
    """Return the record; its step `conversation` has the same quantities as that of the proof."""
    latencies = [1000 * turn.latency for turn in report.turns if turn.latency is not None]
    stages: dict[str, list[float]] = defaultdict(list)
    voices: dict[str, list[float]] = defaultdict(list)
    for turn in report.turns:
        if turn.voice and turn.latency is not None:
            voices[turn.voice].append(1000 * turn.latency)
        for name, seconds in turn.stages.items():
            stages[name].append(1000 * seconds)
    measurements: list[Measurement] = []
    if latencies:
        measurements.append(summarise("voice to voice", latencies, "ms"))
        measurements += [
            summarise("voice to voice", values, "ms", {"voice": voice})
            for voice, values in voices.items()
        ]
    measurements += [
        summarise("stage", values, "ms", {"stage": name}) for name, values in stages.items()
    ]
    if report.barge_in_stop_seconds:
        stops = [1000 * stop for stop in report.barge_in_stop_seconds]
        measurements.append(summarise("interruption until silence", stops, "ms"))
    unanswered = len(report.turns) - len(latencies)
    why = f"{unanswered} questions were not answered aloud" if unanswered else ""
    state: StepState = "measured"
    if not measurements:
        state, why = "unavailable", "the checks of the conversation were not run"
    elif unanswered:
        state = "partly"
    step = Step("conversation", state, why, measurements=tuple(measurements))
    about = report.about
    return Record("smoke-test", str(about["version"]), str(about["time"]), _machine(about), (step,))


def _machine(about: Mapping[str, Any]) -> dict[str, str]:
    cards = [f"{card['name']} ({card['memory_gib']} GiB)" for card in about["cards"]]
    drivers = [card["driver"] for card in about["cards"]]
    return {
        "card": ", ".join(cards) or f"none: {about['no_card_because']}",
        "driver": next(iter(drivers), ""),
        "processor": str(about["processor"]),
        "cores": str(about["cores"]),
        "model": about["settings"]["llm.model"],
    }
