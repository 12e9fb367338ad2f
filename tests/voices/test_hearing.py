"""A compact set of human recordings, heard as in a call. `make voices` has more, and the tables.

The recordings come from Debian's packages, which `ops/setup --tests` downloads. Without them the
tests are skipped; if CI is set, that is a failure.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np
import pytest

from appliance.settings import LLMConfig
from tests.voices import speech
from tests.voices.clips import silence
from tests.voices.hearing import errors
from tests.voices.listen import Listener
from tests.voices.recordings import TEST_PACKAGES, Recordings, missing, scaled
from tests.voices.words import error_percent, spoken_words, total

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache/voices"
ABSENT = missing(FOLDER, TEST_PACKAGES)

pytestmark = pytest.mark.skipif(
    bool(ABSENT) and not os.environ.get("CI"),
    reason=f"no human recordings: ops/setup --tests could not download {', '.join(ABSENT)}",
)

# Word errors in percent: above what was measured (docs/quality.md), because such small sets vary
# with the processor, and below what the faults gave that each set was made for.
BOUNDS = {
    "prompts": 6.0,
    "quiet, -55 dBFS": 12.0,
    "DC offset 0.1": 12.0,
    "prompts > 10 s": 10.0,
    "digit strings": 16.0,
    "letters": 35.0,
    "one word": 25.0,
    "short phrases": 35.0,
}


@functools.cache
def sets() -> speech.Sets:
    return speech.compact_sets(Recordings(FOLDER))


@functools.cache
def listener() -> Listener:
    config, weights = LLMConfig(), ROOT / "weights"
    return Listener(weights / config.hearing_model, weights / config.short_recognizer)


def test_hundred_and_100_are_the_same_word() -> None:
    assert spoken_words("hundredth") == spoken_words("100th.") == ["hundredth"]
    assert spoken_words("101") == spoken_words("one hundred one") == ["hundred", "one"]
    assert spoken_words("one") == ["one"]
    assert spoken_words("") == []


@pytest.mark.parametrize("name", BOUNDS)
def test_word_errors_of_human_recordings_stay_low(name: str) -> None:
    found = []
    for clip in sets()[name]:
        text, _ = listener().used(speech.as_sent(clip.samples).tobytes())
        found.append((errors(clip, text), clip.text, text))
    wrong = [each[1:] for each in found if each[0].total]
    assert error_percent(total(each[0] for each in found)) <= BOUNDS[name], wrong


@pytest.mark.parametrize(
    ("name", "last"),
    [("5555123", ["one", "two", "three"]), ("999 please-try-again", ["please", "try", "again"])],
)
def test_what_follows_repeated_digits_is_heard(name: str, last: list[str]) -> None:
    clip = next(each for each in sets()["digit strings"] if each.name == name)
    text, _ = listener().used(speech.as_sent(clip.samples).tobytes())
    assert spoken_words(text, clip.kind)[-3:] == last


def test_repeated_digits_are_counted() -> None:
    for name in ("5555123", "999", "20222024", "3334445"):
        [clip] = [each for each in sets()["digit strings"] if each.name == name]
        text, _ = listener().used(speech.as_sent(clip.samples).tobytes())
        assert not errors(clip, text).total, text


@pytest.mark.parametrize("name", speech.COMPACT_CORRECTED)
def test_second_recognizer_corrects_letters_and_words(name: str) -> None:
    [clip] = [each for each in sets()["corrected"] if each.name == name]
    text, _ = listener().used(speech.as_sent(clip.samples).tobytes())
    assert not errors(clip, text).total, text


def test_every_letter_and_word_is_heard_as_something() -> None:
    for name in ("letters", "one word"):
        for clip in sets()[name]:
            text, _ = listener().used(speech.as_sent(clip.samples).tobytes())
            assert text, clip.name


def tone(hertz: float) -> np.ndarray:
    time = np.arange(4800) / 16_000
    return np.concatenate([silence(0.5), np.sin(2 * np.pi * hertz * time) * 0.1, silence(0.5)])


def burst(seconds: float) -> np.ndarray:
    """Return noise that fades, like a knock or a cough."""
    size = round(seconds * 16_000)
    noise = np.random.default_rng(4).normal(0, 1, size) * np.exp(-np.arange(size) / size * 4)
    return np.concatenate([silence(0.3), scaled(noise.astype(np.float32), -20.0), silence(0.5)])


@pytest.mark.parametrize(
    "sound",
    [
        silence(3.0),
        tone(425),
        tone(2600),
        burst(0.2),
        burst(0.6),
        scaled(np.random.default_rng(3).normal(0, 1, 48_000).astype(np.float32), -45.0),
    ],
    ids=["silence", "low tone", "high tone", "short burst", "long burst", "noise"],
)
def test_sounds_without_words_are_not_heard(sound: np.ndarray) -> None:
    assert listener().used(speech.as_sent(sound).tobytes())[0] == ""
