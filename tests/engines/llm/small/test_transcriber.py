"""Incremental recognition of arriving utterances with the real Moonshine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import numpy as np
import numpy.typing as npt
import pytest

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.moonshine import Moonshine, Recognition
from appliance.engines.llm.small.priority import JobPriority
from appliance.engines.llm.small.recognition import UtteranceTranscript
from appliance.engines.llm.small.transcriber import Transcriber
from appliance.engines.llm.small.worker import WorkerThread
from appliance.errors import EngineFailed
from appliance.link.engine import INPUT_SAMPLE_RATE
from tests.engines.llm.speech import synthesize, to_samples
from tests.engines.llm.turns import MESSAGE_BYTES

SENTENCES = [
    "My sister is called Anna and she lives in a small house near the sea.",
    "She has two cats and a very old dog.",
    "Last summer we went there for a week.",
]


class RecordingRecognizer:
    """Wraps Moonshine and records the seconds of audio per recognition."""

    def __init__(self, model: Moonshine) -> None:
        self._model = model
        self.seconds: list[float] = []

    def recognize(self, samples: Samples, should_stop: Callable[[], bool]) -> Recognition:
        self.seconds.append(len(samples) / INPUT_SAMPLE_RATE)
        return self._model.recognize(samples, should_stop)


@pytest.fixture
def recognizer(moonshine: Moonshine) -> RecordingRecognizer:
    return RecordingRecognizer(moonshine)


@pytest.fixture
async def transcriber(recognizer: RecordingRecognizer) -> AsyncIterator[Transcriber]:
    worker = WorkerThread("moonshine")
    yield Transcriber(worker, recognizer.recognize)
    await asyncio.to_thread(worker.stop)


@pytest.fixture
def transcript() -> UtteranceTranscript:
    return UtteranceTranscript(60)


async def speak(transcriber: Transcriber, transcript: UtteranceTranscript, pcm: bytes) -> None:
    """Add audio in small messages, slowly enough that the recognizer keeps up."""
    for start in range(0, len(pcm), MESSAGE_BYTES):
        transcript.add(pcm[start : start + MESSAGE_BYTES])
        transcriber.schedule_segments(transcript)
        while transcriber._segmenting:
            await asyncio.sleep(0.01)


async def test_most_of_a_long_utterance_is_recognized_while_it_is_spoken(
    transcriber: Transcriber, recognizer: RecordingRecognizer, transcript: UtteranceTranscript
) -> None:
    pause = bytes(2 * 6400)
    await speak(transcriber, transcript, pause.join(map(synthesize, SENTENCES)))
    before = len(recognizer.seconds)
    assert before >= 1
    text = await transcriber.complete(transcript, JobPriority.GENERATE)
    assert len(recognizer.seconds) == before + 1
    assert recognizer.seconds[-1] < 7
    for word in ("sister", "Anna", "small house", "two cats", "old dog", "Last summer"):
        assert word.casefold() in text.casefold()


async def test_text_recognized_at_a_pause_is_not_recognized_again(
    transcriber: Transcriber, recognizer: RecordingRecognizer, transcript: UtteranceTranscript
) -> None:
    await speak(transcriber, transcript, synthesize("What is the capital of France?"))
    await transcriber.complete(transcript, JobPriority.PREFILL)
    await speak(transcriber, transcript, bytes(2 * 16_000))
    text = await transcriber.complete(transcript, JobPriority.GENERATE)
    assert text == "What is the capital of France?"
    assert len(recognizer.seconds) == 1


async def test_request_during_recognition_at_a_pause_shares_the_result(
    transcriber: Transcriber, recognizer: RecordingRecognizer, transcript: UtteranceTranscript
) -> None:
    await speak(transcriber, transcript, synthesize("What is the capital of France?"))
    one, other = await asyncio.gather(
        transcriber.complete(transcript, JobPriority.PREFILL),
        transcriber.complete(transcript, JobPriority.GENERATE),
    )
    assert one == other == "What is the capital of France?"
    assert len(recognizer.seconds) == 1


async def test_silence_around_speech_is_not_recognized(
    transcriber: Transcriber, recognizer: RecordingRecognizer, transcript: UtteranceTranscript
) -> None:
    await speak(transcriber, transcript, bytes(48_000) + synthesize("Yes.") + bytes(64_000))
    assert await transcriber.complete(transcript, JobPriority.GENERATE) == "Yes."
    assert recognizer.seconds[-1] < 1.5


@pytest.mark.parametrize("word", ["No.", "Yes.", "Stop.", "Two.", "Six.", "Okay."])
async def test_single_short_word_is_heard(
    transcriber: Transcriber, transcript: UtteranceTranscript, word: str
) -> None:
    speech = to_samples(synthesize(word))
    loud = np.flatnonzero(np.abs(speech) > 0.02)
    speech = speech[loud[0] : loud[-1] + 1]
    assert len(speech) < 0.6 * INPUT_SAMPLE_RATE
    room = np.random.default_rng(0).normal(size=12_000).astype(np.float32) * np.float32(0.0003)
    audio = np.concatenate([room[:8000], speech, room[8000:]])
    transcript.add((audio * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes())
    assert await transcriber.complete(transcript, JobPriority.GENERATE)


@pytest.mark.parametrize(
    "sentence",
    [
        "The capital of France is.",  # heard as "Francis" without a tail of silence
        "If you press the green button twice, the machine starts again.",  # as "turn again"
    ],
)
async def test_last_words_are_heard_if_the_audio_ends_soon_after_them(
    transcriber: Transcriber, transcript: UtteranceTranscript, sentence: str
) -> None:
    speech = to_samples(synthesize(sentence.rstrip(".")))
    loud = np.flatnonzero(np.abs(speech) > 0.01)
    transcript.add(synthesize(sentence.rstrip("."))[: 2 * (int(loud[-1]) + 1600)])
    assert await transcriber.complete(transcript, JobPriority.GENERATE) == sentence


async def test_background_recognition_stops_for_a_more_urgent_one() -> None:
    worker, stopped = WorkerThread("moonshine"), list[bool]()
    started, gate = threading.Event(), threading.Event()

    def recognize(samples: Samples, should_stop: Callable[[], bool]) -> Recognition:
        started.set()
        gate.wait()
        stopped.append(should_stop())
        return Recognition("Half a sentence", 0.0)

    transcriber = Transcriber(worker, recognize)
    speaking, urgent = UtteranceTranscript(60), UtteranceTranscript(60)
    for transcript in (speaking, urgent):
        transcript.add(synthesize("What is the capital of France?"))
    background = asyncio.create_task(transcriber.complete(speaking, JobPriority.BACKGROUND))
    await asyncio.to_thread(started.wait)
    reply = asyncio.create_task(transcriber.complete(urgent, JobPriority.GENERATE))
    await asyncio.sleep(0)
    gate.set()
    assert await background == ""
    assert await reply == "Half a sentence"
    assert stopped == [True, False]
    await asyncio.to_thread(worker.stop)


def make_noises() -> dict[str, npt.NDArray[np.float64]]:
    random, second = np.random.default_rng(3), INPUT_SAMPLE_RATE
    time = np.arange(2 * second) / second
    cough = np.zeros(2 * second)
    for start in (0.4, 1.0):
        at, length = int(start * second), int(0.3 * second)
        decay = np.exp(-np.arange(length) / (0.06 * second))
        cough[at : at + length] += 0.4 * random.normal(size=length) * decay
    return {
        "silence": np.zeros(2 * second),
        "a quiet room": 0.001 * random.normal(size=2 * second),
        "white noise": 0.05 * random.normal(size=2 * second),
        "loud white noise": 0.3 * random.normal(size=2 * second),
        "a cough": cough + 0.0005 * random.normal(size=2 * second),
        "mains hum": 0.2 * np.sin(2 * np.pi * 50 * time) + 0.05 * np.sin(2 * np.pi * 150 * time),
        "a tone": 0.2 * np.sin(2 * np.pi * 440 * time),
        "a short noise": 0.2 * random.normal(size=2 * second) * (abs(time - 1) < 0.1),
        "a knock": 0.5 * random.normal(size=2 * second) * np.exp(-30 * (time - 1)) * (time > 1),
        "a beep": 0.2 * np.sin(2 * np.pi * 900 * time) * (abs(time - 1) < 0.15),
    }


@pytest.mark.parametrize("name", make_noises())
async def test_noise_has_no_text(
    transcriber: Transcriber, transcript: UtteranceTranscript, name: str
) -> None:
    transcript.add((make_noises()[name] * 32_000).clip(-32_768, 32_767).astype("<i2").tobytes())
    assert await transcriber.complete(transcript, JobPriority.GENERATE) == ""


async def test_closed_utterance_is_not_recognized(
    transcriber: Transcriber, recognizer: RecordingRecognizer, transcript: UtteranceTranscript
) -> None:
    await speak(transcriber, transcript, synthesize("Yes."))
    transcript.close()
    await transcriber.complete(transcript, JobPriority.GENERATE)
    assert recognizer.seconds == []


async def test_error_of_the_recognizer_is_an_engine_failure(
    transcript: UtteranceTranscript,
) -> None:
    def fail(samples: Samples, should_stop: Callable[[], bool]) -> Recognition:
        raise ValueError(samples)

    worker = WorkerThread("moonshine")
    transcript.add(synthesize("Yes."))
    with pytest.raises(EngineFailed):
        await Transcriber(worker, fail).complete(transcript, JobPriority.GENERATE)
    worker.stop()
