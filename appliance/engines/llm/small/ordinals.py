"""Whether a number that was spoken alone is an ordinal ("sixth") or not ("six"). No I/O.

The last sound of an ordinal is soft, and a number that stands alone is mostly no ordinal in the
texts that recognizers are trained on. So both forms are compared by the second recognizer's
probabilities, without a part of the preference that it has before it hears anything
(docs/quality.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from num2words import num2words

from appliance.engines.llm.small.vote import spoken_key

# How much more probable, as a logarithm, Whisper's decoder holds a number than its ordinal if it
# hears silence: the least of 31 numbers, which have 3.3 to 7.7. The rest stays, because ordinals
# are rarer in calls, too.
PREFERENCE: Final = 3.3
NUMBERS: Final = (*range(1, 21), *range(30, 101, 10), 10**3, 10**6, 10**9)


def _forms(number: int) -> tuple[list[str], list[str]]:
    word, ordinal = (
        num2words(number, to=kind).removeprefix("one ") or "one" for kind in ("cardinal", "ordinal")
    )
    others = [word, str(number)]
    if number >= 20:  # what is heard of "eightieth" and "millionth"
        others += [word.removesuffix("y") + "ies" if word[-1] == "y" else word + "s", f"{number}s"]
    return others, [ordinal, num2words(number, to="ordinal_num")]


def _written(words: Iterable[str]) -> list[str]:
    """Return what a recognizer writes for one of these words alone."""
    return [word.capitalize() + end for word in words for end in (".", "")]


_FORMS: Final = {number: _forms(number) for number in NUMBERS}
_NUMBERS: Final = {
    spoken_key(word): number for number, forms in _FORMS.items() for word in (*forms[0], *forms[1])
}
_ORDINALS: Final = frozenset(spoken_key(word) for forms in _FORMS.values() for word in forms[1])


def number_forms(text: str) -> tuple[list[str], list[str]] | None:
    """Return what may be written for the number in a text: other forms, and ordinals.

    Returns None unless the text is a single number, in figures or as one word.
    """
    number = _NUMBERS.get(spoken_key(text))
    if number is None:
        return None
    others, ordinals = _FORMS[number]
    return _written(others), _written(ordinals)


def choose_form(text: str, others: Iterable[float], ordinals: Iterable[float]) -> str:
    """Return the text of a number as it is, or its other form if that is more probable.

    others, ordinals  log-probabilities of what `number_forms` returned
    """
    is_ordinal = _sum(ordinals) + PREFERENCE > _sum(others)
    if is_ordinal == (spoken_key(text) in _ORDINALS):
        return text
    forms = number_forms(text)
    return text if forms is None else forms[is_ordinal][0]


def _sum(logarithms: Iterable[float]) -> float:
    return float(np.logaddexp.reduce(list(logarithms)))
