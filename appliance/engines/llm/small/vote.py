"""The vote of several recognitions of the same speech. No I/O."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from num2words import num2words

from appliance.engines.llm.small.beam_search import Hypothesis

# "100" is written for "hundred", too.
_ONE = re.compile(r"\bone (?=(?:hundred|thousand|million|billion))")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

Candidate = tuple[str, Hypothesis]


def vote(ballots: Sequence[Sequence[Candidate]]) -> tuple[str, Hypothesis]:
    """Return the text with the highest sum of probabilities over several recognitions.

    Texts that differ only in punctuation, case or the form of numbers are the same: the model
    spreads its probability over "12.", "Twelve" and "Twelve.". The most probable form is returned.
    """
    sums: dict[str, float] = defaultdict(float)
    forms: dict[str, tuple[str, Hypothesis]] = {}
    for ballot in ballots:
        for text, hypothesis in ballot:
            key = spoken_key(text)
            sums[key] += math.exp(hypothesis.score)
            if key not in forms or hypothesis.score > forms[key][1].score:
                forms[key] = text, hypothesis
    return forms[max(sums, key=lambda key: sums[key])]


def leading_probability(ballot: Sequence[Candidate]) -> float:
    """Return the probability of the most probable text of a ballot, in all its forms."""
    sums: dict[str, float] = defaultdict(float)
    for text, hypothesis in ballot:
        sums[spoken_key(text)] += math.exp(hypothesis.score)
    return max(sums.values())


def text_probability(text: str, ballots: Sequence[Sequence[Candidate]]) -> float:
    """Return the probability of a text in all its forms, as the mean of several recognitions."""
    key = spoken_key(text)
    same = (
        each for ballot in ballots for candidate, each in ballot if spoken_key(candidate) == key
    )
    return sum(math.exp(each.score) for each in same) / len(ballots)


def spoken_key(text: str) -> str:
    """Return what is equal for texts that are spoken in the same way."""
    words = " ".join(_spoken_form(word) for word in _WORD.findall(text.casefold()))
    return _ONE.sub("", words)


def repeats_word(text: str) -> bool:
    """Return whether the same word or number follows itself, as in "5, 5" or "no, no"."""
    return any(word == following for word, following in pairwise(spoken_key(text).split()))


def _spoken_form(word: str) -> str:
    if word.isdecimal() and len(word) <= 3:
        return str(num2words(int(word)))
    if word[:-2].isdecimal() and word.endswith(("st", "nd", "rd", "th")):
        return str(num2words(int(word[:-2]), to="ordinal"))
    return word
