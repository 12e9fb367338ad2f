"""What is known of one utterance while it is spoken, and what to recognise next.

A state machine without model or clock.
"""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from appliance.engines.llm.loudness import (
    HARD_SECONDS,
    RATE,
    SILENT_RATIO,
    SILENT_RMS,
    Samples,
    cut_point,
    frame_rms,
    speech_span,
)
from appliance.engines.llm.small.moonshine import Heard
from appliance.engines.llm.small.worker import Urgency, Worker
from appliance.errors import EngineFailed

# Mean log probability under which the words are a guess: Moonshine gives clear speech -0.02 to
# -0.3, noise of all kinds -0.4 to -3.
GUESSED: Final = -0.9
# What Moonshine writes for noise, hum and coughs, however sure it is, and hesitations.
NOISE: Final = frozenset(["you", "uh", "um", "hm", "hmm", "mm", "mmm", "ah", "eh", "er", "huh"])
_UNSPOKEN = re.compile(r"[♪♫�]+|\[[^\]]*\]|\([^)]*\)|\*[^*]*\*")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Piece:
    """Audio to recognise: `stop` is where it ends in its utterance, `final` whether it is cut off
    for good or may grow."""

    samples: Samples
    stop: int
    final: bool


class Transcript:
    """What is known of one utterance. Audio comes in, pieces to recognise go out, text comes back.

    Audio that was recognised for good is dropped. The rest after the last cut is recognised when
    somebody asks for the text; the answer stays valid until more speech (not silence) comes.
    Audio is added in one thread and recognised in another, hence the lock.
    """

    def __init__(self, min_seconds: float, max_seconds: float) -> None:
        self._min_samples = int(min_seconds * RATE)
        self._max_samples = int(max_seconds * RATE)
        self._lock = threading.Lock()
        self._unheard: list[Samples] = []
        self._start = 0  # where the unheard audio begins in the utterance
        self._length = 0  # samples so far
        self._loudest = 0.0  # level of the loudest frame so far
        self._texts: list[tuple[int, str]] = []  # (where the piece ends, its words)
        self._rest = ""
        self._rest_stop = 0  # the rest was recognised up to here
        self._closed = False

    @property
    def seconds(self) -> float:
        """How much audio came so far."""
        return self._length / RATE

    @property
    def text(self) -> str:
        """The words recognised so far; all of them once `rest` returns None."""
        oldest = self._length - self._max_samples
        words = [text for stop, text in self._texts if stop > oldest]
        return " ".join(text for text in (*words, self._rest) if text)

    def add(self, pcm: bytes) -> None:
        """More audio, mono int16 little endian."""
        samples: Samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        level = float(frame_rms(samples).max(initial=0))
        with self._lock:
            self._loudest = max(self._loudest, level)
            self._unheard.append(samples)
            self._length += len(samples)
            while self._length - self._start > self._max_samples and len(self._unheard) > 1:
                self._start += len(self._unheard.pop(0))

    def segment(self) -> Piece | None:
        """A piece to recognise in the background while the user speaks on."""
        start, audio = self._audio()
        cut = cut_point(audio)
        return None if cut is None or self._closed else Piece(audio[:cut], start + cut, final=True)

    def rest(self) -> Piece | None:
        """A piece still to recognise for `text` to be all that was said; None when it is."""
        if self._length < self._min_samples or self._closed:
            return None
        start, audio = self._audio()
        levels = frame_rms(audio[max(0, self._rest_stop - start) :])
        # After a pause a single loud frame may be the beginning of a word.
        if not (levels > max(SILENT_RMS, SILENT_RATIO * self._loudest)).any():
            return None
        if len(audio) >= HARD_SECONDS * RATE:
            return self.segment()
        return Piece(audio, start + len(audio), final=False)

    def put(self, piece: Piece, heard: Heard) -> None:
        """What the recognizer made of a piece."""
        text = words_of(heard)
        with self._lock:
            if not piece.final:
                self._rest, self._rest_stop = text, piece.stop
                return
            self._texts.append((piece.stop, text))
            later = np.concatenate(self._unheard)[max(0, piece.stop - self._start) :]
            self._unheard, self._start = [later], max(piece.stop, self._start)
            self._rest, self._rest_stop = "", 0

    def audible(self, piece: Piece) -> Samples | None:
        """The part of a piece worth recognising: without silence around it; None if there is none.

        Time to recognise grows with length, so silence costs and gains nothing.
        """
        span = speech_span(piece.samples, self._loudest)
        return None if span is None else piece.samples[span[0] : span[1]]

    def close(self) -> None:
        """Nobody wants the rest any more."""
        self._closed = True

    def _audio(self) -> tuple[int, Samples]:
        with self._lock:
            audio = np.concatenate(self._unheard) if self._unheard else np.zeros(0, np.float32)
            return self._start, audio


def words_of(heard: Heard) -> str:
    """The text, or nothing when it is a guess, a known artefact of noise, or has no words."""
    text = " ".join(_UNSPOKEN.sub(" ", heard.text).split())
    words = [word.casefold() for word in _WORD.findall(text)]
    if heard.confidence < GUESSED or all(word in NOISE for word in words):
        return ""
    return text


Recognize = Callable[[Samples], Heard]
NOTHING: Final = Heard("", -math.inf)


class Hearing:
    """Recognises utterances in a thread of its own: those a caller waits for go first."""

    def __init__(self, worker: Worker, recognize: Recognize) -> None:
        self._worker = worker
        self._recognize = recognize
        self._segmenting: dict[Transcript, asyncio.Future[None]] = {}

    def listen(self, transcript: Transcript) -> None:
        """More audio came: recognises a segment in the background if there is one."""
        if transcript in self._segmenting or transcript.segment() is None:
            return
        job = self._worker.run(Urgency.SEGMENT, lambda: self._segments(transcript))
        self._segmenting[transcript] = job
        job.add_done_callback(lambda _: self._segmenting.pop(transcript, None))

    async def text(self, transcript: Transcript, urgency: Urgency) -> str:
        """What was said so far; at once when that is known already. Raises EngineFailed."""
        if transcript.rest() is not None:
            try:
                await self._worker.run(urgency, lambda: self._all(transcript))
            except Exception as problem:
                raise EngineFailed(engine="llm") from problem
        return transcript.text

    def _segments(self, transcript: Transcript) -> None:
        while (piece := transcript.segment()) is not None:
            transcript.put(piece, self._hear(transcript, piece))

    def _all(self, transcript: Transcript) -> None:
        while (piece := transcript.rest()) is not None:
            transcript.put(piece, self._hear(transcript, piece))
            if not piece.final:
                return  # What came meanwhile is the next caller's.

    def _hear(self, transcript: Transcript, piece: Piece) -> Heard:
        audible = transcript.audible(piece)
        return NOTHING if audible is None else self._recognize(audible)
