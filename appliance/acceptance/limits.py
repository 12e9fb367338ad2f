"""How fast the appliance has to be on the card it runs on. Pure.

Voice to voice on a graphics card is the sum of

    0.35 s   end of the turn: VAD's silence, smart-turn; measured on CPUs, where smart-turn runs too
    prompt   600 new tokens and 5 s of speech (hardware/speed.py, from the data sheet)
    phrase   12 tokens at 75 % of the card's bandwidth, for the weights recommended for it
    0.15 s   Kokoro's first phrase; assumed
    0.10 s   gateway, network, and the 80 ms that the client keeps back

L4 with fp8 1.18 s, A10 with w4a16 0.87 s, A10G 0.98 s, A100 with bf16 0.81 s; a test does the sum.
The limit of p50 is a quarter above the largest of its class, rounded up. p95 may be a turn that
smart-turn held incomplete, which waits out the silence that ends it in any case.

On CPUs it is about twice of what two cores of a Xeon needed (README: p50 1.7 s, p95 2.9 s); a
machine that is slower still does not hold a conversation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.errors import BadSetting
from appliance.gpu.cards import Card, bytes_per_second
from appliance.settings import Settings


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


def limits(given: Settings, cards: Sequence[Card]) -> tuple[str, Limits]:
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


def changed(limits: Limits, wanted: Mapping[str, float]) -> Limits:
    """The limits with some of them replaced by name. Raises BadSetting for one there is not."""
    known = {field.name for field in dataclasses.fields(limits)}
    for name in wanted:
        if name not in known:
            raise BadSetting(name=f"--limit {name}", why=f"there are {', '.join(sorted(known))}")
    return dataclasses.replace(limits, **wanted)
