"""Recognize clips as the `small` engine of one build does: a process of its own.

Usage: PYTHONPATH=FOLDER python tests/voices/listen.py WEIGHTS [SHORT]

SHORT is a folder with Whisper, as for the setting `llm.short_recognizer`. A build without this
setting ignores it.

Imports only the package `appliance` of FOLDER, so the build there may be another one. Reads clips
from the standard input, each as a 4-byte little-endian size and 16 kHz int16 PCM. Writes a JSON
list per clip: the text as used, the text of the clip as a whole, and the CPU time in seconds that
is left when the clip ends.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.moonshine import Moonshine, Recognition
from appliance.engines.llm.small.recognition import Segment, UtteranceTranscript
from appliance.settings import LLMConfig

FRAME_BYTES = 1280  # 40 ms
MAX_SECONDS = 60.0


class Listener:
    """Runs the recognizer over the segments that the transcript selects."""

    def __init__(self, folder: Path, short: Path | None = None) -> None:
        moonshine = Moonshine(folder, threads=1)
        self.hear: Callable[[Samples], Recognition] = moonshine.recognize
        if short is not None:
            with contextlib.suppress(ImportError):
                self.hear = voting(moonshine, short)

    def used(self, pcm: bytes) -> tuple[str, float]:
        """Return text and CPU seconds left at the end, with audio that arrives in frames."""
        transcript = UtteranceTranscript(**bounds())
        for start in range(0, len(pcm), FRAME_BYTES):
            transcript.add(pcm[start : start + FRAME_BYTES])
            while (segment := transcript.next_segment()) is not None:
                self._recognize(transcript, segment)
        started = time.process_time()
        while (segment := transcript.next_remainder()) is not None:
            self._recognize(transcript, segment)
            if not segment.final:
                break
        return transcript.text, time.process_time() - started

    def whole(self, pcm: bytes) -> str:
        """Return the text of the clip without cutting."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        return self.hear(samples).text

    def _recognize(self, transcript: UtteranceTranscript, segment: Segment) -> None:
        samples, heard = transcript.trim(segment), Recognition("", -np.inf)
        if samples is not None:
            heard = self.hear(np.ascontiguousarray(samples))
        transcript.put(segment, heard)


def bounds() -> dict[str, float]:
    """Return the shortest and the longest utterance in seconds. Only older builds have both."""
    found = {"max_seconds": MAX_SECONDS}
    if "min_seconds" in inspect.signature(UtteranceTranscript).parameters:
        found["min_seconds"] = LLMConfig().min_utterance_seconds
    return found


def voting(moonshine: Moonshine, folder: Path) -> Callable[[Samples], Recognition]:
    """Return what recognizes with both models. Raises ImportError if the build has only one."""
    from appliance.engines.llm.small.recognition import filter_words
    from appliance.engines.llm.small.short_words import VotingRecognizer
    from appliance.engines.llm.small.whisper import Whisper

    short = Whisper(folder, threads=1)
    return VotingRecognizer(moonshine, short, lambda heard: not filter_words(heard)).recognize


def main() -> None:
    """Answer clips until the standard input ends."""
    listener = Listener(*map(Path, sys.argv[1:]))
    while size := sys.stdin.buffer.read(4):
        pcm = sys.stdin.buffer.read(int.from_bytes(size, "little"))
        text, seconds = listener.used(pcm)
        print(json.dumps([text, listener.whole(pcm), round(seconds, 4)]), flush=True)


if __name__ == "__main__":
    main()
