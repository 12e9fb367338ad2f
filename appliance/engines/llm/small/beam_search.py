"""Beam search: the most probable texts of a decoder, token by token. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from appliance.engines.llm.loudness import Samples


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A beginning of the text.

    score  sum of the log-probabilities of the tokens, and of the end if the text has `ended`
    """

    tokens: tuple[int, ...] = ()
    score: float = 0.0
    ended: bool = False

    @property
    def confidence(self) -> float:
        """Mean log-probability of the tokens; -inf if there are none."""
        count = len(self.tokens) + self.ended
        return self.score / count if count else -math.inf


class Beam:
    """Beam search: keeps the `width` most probable texts. A width of 1 is greedy decoding.

    `end` is the id of the token that ends a text. The search is done when it has `wanted` texts,
    and one of them is more probable per token than those still open. `margin` is the largest
    difference of the log-probabilities of the texts that are kept.
    """

    def __init__(self, width: int, end: int, wanted: int = 1, margin: float = math.inf) -> None:
        self._end = end
        self._width = width
        self._margin = margin
        self._wanted = wanted
        self.open = [Hypothesis()]
        self.ended: list[Hypothesis] = []

    def advance(self, rows: Sequence[Samples]) -> list[int]:
        """Extend each open text by one token. Returns the numbers of the texts that were extended.

        rows  log-probabilities of the next token, for each open text
        """
        extended: list[tuple[float, int, int]] = []
        for number, row in enumerate(rows):
            # One more than the width, because one of them may be the end.
            likely = most_probable(row, self._width + 1)
            score = self.open[number].score
            extended += [(score + float(row[token]), number, token) for token in likely]
        texts: list[Hypothesis] = []
        parents: list[int] = []
        for score, number, token in sorted(extended, reverse=True):
            if texts and score < texts[0].score - self._margin:
                break
            tokens = self.open[number].tokens
            if token == self._end:
                self.ended.append(Hypothesis(tokens, score, ended=True))
            else:
                texts.append(Hypothesis((*tokens, token), score))
                parents.append(number)
            if len(texts) == self._width:
                break
        self.open = texts
        return parents

    @property
    def is_done(self) -> bool:
        """Whether the search can stop."""
        if len(self.ended) < self._wanted:
            return False
        best = max(each.confidence for each in self.ended)
        return all(each.confidence <= best for each in self.open)

    @property
    def best(self) -> Hypothesis:
        """The most probable text per token; one that has ended, if any."""
        return max(self.ended or self.open, key=lambda each: each.confidence)


def most_probable(row: Samples, count: int) -> list[int]:
    """Return the numbers of the `count` highest scores, highest first.

    Sorting the whole vocabulary takes a third of the time of a decoder run.
    """
    rest, numbers = row.copy(), []
    for _ in range(count):
        numbers.append(int(rest.argmax()))
        rest[numbers[-1]] = -math.inf
    return numbers


def log_probabilities(logits: Samples) -> Samples:
    """Return the logarithms of the softmax of `logits`."""
    shifted = logits - logits.max()
    normalized: Samples = shifted - np.log(np.exp(shifted).sum())
    return normalized
