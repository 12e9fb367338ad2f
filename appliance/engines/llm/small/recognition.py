"""The transcript of an utterance, which grows while the user is still speaking.

`UtteranceTranscript` selects the next segment to recognize and holds the words so far. It uses
neither a model nor a clock; transcriber.py runs the recognizer.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from appliance.engines.llm.loudness import (
    HARD_CUT_SECONDS,
    SILENT_RATIO,
    SILENT_RMS,
    Samples,
    find_cut,
    find_speech,
    frame_rms,
    scale_speech,
)
from appliance.engines.llm.small.moonshine import Recognition
from appliance.link.engine import INPUT_SAMPLE_RATE

# Text with a lower mean log-probability is discarded as a guess. Speech has values down to -0.97
# (spelled letters), mostly -0.02 to -0.3; words invented for sounds mostly have -1.2 to -3.
MIN_CONFIDENCE: Final = -1.1
# The same for text that the model did not end, such as loops that are invented for music.
MIN_INCOMPLETE_CONFIDENCE: Final = -0.9
# Hesitations: no answer is expected to them.
HESITATIONS: Final = frozenset(["uh", "um", "hm", "hmm", "mm", "mmm", "eh", "er", "huh"])
# What Moonshine outputs for noise, tones, clicks and bursts, at any confidence. A person who says
# "you" is heard with punctuation: "You." or "You!" (docs/quality.md).
NOISE_TEXT: Final = "You"
# Words at the end of the text of growing audio that later audio often changes. Without the last
# word, 82 % of the words at any moment are the beginning of the final text, with it 71 %, and
# without the last two 85 % (45 recordings of 2 to 6 s, every 0.5 s).
UNSTABLE_WORDS: Final = 1
# Silence that is added to the end of speech. Moonshine often mishears the last word if little
# follows it, as at a pause of 0.1 s. There, the word error rate of 200 human recordings (0.6 to
# 6 s, 8 kHz) is 16.9 % without it, and 15.0, 15.2 and 14.0 % with 0.2, 0.3 and 0.4 s.
TAIL_SECONDS: Final = 0.4
# Audio that is louder than a pause in its last frames was cut within a word.
CUT_FRAMES: Final = 3
# With a lower confidence of a part after the first, all parts are recognized as a whole. Word error
# rate of 10 human recordings in two parts, and of 20 by espeak-ng: 11.5 and 22.1 % never, 10.6 and
# 16.3 % always, 8.7 and 17.3 % below -0.2, 8.7 and 16.3 % below -0.15: 20 and 85 % of them.
UNSURE_CONFIDENCE: Final = -0.15
PART_SILENCE: Final = bytes(2 * INPUT_SAMPLE_RATE // 4)  # 0.25 s between the parts

# Not words of the speaker: what Moonshine marks as music, with the lyrics in between, and sounds.
_ANNOTATION = re.compile(r"[♪♫][^♪♫]*(?:[♪♫]|$)|[♪♫�]+|\[[^\]]*\]|\([^)]*\)|\*[^*]*\*")
# English has no letters beyond Latin Extended-A. Text in another script is a guess.
LAST_LETTER: Final = 0x17F
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Segment:
    """Audio of an utterance to recognize.

    stop   the sample of the utterance at which the segment ends
    final  whether the segment is complete; otherwise, it is recognized again with later audio
    """

    samples: Samples
    stop: int
    final: bool


class UtteranceTranscript:
    """The incremental transcript of one utterance.

    `add` takes audio. `next_segment` and `next_remainder` return segments to recognize, and `put`
    stores their text. Audio of final segments is dropped. The audio after the last cut is
    recognized when the text is needed. The result stays valid until more speech (not silence)
    arrives. If the audio ended within a word, it is valid until any audio arrives.

    A lock is needed because audio is added in one thread and recognized in another.
    """

    def __init__(self, max_seconds: float) -> None:
        """Create an empty transcript.

        max_seconds  only this much audio is kept, from the end of the utterance
        """
        self._max_samples = int(max_seconds * INPUT_SAMPLE_RATE)
        self._lock = threading.Lock()
        self._pending: list[Samples] = []  # audio after the last final segment
        self._pending_start = 0  # position of the pending audio in the utterance, in samples
        self._length = 0  # samples so far
        self._loudest = 0.0  # RMS of the loudest frame so far
        self._texts: list[tuple[int, str]] = []  # end sample and text of each final segment
        self._rest = ""  # text after the last final segment
        self._rest_stop = 0  # end sample of the audio that `_rest` covers
        self._rest_is_cut = False  # whether this audio ends within a word
        self._confidence = 0.0  # the lowest of the final segments
        self._rest_confidence = 0.0
        self._closed = False

    @property
    def seconds(self) -> float:
        """Length of the audio so far."""
        return self._length / INPUT_SAMPLE_RATE

    @property
    def text(self) -> str:
        """The words recognized so far; complete when `next_remainder` returns None."""
        oldest = self._length - self._max_samples
        words = [text for stop, text in self._texts if stop > oldest]
        return " ".join(text for text in (*words, self._rest) if text)

    @property
    def confidence(self) -> float:
        """The lowest mean log-probability of `text`; 0 if there was nothing to recognize."""
        return min(self._confidence, self._rest_confidence)

    @property
    def pcm(self) -> bytes | None:
        """The audio so far, or None if a part of it has been dropped."""
        start, audio = self._pending_audio()
        return (audio * 32768).astype("<i2").tobytes() if start == 0 else None

    @property
    def stable_text(self) -> str:
        """The beginning of `text` that will probably not change if the user speaks on."""
        words, unstable = self.text.split(), min(len(self._rest.split()), UNSTABLE_WORDS)
        return " ".join(words[: len(words) - unstable])

    def add(self, pcm: bytes) -> None:
        """Add audio: mono int16 little-endian."""
        samples: Samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        level = float(frame_rms(samples).max(initial=0))
        with self._lock:
            self._loudest = max(self._loudest, level)
            self._pending.append(samples)
            self._length += len(samples)
            while self._length - self._pending_start > self._max_samples and len(self._pending) > 1:
                self._pending_start += len(self._pending.pop(0))

    def next_segment(self) -> Segment | None:
        """Return a segment to recognize during speech; None if there is no cut point yet."""
        start, audio = self._pending_audio()
        cut = find_cut(audio)
        if cut is None or self._closed:
            return None
        return Segment(audio[:cut], start + cut, final=True)

    def next_remainder(self) -> Segment | None:
        """Return the next segment that is not yet in `text`; None if `text` is complete."""
        if self._closed:
            return None
        start, audio = self._pending_audio()
        levels = frame_rms(audio[max(0, self._rest_stop - start) :])
        # After a pause, a single loud frame may be the beginning of a word.
        if not (self._rest_is_cut and len(levels)) and not self._is_loud(levels):
            return None
        if len(audio) >= HARD_CUT_SECONDS * INPUT_SAMPLE_RATE:
            return self.next_segment()
        return Segment(audio, start + len(audio), final=False)

    def put(self, segment: Segment, recognition: Recognition) -> None:
        """Store the recognition of a segment."""
        text = filter_words(recognition)
        with self._lock:
            if not segment.final:
                self._rest, self._rest_stop = text, segment.stop
                self._rest_confidence = recognition.confidence
                self._rest_is_cut = self._is_loud(frame_rms(segment.samples)[-CUT_FRAMES:])
                return
            self._texts.append((segment.stop, text))
            self._confidence = min(self._confidence, recognition.confidence)
            later = np.concatenate(self._pending)[max(0, segment.stop - self._pending_start) :]
            self._pending, self._pending_start = [later], max(segment.stop, self._pending_start)
            self._rest, self._rest_stop, self._rest_is_cut = "", 0, False
            self._rest_confidence = 0.0

    def trim(self, segment: Segment) -> Samples | None:
        """Return the speech of a segment and TAIL_SECONDS of silence; None if it has no speech.

        The silence around it is removed, because the recognition time grows with the length. The
        speech is scaled to SPEECH_RMS.
        """
        span = find_speech(segment.samples, self._loudest)
        if span is None:
            return None
        tail = np.zeros(int(TAIL_SECONDS * INPUT_SAMPLE_RATE), np.float32)
        return np.concatenate([scale_speech(segment.samples[span[0] : span[1]]), tail])

    def close(self) -> None:
        """Stop producing segments, because the text is no longer needed."""
        self._closed = True

    def _is_loud(self, levels: Samples) -> bool:
        """Return whether a frame is louder than a pause."""
        return bool((levels > max(SILENT_RMS, SILENT_RATIO * self._loudest)).any())

    def _pending_audio(self) -> tuple[int, Samples]:
        with self._lock:
            audio = np.concatenate(self._pending) if self._pending else np.zeros(0, np.float32)
            return self._pending_start, audio


def filter_words(recognition: Recognition) -> str:
    """Return the recognized text; empty if it is a guess, noise, hesitation or has no words."""
    text = " ".join(_ANNOTATION.sub(" ", recognition.text).split())
    words = [word.casefold() for word in _WORD.findall(text)]
    is_hesitation = all(word in HESITATIONS for word in words)
    lowest = MIN_CONFIDENCE if recognition.complete else MIN_INCOMPLETE_CONFIDENCE
    if recognition.confidence < lowest or is_hesitation or text == NOISE_TEXT:
        return ""
    if not all(ord(letter) <= LAST_LETTER for word in words for letter in word):
        return ""
    return text


def whole_audio(parts: Sequence[UtteranceTranscript]) -> bytes | None:
    """Return the audio of all parts if it has to be recognized as a whole, otherwise None.

    A part that is recognized alone lacks the words before it, so its transcript may be unsure.
    """
    unsure = any(-math.inf < part.confidence < UNSURE_CONFIDENCE for part in parts[1:])
    audio = [part.pcm for part in parts] if unsure else [None]
    complete = [pcm for pcm in audio if pcm is not None]
    return PART_SILENCE.join(complete) if len(complete) == len(parts) else None
