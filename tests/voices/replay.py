"""Replays of turn taking in simulated time: no wall clock, no engine.

`observe` runs the appliance's VAD and smart-turn over a clip once. `replay` then runs a policy over
the observation, with the appliance's `Endpointer`, as often as there are policies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from appliance.gateway.endpointing import Endpointer, Pause, Policy, Verdict
from appliance.gateway.turn_taking import TurnModels
from appliance.gateway.voice_activity import SpeechEvent, SpeechEvents
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import TurnConfig
from tests.voices.clips import Clip, silence

LEAD_SECONDS = 0.6  # silence before the clip
TAIL_SECONDS = 2.2  # silence after the clip: longer than every policy waits
FRAME_SECONDS = 0.04  # of the microphone
LOOK_SECONDS = 0.1  # until smart-turn has answered; docs/performance.md
NOISE = 1e-4  # of full scale, so that silence is not digital silence


@dataclass(frozen=True)
class Frame:
    """What happened in one frame of the microphone.

    silence_seconds  of the VAD
    probability      smart-turn's, with all audio up to here; None if there was no event
    """

    events: tuple[SpeechEvent, ...]
    silence_seconds: float
    probability: float | None


@dataclass(frozen=True)
class Observation:
    """A clip as the models heard it. `end_seconds` is the true end of the speech."""

    name: str
    kind: str
    part: str
    end_seconds: float
    frames: tuple[Frame, ...]


def pcm_of(samples: np.ndarray) -> bytes:
    """Return float samples as int16 PCM, with some noise below the speech."""
    noise = np.random.default_rng(1).normal(0, NOISE, len(samples))
    return bytes((np.clip(samples + noise, -1, 1) * 32767).astype("<i2").tobytes())


def observe(clip: Clip, models: TurnModels, config: TurnConfig) -> Observation:
    """Run the models over a clip."""
    audio = np.concatenate([silence(LEAD_SECONDS), clip.samples, silence(TAIL_SECONDS)])
    pcm, size = pcm_of(audio), round(FRAME_SECONDS * INPUT_SAMPLE_RATE) * 2
    detector, events = models.vad_analyzer(), SpeechEvents(config.pause_seconds)
    detector.set_sample_rate(INPUT_SAMPLE_RATE)
    frames = []
    for start in range(0, len(pcm) - size + 1, size):
        state = asyncio.run(detector.analyze_audio(pcm[start : start + size]))
        found = tuple(events.update(state, detector.silence_seconds))
        look = {SpeechEvent.PAUSED, SpeechEvent.STOPPED} & set(found)
        probability = models.judge(pcm[: start + size]) if look else None
        frames.append(Frame(found, detector.silence_seconds, probability))
    seconds = LEAD_SECONDS + len(clip.samples) / INPUT_SAMPLE_RATE
    return Observation(clip.name, clip.kind, clip.part, seconds, tuple(frames))


@dataclass(frozen=True)
class Outcome:
    """How a policy ended the turns of one clip.

    pauses         pauses within the clip that were long enough to be reported
    cuts           of these, how many ended the turn
    delay_seconds  from the true end to the end of the last turn; None if it never ended
    """

    pauses: int
    cuts: int
    delay_seconds: float | None


class FixedPolicy:
    """Waits only for smart-turn: above `threshold` at once, else `hold_seconds` of silence."""

    def __init__(self, config: TurnConfig, threshold: float, hold_seconds: float) -> None:
        self._config = config
        self._threshold = threshold
        self._hold_seconds = hold_seconds

    def keeps(self, probability: float) -> bool:
        """Return False: Pipecat's strategy has no early look."""
        return False

    def verdict(self, pause: Pause) -> Verdict:
        """Return the silence that ends the turn if nothing more is heard."""
        if pause.probability is not None and pause.probability > self._threshold:
            return Verdict(self._config.vad_stop_seconds, "smart_turn")
        return Verdict(self._hold_seconds, "fallback")


def replay(observation: Observation, policy: Policy, config: TurnConfig) -> Outcome:
    """Run a policy over an observation."""
    endpointer = Endpointer(policy, config.stop_timeout_seconds)
    pending: list[tuple[float, int, float]] = []  # due, pause, probability
    pauses = cuts = 0
    delay: float | None = None
    latest = 0.0  # probability that smart-turn would give now
    for frame in observation.frames:
        endpointer.audio_received(FRAME_SECONDS)
        for event in frame.events:
            tell(endpointer, event, frame.silence_seconds, config)
            inside = endpointer.clock - config.vad_stop_seconds < observation.end_seconds - 0.15
            pauses += event is SpeechEvent.PAUSED and inside
        for due, pause, probability in pending:
            if due <= endpointer.clock:
                endpointer.judged(pause, probability)
        pending = [look for look in pending if look[0] > endpointer.clock]
        latest = latest if frame.probability is None else frame.probability
        look = endpointer.wanted_look()
        if look is not None:
            pending.append((endpointer.clock + LOOK_SECONDS, look, latest))
        if endpointer.ended():
            endpointer.reset()
            if endpointer.clock < observation.end_seconds:
                cuts += 1
            else:
                delay = endpointer.clock - observation.end_seconds
    return Outcome(pauses, cuts, delay)


def tell(
    endpointer: Endpointer, event: SpeechEvent, silence_seconds: float, config: TurnConfig
) -> None:
    """Report an event of the VAD."""
    match event:
        case SpeechEvent.VOICE_BEGAN:
            endpointer.voice_began()
        case SpeechEvent.VOICE_FADED:
            endpointer.voice_faded()
        case SpeechEvent.STARTED:
            endpointer.speech_started(config.vad_start_seconds)
        case SpeechEvent.PAUSED:
            endpointer.speech_paused(silence_seconds or config.vad_stop_seconds)
        case SpeechEvent.RESUMED:
            endpointer.speech_resumed()
        case SpeechEvent.STOPPED:
            endpointer.speech_stopped()


def percent(part: float, whole: float) -> float:
    """Return a share in percent; 0 of nothing."""
    return 100 * part / whole if whole else 0.0


def quantile(values: Iterable[float], share: float) -> float:
    """Return a quantile; NaN of nothing."""
    found = list(values)
    return float(np.quantile(found, share)) if found else float("nan")
