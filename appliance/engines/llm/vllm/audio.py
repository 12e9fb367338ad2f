"""The audio clips of a session, as the model takes them, and a gate for speech. No I/O.

Ultravox v0.5 answers noise as if it were speech (recall of noise 0.00 in its own table), so audio
without speech must not reach it. The gateway's voice activity detector is the first gate. This is
the second: it requires what noise lacks. Speech changes its level with each syllable and, about
ten times a second, its timbre with each sound. Hum, fans, wind, hiss, clicks and knocks keep their
timbre even when their level changes, and changing tones keep their level. Voices in the background
pass, and so does much sung music.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import numpy as np

from appliance.engines.llm import NAME
from appliance.engines.llm.loudness import SILENT_RMS, Samples, find_speech, frame_rms
from appliance.errors import BadRequest
from appliance.link.engine import INPUT_SAMPLE_RATE, Turn
from appliance.settings import LLMConfig

SpeechVerdict = Literal["speech", "too_short", "silent", "steady"]

WINDOW = 4 * INPUT_SAMPLE_RATE  # judged one by one, so that minutes of fan noise do not hide a word
STEP = WINDOW // 2
RUMBLE_HZ = 100  # mains hum and offsets are below; every voice has enough above
FRAME = 640  # samples, 40 ms
HOP = 320  # samples
SOUND_HOPS = 5  # 100 ms: about the length of a sound of speech
LOUD_RATIO = 0.2  # -14 dB below the loudest frame; quieter frames hold too much of the room
# Measured with synthetic voices, single words included: speech 10 dB above the noise of the room
# has 2.5 dB or more, clear speech 4 to 8; noises of one color up to 1.7; music, breath and typing
# up to 2.1.
MIN_TIMBRE_CHANGE_DB = 2.3
BANDS_HZ: Final = (100, 250, 400, 600, 850, 1150, 1550, 2050, 2700, 3500, 4600, 6000, 7600)

# The sizes of Ultravox v0.5 (fixie-ai/ultravox, ultravox_processing.py).
MEL_HOP = 160  # samples, 10 ms
MIN_CLIP_SAMPLES = 320  # shorter audio is padded with silence
MEL_FRAMES_PER_TOKEN = 16
MEL_FRAMES_PER_CHUNK = 3000  # 30 s; longer audio is cut


class AudioClip:
    """Collects 16 kHz mono int16 audio; anything after `max_seconds` is dropped."""

    def __init__(self, min_seconds: float, max_seconds: float) -> None:
        self._min_samples = max(1, int(min_seconds * INPUT_SAMPLE_RATE))
        self._max_bytes = 2 * int(max_seconds * INPUT_SAMPLE_RATE)
        self._pcm = bytearray()
        self._verdict: SpeechVerdict | None = None

    def add(self, pcm: bytes) -> None:
        """Add audio, little-endian. Raises BadRequest for half a sample."""
        if len(pcm) % 2:
            raise BadRequest(engine=NAME, what="half a sample")
        self._pcm += pcm[: self._max_bytes - len(self._pcm)]
        self._verdict = None

    @property
    def seconds(self) -> float:
        """Length so far."""
        return len(self._pcm) / 2 / INPUT_SAMPLE_RATE

    @property
    def samples(self) -> Samples:
        """The audio so far, in -1..1; always finite, because int16 is."""
        pcm = np.frombuffer(bytes(self._pcm), "<i2")
        return pcm.astype(np.float32) / np.float32(32768)

    def classify(self) -> SpeechVerdict:
        """Whether the audio so far holds speech. Cached; takes 1 ms per second of audio."""
        if self._verdict is None:
            self._verdict = self._classify()
        return self._verdict

    def _classify(self) -> SpeechVerdict:
        samples = self.samples
        if len(samples) < self._min_samples:
            return "too_short"
        audible = False
        for window in _windows(samples):
            audible |= bool((frame_rms(window) > SILENT_RMS).any())
            is_speech = (
                find_speech(window) is not None and timbre_change_db(window) >= MIN_TIMBRE_CHANGE_DB
            )
            if is_speech:
                return "speech"
        return "steady" if audible else "silent"


def timbre_change_db(samples: Samples) -> float:
    """How much the shape of the spectrum changes in 100 ms where it is loud, at any level.

    The median, over pairs of loud frames, of the RMS difference over all bands of each band's share
    of its frame; divided by the square root of 2, because both frames of a pair vary.
    """
    if len(samples) < FRAME:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME))))
    edges = [round(hertz * FRAME / INPUT_SAMPLE_RATE) for hertz in BANDS_HZ]
    bands = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    level = np.sqrt(bands.sum(axis=1))
    loud = level > LOUD_RATIO * level.max()
    pairs = loud[SOUND_HOPS:] & loud[:-SOUND_HOPS]
    if not pairs.any():
        return 0.0
    shape = 10 * np.log10(bands + 1e-5 * bands.max())  # the floor is 50 dB below the loudest band
    shape -= shape.mean(axis=1, keepdims=True)
    change = np.square(shape[SOUND_HOPS:] - shape[:-SOUND_HOPS]).mean(axis=1)[pairs]
    return float(np.median(np.sqrt(change / 2)))


def count_audio_tokens(samples: int) -> int:
    """The prompt tokens of a clip of `samples` samples at 16 kHz."""
    frames = -(-max(samples, MIN_CLIP_SAMPLES) // MEL_HOP)
    chunks, rest = divmod(frames, MEL_FRAMES_PER_CHUNK)
    per_chunk = -(-MEL_FRAMES_PER_CHUNK // MEL_FRAMES_PER_TOKEN)
    return chunks * per_chunk + -(-rest // MEL_FRAMES_PER_TOKEN)


def _windows(samples: Samples) -> Iterator[Samples]:
    """The windows to judge, without rumble."""
    for start in range(0, max(1, len(samples) - STEP), STEP):
        window = samples[start : start + WINDOW]
        spectrum = np.fft.rfft(window)
        spectrum[: RUMBLE_HZ * len(window) // INPUT_SAMPLE_RATE] = 0
        yield np.fft.irfft(spectrum, len(window)).astype(np.float32)


class SessionClips:
    """The clips of one session by utterance id; an unknown id raises BadRequest.

    vLLM caches its work on a clip by name, so a name must always mean the same audio. It consists
    of a secret of the session, the utterance id and the length.
    """

    def __init__(self, config: LLMConfig) -> None:
        self._config = config
        self._secret = secrets.token_hex(8)
        self._clips: dict[int, AudioClip] = {}
        self._ended: set[int] = set()

    def begin(self, utterance: int) -> None:
        """Begin an utterance."""
        config = self._config
        self._clips[utterance] = AudioClip(
            config.min_utterance_seconds, config.max_utterance_seconds
        )
        self._ended.discard(utterance)

    def end(self, utterance: int) -> None:
        """The utterance is complete."""
        self.clip(utterance)
        self._ended.add(utterance)

    def forget(self, utterance: int) -> None:
        """Drop an utterance; it may be unknown."""
        self._clips.pop(utterance, None)
        self._ended.discard(utterance)

    def clear(self) -> None:
        """Drop all utterances."""
        self._clips.clear()

    def rename_all(self) -> None:
        """Give every clip a new name, so that nothing cached for it is used again."""
        self._secret = secrets.token_hex(8)

    def clip(self, utterance: int) -> AudioClip:
        """The audio of an utterance so far."""
        try:
            return self._clips[utterance]
        except KeyError:
            raise BadRequest(engine=NAME, what=f"unknown utterance {utterance}") from None

    def named(self, utterance: int) -> tuple[str, Samples]:
        """The name and the samples of a clip; it gets a new name when it grows."""
        samples = self.clip(utterance).samples
        return f"{self._secret}-{utterance}-{len(samples)}", samples

    def is_open(self, turn: Turn) -> bool:
        """Whether the turn has an utterance that has not ended."""
        return turn.utterance is not None and turn.utterance not in self._ended

    def says_something(self, turn: Turn) -> bool:
        """Whether the turn has any text or speech."""
        if turn.text.strip() or turn.utterance is None:
            return True
        return self.clip(turn.utterance).classify() == "speech"

    def count_tokens(self, turns: Iterable[Turn]) -> dict[int, int]:
        """The prompt tokens of the turns' clips by utterance id, of those that hold speech."""
        ids = {turn.utterance for turn in turns if turn.utterance is not None}
        clips = {utterance: self.clip(utterance) for utterance in ids}
        return {
            utterance: count_audio_tokens(len(clip.samples))
            for utterance, clip in clips.items()
            if clip.classify() == "speech"
        }
