"""Replays of turn taking in simulated time: no wall clock, no engine.

`observe` runs the appliance's VAD over a clip once. `replay` then runs a policy over the
observation, with the appliance's `Endpointer`, as often as there are policies. smart-turn and the
recognizer hear what they would hear in a call: the turn so far, not what was cut off before.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from appliance.gateway.turns.endpointing import Endpointer, Pause, Policy, Verdict
from appliance.gateway.turns.turn_stop import AUDIO_SECONDS, BEFORE_SPEECH_SECONDS
from appliance.gateway.turns.voice_activity import SpeechEvent, SpeechEvents
from appliance.link.engine import INPUT_SAMPLE_RATE
from appliance.settings import LLMConfig, TurnConfig
from tests.voices.clips import Clip, silence
from tests.voices.heard import Answer, Hearing, WordsOfTurn

LEAD_SECONDS = 0.6  # silence before the clip
TAIL_SECONDS = 2.2  # silence after the clip: longer than every policy waits
FRAME_SECONDS = 0.04  # of the microphone
LOOK_SECONDS = 0.1  # until smart-turn has answered; docs/performance.md
WORDS_SECONDS = 0.25  # until the words of a pause have arrived
NOISE = 1e-4  # of full scale, so that silence is not digital silence


@dataclass(frozen=True)
class Frame:
    """What the VAD detected in one frame of the microphone, and the silence that it counts."""

    events: tuple[SpeechEvent, ...]
    silence_seconds: float


@dataclass(frozen=True)
class Observation:
    """A clip as the VAD heard it. `end_seconds` is the true end of the speech.

    pcm  the microphone's audio, with silence around the clip
    """

    name: str
    kind: str
    part: str
    language: str
    end_seconds: float
    frames: tuple[Frame, ...]
    pcm: bytes


def bytes_of(seconds: float) -> int:
    """Return the size of audio of the microphone."""
    return round(seconds * INPUT_SAMPLE_RATE) * 2


def pcm_of(samples: np.ndarray) -> bytes:
    """Return float samples as int16 PCM, with some noise below the speech."""
    noise = np.random.default_rng(1).normal(0, NOISE, len(samples))
    return bytes((np.clip(samples + noise, -1, 1) * 32767).astype("<i2").tobytes())


def observe(clip: Clip, hearing: Hearing, config: TurnConfig) -> Observation:
    """Run the VAD over a clip."""
    audio = np.concatenate([silence(LEAD_SECONDS), clip.samples, silence(TAIL_SECONDS)])
    pcm = pcm_of(audio)
    settings = f"VAD {config.vad_confidence} {config.vad_start_seconds} {config.vad_stop_seconds}"
    settings += f" {config.min_speech_dbfs} {config.pause_seconds} {config.ignore_far_speech}"
    detect = functools.partial(_detect, pcm, hearing, config)
    frames = tuple(
        Frame(tuple(SpeechEvent(event) for event in events), silence_seconds)
        for events, silence_seconds in hearing.answers.get(settings, pcm, detect)
    )
    seconds = LEAD_SECONDS + len(clip.samples) / INPUT_SAMPLE_RATE
    return Observation(clip.name, clip.kind, clip.part, clip.language, seconds, frames, pcm)


def _detect(pcm: bytes, hearing: Hearing, config: TurnConfig) -> Answer:
    detector, events = hearing.models.vad_analyzer(), SpeechEvents(config.pause_seconds)
    detector.set_sample_rate(INPUT_SAMPLE_RATE)
    frames, size = [], bytes_of(FRAME_SECONDS)
    for start in range(0, len(pcm) - size + 1, size):
        state = asyncio.run(detector.analyze_audio(pcm[start : start + size]))
        found = events.update(state, detector.silence_seconds)
        frames.append(([event.value for event in found], detector.silence_seconds))
    return frames


@dataclass(frozen=True)
class Outcome:
    """How a policy ended the turns of one clip.

    pauses         pauses within the clip, as the policy counts them
    cuts           of these, how many ended the turn
    delay_seconds  from the true end to the end of the last turn; None if it never ended
    turns          how many turns began
    open_seconds   length of the longest turn
    """

    pauses: int
    cuts: int
    delay_seconds: float | None
    turns: int
    open_seconds: float


class FixedPolicy:
    """Waits only for smart-turn: above `threshold` at once, else `hold_seconds` of silence."""

    def __init__(self, config: TurnConfig, threshold: float, hold_seconds: float) -> None:
        self._config = config
        self._threshold = threshold
        self._hold_seconds = hold_seconds

    def is_sure(self, probability: float) -> bool:
        """Return False: Pipecat's strategy has no early prediction."""
        return False

    def verdict(self, pause: Pause) -> Verdict:
        """Return the silence that ends the turn if nothing more is heard."""
        if pause.probability is not None and pause.probability > self._threshold:
            return Verdict(self._config.vad_stop_seconds, "smart_turn")
        return Verdict(self._hold_seconds, "fallback")


