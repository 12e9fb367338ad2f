"""Single words, letters and ordinals: Moonshine and Whisper vote.

Whisper is asked only if Moonshine is not certain or hears a number, and may find that there is no
speech. Longer speech is recognized by Moonshine alone. docs/quality.md has the error rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from appliance.engines.llm.loudness import Samples
from appliance.engines.llm.small.moonshine import (
    MIN_SECONDS,
    VOTE_SECONDS,
    Recognition,
)
from appliance.engines.llm.small.ordinals import choose_form, number_forms
from appliance.engines.llm.small.vote import (
    Candidate,
    leading_probability,
    text_probability,
    vote,
)
from appliance.engines.llm.small.whisper import EncodedSpeech
from appliance.link.engine import INPUT_SAMPLE_RATE

# Probability of Moonshine's text from which Whisper is not asked. The errors of 264 letters,
# ordinals, digits and short phrases are the same from 0.6 to 1; the time grows (docs/quality.md).
CERTAIN: Final = 0.7
# Probability of no speech from which Whisper rejects the text; the default of its authors (their
# package openai-whisper, option no_speech_threshold).
NO_SPEECH: Final = 0.6
# Probability of the text, as the mean of both recognizers, from which it is not rejected.
PROBABLE: Final = 0.25

Ballot = list[Candidate]
ShouldStop = Callable[[], bool]


class LiveRecognizer(Protocol):
    """What is used of `Moonshine`."""

    def recognize(self, samples: Samples, should_stop: ShouldStop = ...) -> Recognition: ...

    def ballot(self, samples: Samples, should_stop: ShouldStop) -> Ballot: ...


class ShortRecognizer(Protocol):
    """What is used of `Whisper`."""

    def encode(self, samples: Samples) -> EncodedSpeech: ...

    def ballot(
        self, speech: EncodedSpeech, should_stop: ShouldStop = ...
    ) -> tuple[Ballot, float]: ...

    def score_texts(self, speech: EncodedSpeech, texts: Sequence[str]) -> list[float]: ...


class VotingRecognizer:
    """Recognizes speech as `Moonshine` does, but short speech with the vote of a second recognizer.

    is_noise  whether a recognition has no words, as judged for Moonshine. Whisper invents words for
              noise, so it is asked only if Moonshine hears words
    """

    def __init__(
        self,
        live: LiveRecognizer,
        short: ShortRecognizer,
        is_noise: Callable[[Recognition], bool],
    ) -> None:
        self._live = live
        self._short = short
        self._is_noise = is_noise

    def recognize(self, samples: Samples, should_stop: ShouldStop = lambda: False) -> Recognition:
        """Recognize a speech segment. `should_stop` is called before each token."""
        if not MIN_SECONDS <= len(samples) / INPUT_SAMPLE_RATE <= VOTE_SECONDS:
            return self._live.recognize(samples, should_stop)
        ballot = self._live.ballot(samples, should_stop)
        text, best = vote([ballot])
        heard = Recognition(text, best.confidence, best.ended)
        is_certain = leading_probability(ballot) >= CERTAIN
        if self._is_noise(heard) or should_stop() or (is_certain and not number_forms(text)):
            return heard
        speech = self._short.encode(samples)
        if not is_certain:
            other, no_speech = self._short.ballot(speech, should_stop)
            text, _ = vote([ballot, other])
            if no_speech >= NO_SPEECH and text_probability(text, [ballot, other]) < PROBABLE:
                return Recognition("", -math.inf)
        if not should_stop() and (forms := number_forms(text)):
            others, ordinals = forms
            scores = self._short.score_texts(speech, [*others, *ordinals])
            text = choose_form(text, scores[: len(others)], scores[len(others) :])
        return replace(heard, text=text)
