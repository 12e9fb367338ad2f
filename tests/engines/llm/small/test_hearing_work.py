from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt
import pytest

from appliance.engines.llm.loudness import RATE, Samples
from appliance.engines.llm.small.hearing import Hearing, Transcript
from appliance.engines.llm.small.moonshine import Heard, Moonshine
from appliance.engines.llm.small.worker import Urgency, Worker
from appliance.errors import EngineFailed
from tests.engines.llm.conftest import Say

SENTENCES = [
    "My sister is called Anna and she lives in a small house near the sea.",
    "She has two cats and a very old dog.",
    "Last summer we went there for a week.",
]


class Recognizer:
    """Moonshine, and a record of how much audio it was given each time, in seconds."""

    def __init__(self, model: Moonshine) -> None:
        self._model = model
        self.seconds: list[float] = []

    def hear(self, samples: Samples) -> Heard:
        self.seconds.append(len(samples) / RATE)
        return self._model.hear(samples)


@pytest.fixture
def recognizer(moonshine: Moonshine) -> Recognizer:
    return Recognizer(moonshine)


@pytest.fixture
async def hearing(recognizer: Recognizer) -> AsyncIterator[Hearing]:
    worker = Worker("hearing")
    yield Hearing(worker, recognizer.hear)
    await asyncio.to_thread(worker.stop)


async def settled(hearing: Hearing) -> None:
    while hearing._segmenting:
        await asyncio.sleep(0.01)


async def speak(hearing: Hearing, transcript: Transcript, pcm: bytes) -> None:
    """As a caller's audio comes, with the recognizer keeping pace."""
    for start in range(0, len(pcm), 1280):
        transcript.add(pcm[start : start + 1280])
        hearing.listen(transcript)
        await settled(hearing)


async def test_most_of_a_long_utterance_is_heard_while_it_is_spoken(
    hearing: Hearing, recognizer: Recognizer, say: Say
) -> None:
    transcript = Transcript(0.3, 60)
    pause = bytes(2 * 6400)
    await speak(hearing, transcript, pause.join(map(say, SENTENCES)))
    before = len(recognizer.seconds)
    assert before >= 1
    text = await hearing.text(transcript, Urgency.GENERATE)
    assert len(recognizer.seconds) == before + 1
    assert recognizer.seconds[-1] < 7
    for word in ("sister", "Anna", "small house", "two cats", "old dog", "Last summer"):
        assert word.casefold() in text.casefold()


async def test_what_a_pause_made_known_is_not_heard_again(
    hearing: Hearing, recognizer: Recognizer, say: Say
) -> None:
    transcript = Transcript(0.3, 60)
    await speak(hearing, transcript, say("What is the capital of France?"))
    await hearing.text(transcript, Urgency.WARM)
    await speak(hearing, transcript, bytes(2 * 16_000))
    text = await hearing.text(transcript, Urgency.GENERATE)
    assert text == "What is the capital of France?"
    assert len(recognizer.seconds) == 1


async def test_a_request_that_comes_while_a_pause_is_worked_on_shares_its_result(
    hearing: Hearing, recognizer: Recognizer, say: Say
) -> None:
    transcript = Transcript(0.3, 60)
    await speak(hearing, transcript, say("What is the capital of France?"))
    one, other = await asyncio.gather(
        hearing.text(transcript, Urgency.WARM), hearing.text(transcript, Urgency.GENERATE)
    )
    assert one == other == "What is the capital of France?"
    assert len(recognizer.seconds) == 1


async def test_silence_around_speech_is_not_worked_on(
    hearing: Hearing, recognizer: Recognizer, say: Say
) -> None:
    transcript = Transcript(0.3, 60)
    await speak(hearing, transcript, bytes(48_000) + say("Yes.") + bytes(64_000))
    assert await hearing.text(transcript, Urgency.GENERATE) == "Yes."
    assert recognizer.seconds[-1] < 1.5


def noises() -> dict[str, npt.NDArray[np.float64]]:
    random, second = np.random.default_rng(3), RATE
    time = np.arange(2 * second) / second
    cough = np.zeros(2 * second)
    for start in (0.4, 1.0):
        at, length = int(start * second), int(0.3 * second)
        fall = np.exp(-np.arange(length) / (0.06 * second))
        cough[at : at + length] += 0.4 * random.normal(size=length) * fall
    return {
        "silence": np.zeros(2 * second),
        "a quiet room": 0.001 * random.normal(size=2 * second),
        "white noise": 0.05 * random.normal(size=2 * second),
        "loud white noise": 0.3 * random.normal(size=2 * second),
        "a cough": cough + 0.0005 * random.normal(size=2 * second),
        "mains hum": 0.2 * np.sin(2 * np.pi * 50 * time) + 0.05 * np.sin(2 * np.pi * 150 * time),
        "a tone": 0.2 * np.sin(2 * np.pi * 440 * time),
    }


@pytest.mark.parametrize("name", noises())
async def test_noise_is_nothing_heard(hearing: Hearing, name: str) -> None:
    transcript = Transcript(0.3, 60)
    transcript.add((noises()[name] * 32_000).clip(-32_768, 32_767).astype("<i2").tobytes())
    assert await hearing.text(transcript, Urgency.GENERATE) == ""


async def test_a_closed_utterance_is_worked_on_no_more(
    hearing: Hearing, recognizer: Recognizer, say: Say
) -> None:
    transcript = Transcript(0.3, 60)
    await speak(hearing, transcript, say("Yes."))
    transcript.close()
    await hearing.text(transcript, Urgency.GENERATE)
    assert recognizer.seconds == []


async def test_a_recognizer_that_fails_is_an_engine_that_failed(say: Say) -> None:
    def broken(samples: Samples) -> Heard:
        raise ValueError(samples)

    worker = Worker("hearing")
    transcript = Transcript(0.3, 60)
    transcript.add(say("Yes."))
    with pytest.raises(EngineFailed):
        await Hearing(worker, broken).text(transcript, Urgency.GENERATE)
    worker.stop()
