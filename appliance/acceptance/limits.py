"""The limits that an appliance is held to, by its settings and its cards. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.gpu.cards import GpuCard, bytes_per_second
from appliance.settings import Settings


@dataclass(frozen=True, slots=True)
class AcceptanceLimits:
    """Upper limits in seconds, and the lower limit `agreement`.

    agreement   share of the words of all replies that are recognised in their audio. Voice and
                recognizer each get some words wrong; garbled speech agrees in less than a third
    """

    voice_to_voice_p50: float
    voice_to_voice_p95: float
    interruption_p95: float
    recovery: float
    agreement: float = 0.7


@dataclass(frozen=True, slots=True)
class CardClass:
    """Cards with at least this memory bandwidth, and the limit of the median latency in seconds."""

    name: str
    gigabytes_per_second: float
    voice_to_voice_p50: float


CPU_P50_SECONDS, CPU_P95_SECONDS = 3.5, 7.0
CLASSES = (
    CardClass("A100 and larger", 1500, 1.1),
    CardClass("A10 and similar", 550, 1.3),
    CardClass("L4, and unknown cards", 0, 1.5),
)
# After the first sample of an interruption, VAD needs `vad_start_seconds` of speech. These are for
# one frame on the way up, one on the way down, and processing: measured 0.1 s on two cores.
STOP_SECONDS, CPU_STOP_SECONDS = 0.2, 0.4
START_SLACK_SECONDS = 60.0  # on top of the time that supervisord gives a process to start


def limits_for(settings: Settings, cards: Sequence[GpuCard]) -> tuple[str, AcceptanceLimits]:
    """Return the name of the machine's class, and its limits."""
    turn = settings.turn
    recovery = settings.supervision.start_seconds + START_SLACK_SECONDS
    if settings.profile == "cpu" or not cards:
        stop = turn.vad_start_seconds + CPU_STOP_SECONDS
        return "no card", AcceptanceLimits(CPU_P50_SECONDS, CPU_P95_SECONDS, stop, recovery)
    bandwidth = bytes_per_second(cards[0]) / 1e9
    card_class = next(each for each in CLASSES if bandwidth >= each.gigabytes_per_second)
    # smart-turn holds an incomplete turn for longer than a complete one.
    hold = max(0.0, turn.incomplete_stop_seconds - turn.vad_stop_seconds)
    p50 = card_class.voice_to_voice_p50
    stop = turn.vad_start_seconds + STOP_SECONDS
    return card_class.name, AcceptanceLimits(p50, p50 + hold, stop, recovery)
