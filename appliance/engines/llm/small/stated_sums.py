"""Works out the sums that a reply states, because small models get their results wrong. No I/O.

Asked how much is left of fifty dollars after eighteen are spent, a small model says "Fifty minus
eighteen equals twenty." It finds the sum and misses the result. The result is known as soon as the
sum is said, so it is put into the reply, and the model goes on from there:

    Fifty minus eighteen equals| 32.

Only figures and number words with signs between them are a sum; units may follow the numbers
("three cups times seven days is"). English, as `llm.language`.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.llm.small.hints.numbers_in_text import NUMBER, plain
from appliance.engines.llm.small.hints.spoken_sums import sum_result
from appliance.engines.llm.small.hints.step_by_step import STEP_BY_STEP

_SIGN: Final = r"(?:plus|minus|times|multiplied by|divided by|[-+*/×÷−–])"
_NO_UNIT: Final = "plus|minus|times|multiplied|divided|percent|of|is|equals|makes|gives"
_UNITS: Final = rf"(?: (?!(?:{_NO_UNIT})\b|{NUMBER})[a-z]+){{0,2}}"
_TERM: Final = rf"[$£€]?(?:{NUMBER}){_UNITS}"
_STATED = re.compile(
    rf"(?P<sum>{_TERM}(?: {_SIGN} {_TERM})+|(?:{NUMBER})(?: percent|%) of"
    rf" [$£€]?(?:{NUMBER}){_UNITS}"
    rf"|half of (?:{NUMBER}){_UNITS})(?:, (?:which|that))? (?:is|equals|makes|gives|=)$"
)
_ENDS_IN_VERB = re.compile(r"(?:is|equals|makes|gives|=)$", re.IGNORECASE)  # asked at each token
_MOST_CHARS: Final = 200
# "five five five minus two" are digits of a number, "half past five minus two" is a time.
_GOES_ON = re.compile(rf"(?:(?:{NUMBER})|\b(?:past|quarter|half|to))\W*$")
_AFTER_NUMBER = re.compile(rf"(?P<number>{NUMBER}){_UNITS}")


def result_of_stated_sum(said: str) -> str:
    """Return the result of the sum with whose "is" a reply ends so far; '' if it ends otherwise."""
    if not _ENDS_IN_VERB.search(said):
        return ""
    sentence = plain(re.split(r"(?<=[.!?:;])\s", said[-_MOST_CHARS:])[-1])
    match = _STATED.search(sentence)
    if match is None or _GOES_ON.search(sentence[: match.start()]):
        return ""
    without_signs = re.sub(r"[$£€]", "", match["sum"])
    return sum_result(_AFTER_NUMBER.sub(r"\g<number>", without_signs))


class StatedResults:
    """The results to put into a reply to a question with the note `note`.

    A note may have the result, and the model uses it even after wrong numbers.
    """

    def __init__(self, note: str) -> None:
        self._is_story = note == STEP_BY_STEP
        self._works_out = self._is_story or not note

    def after(self, said: str) -> str:
        """Return what follows `said`, the reply so far; '' if it states no sum."""
        result = result_of_stated_sum(said) if self._works_out else ""
        return f" {result}" if result else ""

    def at_end(self, said: str) -> str:
        """Return what follows the complete reply to a story that states its sum and no result."""
        result = result_of_stated_sum(f"{said.rstrip(' .')} is") if self._is_story else ""
        return f" That is {result}." if result else ""
