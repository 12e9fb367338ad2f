"""One utterance as the model takes it, and whether there is speech in it; pure.

Ultravox v0.5 answers noise (recall of noise 0.00 in its own table), so what is no speech must not
reach it. The gateway's speech detector is the first gate; this is the second, which asks for what
noises lack: speech changes its level (syllables) and, ten times a second, its timbre (sounds).
Hum, fans, wind, hiss, clicks and knocks keep their timbre however their level changes; tones that
change keep their level. Voices of others, and much music that is sung, pass.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import numpy as np

from appliance.engines.llm.loudness import RATE, SILENT_RMS, Samples, frame_rms, speech_span
from appliance.engines.llm.vllm.prompt import audio_tokens
from appliance.errors import BadRequest
from appliance.link.engine import Turn
from appliance.settings import LLMConfig

Verdict = Literal["speech", "too_short", "silent", "steady"]

WINDOW = 4 * RATE  # judged at a time, so that a word after a minute of fan noise is not lost in it
STEP = WINDOW // 2
RUMBLE_HZ = 100  # mains hum and offsets are below, of every voice enough is above
FRAME = 640  # samples, 40 ms
HOP = 320
APART = 5  # hops, 100 ms: about the length of a sound of speech
LOUD_RATIO = 0.2  # -14 dB under the loudest frame: of what is quieter, the room has its part
# Measured with synthetic voices, single words included: speech 10 dB over the room's noise 2.5 dB
# and more, clear speech 4 to 8; noises of one colour up to 1.7, music, breath and typing up to 2.1.
TIMBRE_DB = 2.3
BANDS_HZ: Final = (100, 250, 400, 600, 850, 1150, 1550, 2050, 2700, 3500, 4600, 6000, 7600)


class Clip:
    """Collects 16 kHz mono int16 audio. What comes after `max_seconds` is not heard."""

    def __init__(self, min_seconds: float, max_seconds: float) -> None:
        self._min_samples = max(1, int(min_seconds * RATE))
        self._max_bytes = 2 * int(max_seconds * RATE)
        self._pcm = bytearray()
        self._verdict: Verdict | None = None

    def add(self, pcm: bytes) -> None:
        """More audio, little endian. Raises BadRequest for half a sample."""
        if len(pcm) % 2:
            raise BadRequest(engine="llm", what="half a sample")
        self._pcm += pcm[: self._max_bytes - len(self._pcm)]
        self._verdict = None

    @property
    def seconds(self) -> float:
        """How long it is so far."""
        return len(self._pcm) / 2 / RATE

    @property
    def samples(self) -> Samples:
        """The audio so far, in -1..1 and finite, as int16 has no other values."""
        whole = np.frombuffer(bytes(self._pcm), "<i2")
        return whole.astype(np.float32) / np.float32(32768)

    def verdict(self) -> Verdict:
        """What is in it so far; a millisecond of work a second of audio, done once."""
        if self._verdict is None:
            self._verdict = self._judged()
        return self._verdict

    def _judged(self) -> Verdict:
        samples = self.samples
        if len(samples) < self._min_samples:
            return "too_short"
        heard = False
        for window in _windows(samples):
            heard |= bool((frame_rms(window) > SILENT_RMS).any())
            if speech_span(window) is not None and timbre_change_db(window) >= TIMBRE_DB:
                return "speech"
        return "steady" if heard else "silent"


def timbre_change_db(samples: Samples) -> float:
    """How much the spectrum's shape changes in 100 ms where it is loud, whatever the level does.

    The median over pairs of loud frames of the root mean square difference, over all bands, of a
    band's part in its frame; divided by the square root of 2, as both of a pair vary.
    """
    if len(samples) < FRAME:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME))))
    edges = [round(hertz * FRAME / RATE) for hertz in BANDS_HZ]
    bands = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    level = np.sqrt(bands.sum(axis=1))
    loud = level > LOUD_RATIO * level.max()
    pairs = loud[APART:] & loud[:-APART]
    if not pairs.any():
        return 0.0
    shape = 10 * np.log10(bands + 1e-5 * bands.max())  # 50 dB under the rest nothing is heard
    shape -= shape.mean(axis=1, keepdims=True)
    change = np.square(shape[APART:] - shape[:-APART]).mean(axis=1)[pairs]
    return float(np.median(np.sqrt(change / 2)))


def _windows(samples: Samples) -> Iterator[Samples]:
    """What is judged at a time, without its rumble."""
    for start in range(0, max(1, len(samples) - STEP), STEP):
        window = samples[start : start + WINDOW]
        spectrum = np.fft.rfft(window)
        spectrum[: RUMBLE_HZ * len(window) // RATE] = 0
        yield np.fft.irfft(spectrum, len(window)).astype(np.float32)


class Utterances:
    """Clips by the caller's own numbers. All raise BadRequest for a number that is unknown."""

    def __init__(self, given: LLMConfig, engine: str) -> None:
        self._given = given
        self._engine = engine
        self._caller = secrets.token_hex(8)
        self._clips: dict[int, Clip] = {}
        self._ended: set[int] = set()

    def begin(self, utterance: int) -> None:
        """A new utterance begins."""
        given = self._given
        self._clips[utterance] = Clip(given.min_utterance_seconds, given.max_utterance_seconds)
        self._ended.discard(utterance)

    def end(self, utterance: int) -> None:
        """The utterance is complete."""
        self.clip(utterance)
        self._ended.add(utterance)

    def forget(self, utterance: int) -> None:
        """The utterance will not be referred to again; it may be unknown."""
        self._clips.pop(utterance, None)
        self._ended.discard(utterance)

    def clear(self) -> None:
        """The caller left."""
        self._clips.clear()

    def rename(self) -> None:
        """From now on every clip has another name."""
        self._caller = secrets.token_hex(8)

    def clip(self, utterance: int) -> Clip:
        """What was heard of it so far."""
        try:
            return self._clips[utterance]
        except KeyError:
            raise BadRequest(engine=self._engine, what=f"unknown utterance {utterance}") from None

    def growing(self, turn: Turn) -> bool:
        """Whether more of the turn's utterance may come."""
        return turn.utterance is not None and turn.utterance not in self._ended

    def speak(self, turn: Turn) -> bool:
        """Whether the turn says something, be it typed."""
        if turn.text.strip() or turn.utterance is None:
            return True
        return self.clip(turn.utterance).verdict() == "speech"

    def sizes(self, turns: Iterable[Turn], guarded: bool = True) -> dict[int, int]:
        """Tokens of the turns' clips by number; `guarded`, of those only that hold speech."""
        clips = {t.utterance: self.clip(t.utterance) for t in turns if t.utterance is not None}
        return {
            number: audio_tokens(len(clip.samples))
            for number, clip in clips.items()
            if not guarded or clip.verdict() == "speech"
        }

    def named(self, utterance: int) -> tuple[str, Samples]:
        """A clip under a name that it shares with none of any caller, nor with itself grown."""
        samples = self.clip(utterance).samples
        return f"{self._caller}-{utterance}-{len(samples)}", samples
