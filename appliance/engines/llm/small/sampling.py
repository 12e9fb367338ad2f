"""Chooses the next token from the scores of a language model. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]  # the score of each token of the vocabulary
TOP_K = 40


def sample_token(logits: Logits, temperature: float, random: np.random.Generator) -> int:
    """Sample from the TOP_K most likely tokens; at temperature 0, return the most likely."""
    if temperature <= 0:
        return int(logits.argmax())
    best = np.argpartition(logits, -TOP_K)[-TOP_K:]
    weights = np.exp((logits[best] - logits[best].max()) / temperature)
    return int(random.choice(best, p=weights / weights.sum()))


def lower_scores(logits: Logits, tokens: Sequence[int], penalty: float) -> Logits:
    """Return the scores with those of `tokens` lowered."""
    if not tokens:
        return logits
    lowered = logits.copy()
    lowered[list(tokens)] -= penalty
    return lowered