def replay(
    observation: Observation,
    policy: Policy,
    config: TurnConfig,
    hearing: Hearing,
    words: LLMConfig | None = None,
) -> Outcome:
    """Run a policy over an observation. `words` configures the recognizer; None: no words."""
    endpointer = Endpointer(policy, config.stop_timeout_seconds, words_expected=words is not None)
    heard = None if words is None else WordsOfTurn(hearing, words)
    looks: list[tuple[float, int, float]] = []  # due, pause, probability
    text: tuple[float, str] | None = None  # due, words
    pauses = cuts = turns = 0
    delay: float | None = None
    open_seconds = 0.0
    open_before = paused_before = False
    size = bytes_of(FRAME_SECONDS)
    for number, frame in enumerate(observation.frames):
        stop = (number + 1) * size
        endpointer.audio_received(FRAME_SECONDS)
        if heard is not None:
            heard.audio_received(observation.pcm[stop - size : stop])
        for event in frame.events:
            tell(endpointer, event, frame.silence_seconds, config)
            if heard is not None and event in (SpeechEvent.STARTED, SpeechEvent.RESUMED):
                heard.speech_started(config.vad_start_seconds)
                text = None
            if heard is not None and event is SpeechEvent.PAUSED:
                text = (endpointer.clock + WORDS_SECONDS, heard.speech_paused())
        inside = endpointer.clock - config.vad_stop_seconds < observation.end_seconds - 0.15
        pauses += endpointer.silence_seconds > 0 and not paused_before and inside
        paused_before = endpointer.silence_seconds > 0
        if endpointer.started_at is not None:
            turns += not open_before
            open_seconds = max(open_seconds, endpointer.clock - endpointer.started_at)
        open_before = endpointer.started_at is not None
        for due, pause, probability in looks:
            if due <= endpointer.clock:
                endpointer.predicted(pause, probability)
        looks = [look for look in looks if look[0] > endpointer.clock]
        if text is not None and text[0] <= endpointer.clock:
            endpointer.words_heard(text[1])
            text = None
        look = endpointer.take_prediction_request()
        if look is not None and endpointer.started_at is not None:
            seconds = endpointer.clock - endpointer.started_at + BEFORE_SPEECH_SECONDS
            start = max(0, stop - bytes_of(min(seconds, AUDIO_SECONDS)))
            probability = hearing.judge(observation.pcm[start:stop])
            looks.append((endpointer.clock + LOOK_SECONDS, look, probability))
        if endpointer.ended():
            endpointer.reset()
            open_before = False
            text = None
            if heard is not None:
                heard.turn_ended()
            if endpointer.clock < observation.end_seconds:
                cuts += 1
            else:
                delay = endpointer.clock - observation.end_seconds
    return Outcome(pauses, cuts, delay, turns, open_seconds)


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
