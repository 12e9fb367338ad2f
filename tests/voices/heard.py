"""What the models hear in audio, kept on disk, and the words of a turn as the cpu profile has them.

The models are slow on two cores, and their answers depend only on the audio. `Answers` keeps them
by the sha256 of the audio, so that a policy can be replayed in a second.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.moonshine import Recognition
from appliance.engines.llm.small.recognition import Segment, UtteranceTranscript
from appliance.gateway.generation.utterances import UtteranceCollector
from appliance.gateway.turns.turn_models import TurnModels
from appliance.settings import LLMConfig
from tests.voices.listen import Listener

Answer = Any  # of a model: what JSON can hold


class Answers:
    """Answers of models by their audio, in an SQLite file.

    `fresh` forgets what the file holds.
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        if fresh:
            path.unlink(missing_ok=True)
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.execute("PRAGMA synchronous = OFF")
        self._file.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)")

    def get(self, model: str, audio: bytes, ask: Callable[[], Answer]) -> Answer:
        """Return the answer of `model` to `audio`; `ask` is called if it is not known."""
        key = f"{model} {hashlib.sha256(audio).hexdigest()}"
        row = self._file.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        if row is not None:
            return json.loads(row[0])
        answer = ask()
        self._file.execute("INSERT INTO answers VALUES (?, ?)", (key, json.dumps(answer)))
        return answer


RECOGNIZER = (
    "appliance/engines/llm/loudness.py",
    "appliance/engines/llm/small/recognition.py",
    "appliance/engines/llm/small/beam_search.py",
    "appliance/engines/llm/small/ctranslate2_file.py",
    "appliance/engines/llm/small/moonshine.py",
    "appliance/engines/llm/small/whisper.py",
    "appliance/engines/llm/small/whisper_features.py",
    "appliance/engines/llm/small/whisper_graph.py",
    "appliance/engines/llm/small/ordinals.py",
    "appliance/engines/llm/small/short_words.py",
    "appliance/engines/llm/small/spoken_key.py",  # of older builds
    "appliance/engines/llm/small/vote.py",
)


def recognizer_version(root: Path) -> str:
    """Return a hash of the recognizer's code in a source tree."""
    # Builds differ in their files.
    files = [root / name for name in RECOGNIZER if (root / name).exists()]
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    return code.hexdigest()[:16]


class Hearing:
    """smart-turn and the recognizer of the cpu profile, with their answers kept.

    recognizer  folder of Moonshine; it is loaded for the first audio that is not known
    short       folder of the second recognizer, if any
    """

    def __init__(
        self, models: TurnModels, recognizer: Path, answers: Answers, short: Path | None = None
    ) -> None:
        self.models = models
        self.answers = answers
        self._folders = recognizer, short
        version = recognizer_version(Path(__file__).parents[2])
        self._key = f"{recognizer.name} {version}" + (f" {short.name}" if short else "")
        self._listener: Listener | None = None

    def judge(self, pcm: bytes) -> float:
        """Return smart-turn's probability that a turn is complete."""
        return float(self.answers.get("smart-turn", pcm, lambda: self.models.judge(pcm)))

    def recognize(self, samples: Samples) -> Recognition:
        """Return the recognizer's words."""
        return Recognition(
            *self.answers.get(
                self._key,
                samples.tobytes(),
                lambda: self._recognize(samples),
            )
        )

    def _recognize(self, samples: Samples) -> Answer:
        if self._listener is None:
            self._listener = Listener(*self._folders)
        found = self._listener.hear(samples)
        return [found.text, found.confidence, found.complete]


class WordsOfTurn:
    """The transcript of one caller's turn at its pauses, as gateway and `small` engine make it."""

    def __init__(self, hearing: Hearing, config: LLMConfig) -> None:
        self._hearing = hearing
        self._config = config
        self._collector = UtteranceCollector(config.pre_roll_seconds, config.max_utterance_seconds)
        self._transcript = self._new()
        self._added = 0  # bytes of the utterance that the transcript has

    def audio_received(self, pcm: bytes) -> None:
        """Note audio of the microphone."""
        self._collector.add_audio(pcm)
        self._pass_on()

    def speech_started(self, seconds_ago: float) -> None:
        """Note that the caller speaks since `seconds_ago`."""
        self._collector.speech_started(seconds_ago)
        self._pass_on()

    def speech_paused(self) -> str:
        """Note a pause, and return the words of the turn up to it."""
        self._collector.speech_paused()
        while (segment := self._transcript.next_remainder()) is not None:
            self._recognize(segment)
            if not segment.final:
                break
        return self._transcript.text

    def turn_ended(self) -> None:
        """Forget the turn."""
        self._collector.turn_ended()
        self._transcript, self._added = self._new(), 0

    def _new(self) -> UtteranceTranscript:
        return UtteranceTranscript(self._config.max_utterance_seconds)

    def _pass_on(self) -> None:
        utterance = self._collector.current
        if utterance is None:
            return
        self._transcript.add(bytes(utterance.pcm[self._added :]))
        self._added = len(utterance.pcm)
        while (segment := self._transcript.next_segment()) is not None:
            self._recognize(segment)

    def _recognize(self, segment: Segment) -> None:
        samples, heard = self._transcript.trim(segment), Recognition("", -np.inf)
        if samples is not None:
            heard = self._hearing.recognize(np.ascontiguousarray(samples))
        self._transcript.put(segment, heard)
