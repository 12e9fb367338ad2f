"""Short speech is heard by two recognizers, which vote; long speech and noise by one.

Of a number, the second recognizer says whether it is an ordinal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.beam_search import Hypothesis
from appliance.engines.llm.small.moonshine import Recognition
from appliance.engines.llm.small.recognition import filter_words
from appliance.engines.llm.small.short_words import Ballot, VotingRecognizer
from appliance.engines.llm.small.whisper import EncodedSpeech
from appliance.link.engine import INPUT_SAMPLE_RATE

LONG = "Please hold the line."


def texts(**scores: float) -> Ballot:
    """Return a ballot of one-token texts with their log-probabilities."""
    return [(text, Hypothesis((7,), score, ended=True)) for text, score in scores.items()]


class Live:
    """A recognizer with one ballot per hearing of the same speech."""

    def __init__(self, *ballots: Ballot) -> None:
        self.ballots = list(ballots)

    def recognize(
        self, samples: Samples, should_stop: Callable[[], bool] = lambda: False
    ) -> Recognition:
        return Recognition(LONG, -0.1)

    def ballot(self, samples: Samples, should_stop: Callable[[], bool]) -> Ballot:
        return self.ballots.pop(0)


class Short:
    """A second recognizer that always hears the same, and counts how often it is asked.

    ordinal  log-probability of each ordinal; that of all other texts is -3
    """

    def __init__(self, ballot: Ballot, no_speech: float, ordinal: float) -> None:
        self.asked = 0
        self._ballot = ballot
        self._no_speech = no_speech
        self._ordinal = ordinal

    def encode(self, samples: Samples) -> EncodedSpeech:
        self.asked += 1
        return EncodedSpeech({}, len(samples) / INPUT_SAMPLE_RATE)

    def ballot(
        self, speech: EncodedSpeech, should_stop: Callable[[], bool] = lambda: False
    ) -> tuple[Ballot, float]:
        return self._ballot, self._no_speech

    def score_texts(self, speech: EncodedSpeech, texts: Sequence[str]) -> list[float]:
        return [self._ordinal if text.rstrip(".").endswith("th") else -3.0 for text in texts]


def heard(
    live: Sequence[Ballot],
    short: Ballot,
    seconds: float = 1.0,
    no_speech: float = 0.1,
    ordinal: float = -20.0,
) -> tuple[str, int]:
    """Return the text, and how often the second recognizer was asked."""
    second = Short(short, no_speech, ordinal)
    recognizer = VotingRecognizer(Live(*live), second, lambda each: not filter_words(each))
    samples = np.zeros(int(seconds * INPUT_SAMPLE_RATE), np.float32)
    return recognizer.recognize(samples).text, second.asked


def test_certain_word_needs_no_second_recognizer() -> None:
    assert heard([texts(Yes=-0.1)], texts(No=-0.01)) == ("Yes", 0)


def test_second_recognizer_corrects_an_uncertain_letter() -> None:
    assert heard([texts(Age=-0.9, H=-1.2)], texts(H=-0.4)) == ("H", 1)


def test_first_recognizer_wins_where_the_second_one_is_less_sure() -> None:
    assert heard([texts(Papa=-0.6)], texts(Baba=-0.9, papa=-1.6)) == ("Papa", 1)


def test_forms_of_a_number_count_together() -> None:
    assert heard([texts(Eight=-1.2)], [*texts(Ate=-0.7), *texts(eight=-1.5)]) == ("Eight", 1)


def test_certain_number_becomes_an_ordinal_if_that_is_nearly_as_probable() -> None:
    assert heard([texts(Six=-0.1)], [], ordinal=-6.0) == ("Sixth.", 1)
    assert heard([texts(Six=-0.1)], [], ordinal=-9.0) == ("Six", 1)


def test_uncertain_ordinal_becomes_a_number_if_that_is_much_more_probable() -> None:
    assert heard([texts(Sixth=-0.6)], texts(Sixth=-0.9), ordinal=-9.0) == ("Six.", 1)
    assert heard([texts(Sixth=-0.6)], texts(Sixth=-0.9), ordinal=-6.0) == ("Sixth", 1)


@pytest.mark.parametrize("noise", ["You", "Um.", "♪"])
def test_second_recognizer_does_not_turn_noise_into_words(noise: str) -> None:
    text, asked = heard([[(noise, Hypothesis((7,), -0.9, ended=True))]], texts(Thank=-0.1))
    assert not filter_words(Recognition(text, -0.9))
    assert not asked


def test_improbable_words_stay_noise() -> None:
    _, asked = heard([texts(Hello=-3.0)], texts(Hello=-0.1))
    assert not asked


def test_improbable_words_are_noise_if_the_second_recognizer_hears_no_speech() -> None:
    guess, other = texts(Good=-1.7, Okay=-2.6), texts(You=-3.9, beep=-4.6)
    assert heard([guess], other, no_speech=0.82) == ("", 1)
    assert heard([guess], other, no_speech=0.34) == ("Good", 1)


def test_probable_words_are_kept_although_the_second_recognizer_hears_no_speech() -> None:
    assert heard([texts(Yes=-0.6)], texts(Yeah=-0.9, yes=-2.5), no_speech=0.9) == ("Yes", 1)


@pytest.mark.parametrize("seconds", [0.05, 2.5])
def test_other_lengths_are_left_to_the_first_recognizer(seconds: float) -> None:
    assert heard([], texts(No=-0.1), seconds) == (LONG, 0)
