"""The limits of the acceptance test, derived from the settings and the GPUs. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.gpu.cards import GpuCard, bytes_per_second
from appliance.settings import Settings


@dataclass(frozen=True, slots=True)
class AcceptanceLimits:
    """Upper limits in seconds, and one lower limit: `agreement`.

    agreement   least share (0..1) of the replies' words that are recognised in their audio. Voice
                and recognizer each get some words wrong. Garbled speech reaches less than a third
    """

    voice_to_voice_p50: float
    voice_to_voice_p95: float
    interruption_p95: float
    recovery: float
    agreement: float = 0.7


@dataclass(frozen=True, slots=True)
class GpuClass:
    """GPUs with at least this memory bandwidth, and their median latency limit in seconds."""

    name: str
    gigabytes_per_second: float
    voice_to_voice_p50: float


# The targets of docs/performance.md. The second is also the bound of the objective for answers
# (docs/slo.md), so an appliance that passes can meet it. One caller on two quiet cores takes 0.81
# and 0.87 s, and other work on the cores made that 1.8 times as long. The rest is for slower cores
# and for questions that smart-turn takes for incomplete (1.5 s).
CPU_P50_SECONDS, CPU_P95_SECONDS = 2.5, 4.0
CLASSES = (
    GpuClass("A100 and larger", 1500, 1.1),
    GpuClass("A10 and similar", 550, 1.3),
    GpuClass("L4 and unknown GPUs", 0, 1.5),
)
# The VAD needs `vad_interrupt_seconds` of speech to detect an interruption. These seconds are added
# for one audio frame to the gateway, one back, and processing (measured: 0.1 s on two cores).
STOP_SECONDS, CPU_STOP_SECONDS = 0.2, 0.4
START_SLACK_SECONDS = 60.0  # added to the time that supervisord gives a process to start


def limits_for(settings: Settings, cards: Sequence[GpuCard]) -> tuple[str, AcceptanceLimits]:
    """Return the name of the machine's GPU class, and the limits for it."""
    turn = settings.turn
    recovery = settings.supervision.start_seconds + START_SLACK_SECONDS
    if settings.profile == "cpu" or not cards:
        stop = turn.vad_interrupt_seconds + CPU_STOP_SECONDS
        return "no GPU", AcceptanceLimits(CPU_P50_SECONDS, CPU_P95_SECONDS, stop, recovery)
    bandwidth = bytes_per_second(cards[0]) / 1e9
    gpu_class = next(each for each in CLASSES if bandwidth >= each.gigabytes_per_second)
    # The gateway waits longer before it ends a turn that smart-turn judged incomplete.
    extra_wait = max(0.0, turn.incomplete_stop_seconds - turn.vad_stop_seconds)
    p50 = gpu_class.voice_to_voice_p50
    stop = turn.vad_interrupt_seconds + STOP_SECONDS
    return gpu_class.name, AcceptanceLimits(p50, p50 + extra_wait, stop, recovery)
