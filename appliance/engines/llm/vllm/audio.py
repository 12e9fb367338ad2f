"""The audio clips of a session, and a second speech detector. No I/O.

Ultravox v0.5 answers noise as if it were speech (its model card reports a noise recall of 0.00), so
audio without speech must not reach it. The gateway's voice activity detector is the first filter.
The detector here is the second; it looks for changes that noise does not have. Speech changes its
level with each syllable and, about ten times a second, its timbre with each sound. Hum, fans, wind,
hiss, clicks and knocks keep their timbre even when their level changes, and changing tones keep
their level. Background voices and much sung music are classified as speech.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import numpy as np

from appliance.engines.llm import NAME
from appliance.engines.llm.loudness import SILENT_RMS, Samples, find_speech, frame_rms
from appliance.errors import BadRequest
from appliance.link.engine import INPUT_SAMPLE_RATE, ChatMessage
from appliance.settings import LLMConfig

SpeechVerdict = Literal["speech", "too_short", "silent", "steady"]

# Samples (4 s). Each window is classified separately, so that long noise cannot hide a word.
WINDOW = 4 * INPUT_SAMPLE_RATE
STEP = WINDOW // 2
RUMBLE_HZ = 100  # removes mains hum and DC offset; voices have enough energy above
FRAME = 640  # samples, 40 ms
HOP = 320  # samples, 20 ms
SOUND_HOPS = 5  # 100 ms, about the duration of a speech sound
LOUD_RATIO = 0.2  # 14 dB below the loudest frame; quieter frames contain too much room noise
# Measured with synthetic voices, including single words. Speech that is 10 dB above the room noise
# has at least 2.5 dB, clear speech 4 to 8. Steady noises have up to 1.7; music, breathing and
# typing up to 2.1.
MIN_TIMBRE_CHANGE_DB = 2.3
FIRST_JOINED_ID: Final = 2**32  # above the ids of the gateway
PART_SILENCE: Final = bytes(2 * INPUT_SAMPLE_RATE // 4)  # 0.25 s between the parts of a question
BANDS_HZ: Final = (100, 250, 400, 600, 850, 1150, 1550, 2050, 2700, 3500, 4600, 6000, 7600)

# Sizes used by Ultravox v0.5 (fixie-ai/ultravox, ultravox_processing.py).
MEL_HOP = 160  # samples, 10 ms
MIN_CLIP_SAMPLES = 320  # shorter audio is padded with silence
MEL_FRAMES_PER_TOKEN = 16
MEL_FRAMES_PER_CHUNK = 3000  # 30 s; longer audio is split into chunks


class AudioClip:
    """Collects 16 kHz mono int16 audio; audio after `max_seconds` is dropped."""

    def __init__(self, min_seconds: float, max_seconds: float) -> None:
        self._min_samples = max(1, int(min_seconds * INPUT_SAMPLE_RATE))
        self._max_bytes = 2 * int(max_seconds * INPUT_SAMPLE_RATE)
        self._pcm = bytearray()
        self._verdict: SpeechVerdict | None = None

    def add(self, pcm: bytes) -> None:
        """Add little-endian audio. Raises BadRequest if it ends with half a sample."""
        if len(pcm) % 2:
            raise BadRequest(engine=NAME, what="half a sample")
        self._pcm += pcm[: self._max_bytes - len(self._pcm)]
        self._verdict = None

    @property
    def seconds(self) -> float:
        """Duration of the audio so far."""
        return len(self._pcm) / 2 / INPUT_SAMPLE_RATE

    @property
    def pcm(self) -> bytes:
        """The audio so far."""
        return bytes(self._pcm)

    @property
    def samples(self) -> Samples:
        """The audio so far, in -1..1."""
        pcm = np.frombuffer(self.pcm, "<i2")
        return pcm.astype(np.float32) / np.float32(32768)

    def classify(self) -> SpeechVerdict:
        """Return whether the audio so far contains speech, or why it does not.

        Takes 1 ms per second of audio. The result is cached until more audio is added.
        """
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
    """Return how much the shape of the spectrum changes in 100 ms of loud audio.

    The shape of a frame is the level of each band in dB, relative to the mean of all bands, so it
    does not depend on the volume. The change between two frames is the RMS of the differences of
    all bands, divided by the square root of 2 because both frames vary. The result is the median
    over all pairs of loud frames that are 100 ms apart.
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
    """Return the number of prompt tokens of a clip with this number of samples at 16 kHz."""
    frames = -(-max(samples, MIN_CLIP_SAMPLES) // MEL_HOP)
    chunks, rest = divmod(frames, MEL_FRAMES_PER_CHUNK)
    per_chunk = -(-MEL_FRAMES_PER_CHUNK // MEL_FRAMES_PER_TOKEN)
    return chunks * per_chunk + -(-rest // MEL_FRAMES_PER_TOKEN)


def _windows(samples: Samples) -> Iterator[Samples]:
    """Yield the windows to classify, with low frequencies removed."""
    for start in range(0, max(1, len(samples) - STEP), STEP):
        window = samples[start : start + WINDOW]
        spectrum = np.fft.rfft(window)
        spectrum[: RUMBLE_HZ * len(window) // INPUT_SAMPLE_RATE] = 0
        yield np.fft.irfft(spectrum, len(window)).astype(np.float32)


class SessionClips:
    """The clips of one session by utterance id. Unknown ids raise BadRequest.

    vLLM caches the embeddings of a clip under the clip's name, so a name must always refer to the
    same audio. A name consists of a secret of the session, the utterance id and the length.
    """

    def __init__(self, config: LLMConfig) -> None:
        self._config = config
        self._secret = secrets.token_hex(8)
        self._clips: dict[int, AudioClip] = {}
        self._ended: set[int] = set()
        self._joined: dict[tuple[int, ...], int] = {}  # id of the joined clip, by its parts
        self._joined_ids = itertools.count(FIRST_JOINED_ID)

    def begin(self, utterance: int) -> None:
        """Begin an utterance."""
        config = self._config
        self._clips[utterance] = AudioClip(
            config.min_utterance_seconds, config.max_utterance_seconds
        )
        self._ended.discard(utterance)

    def end(self, utterance: int) -> None:
        """Mark an utterance as complete."""
        self.clip(utterance)
        self._ended.add(utterance)

    def forget(self, utterance: int) -> None:
        """Drop an utterance, if it exists."""
        self._clips.pop(utterance, None)
        self._ended.discard(utterance)
        for parts in [parts for parts in self._joined if utterance in parts]:
            self._clips.pop(self._joined.pop(parts), None)

    def clear(self) -> None:
        """Drop all utterances."""
        self._clips.clear()
        self._joined.clear()

    def rename_all(self) -> None:
        """Give every clip a new name, so that no cached data is used again."""
        self._secret = secrets.token_hex(8)

    def clip(self, utterance: int) -> AudioClip:
        """Return the audio of an utterance so far."""
        try:
            return self._clips[utterance]
        except KeyError:
            raise BadRequest(engine=NAME, what=f"unknown utterance {utterance}") from None

    def join(self, *utterances: int) -> int:
        """Return the id of one clip with the audio of the parts of a question, so far.

        If the clip would be too long, its beginning is cut.
        """
        if len(utterances) == 1:
            return utterances[0]
        pcm = PART_SILENCE.join(self.clip(utterance).pcm for utterance in utterances)
        config = self._config
        pcm = pcm[-2 * int(config.max_utterance_seconds * INPUT_SAMPLE_RATE) :]
        id = self._joined.get(utterances)
        if id is not None and self._clips[id].pcm == pcm:
            return id
        if id is not None:  # other audio needs another name
            del self._clips[id]
        id = self._joined[utterances] = next(self._joined_ids)
        clip = AudioClip(config.min_utterance_seconds, config.max_utterance_seconds)
        clip.add(pcm)
        self._clips[id] = clip
        return id

    def join_parts(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Return the messages, where the spoken parts of one question are one clip."""
        joined: list[tuple[ChatMessage, tuple[int, ...]]] = []  # each message with its utterances
        for message in messages:
            spoken = () if message.utterance is None else (message.utterance,)
            if message.role == "user" and spoken and not message.text and joined:
                last, parts = joined[-1]
                if last.role == "user" and parts:
                    joined[-1] = last, parts + spoken
                    continue
            joined.append((message, spoken))
        return [
            ChatMessage(message.role, message.text, self.join(*parts)) if parts else message
            for message, parts in joined
        ]

    def name_and_samples(self, utterance: int) -> tuple[str, Samples]:
        """Return the name and samples of a clip. The name changes when the clip grows."""
        samples = self.clip(utterance).samples
        return f"{self._secret}-{utterance}-{len(samples)}", samples

    def is_open(self, message: ChatMessage) -> bool:
        """Return whether the message has an utterance that has not ended."""
        return message.utterance is not None and message.utterance not in self._ended

    def has_content(self, message: ChatMessage) -> bool:
        """Return False if the message is an utterance without speech, and has no text either."""
        if message.text.strip() or message.utterance is None:
            return True
        return self.clip(message.utterance).classify() == "speech"

    def count_tokens(self, messages: Iterable[ChatMessage]) -> dict[int, int]:
        """Return the prompt tokens of each clip that contains speech, by utterance id."""
        ids = {message.utterance for message in messages if message.utterance is not None}
        clips = {utterance: self.clip(utterance) for utterance in ids}
        return {
            utterance: count_audio_tokens(len(clip.samples))
            for utterance, clip in clips.items()
            if clip.classify() == "speech"
        }
