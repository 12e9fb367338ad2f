"""Recognizes a sum told as a story that the model is asked to work out step by step. No I/O.

"I had fifty dollars, spent eighteen and found three. How much is left?" has no rule in
`story_sums.py`. The model finds such sums ("First, fifty minus eighteen is") but not their results,
which `stated_sums.py` adds. English, as `llm.language`.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.llm.small.hints.numbers_in_text import NUMBER
from appliance.engines.llm.small.hints.story_words import plain_story

STEP_BY_STEP: Final = "Work it out step by step."

_NUMBER = re.compile(NUMBER)
_AMOUNT = re.compile(
    rf"(?:{NUMBER})|\b(?:twice|double|half|(?:a|an|per|each|every) (?:day|week|month|year|hour)"
    r"|dozen|in a (?:day|week|month|year)|once|a third|a quarter)\b"
)
_ASKS = re.compile(
    r"\b(?:how (?:much|many|old|far|long|tall|high|heavy|warm|cold|hot|deep|fast|late)"
    r"|what(?:'s| is| was| does| do| did| will|'ll)? (?:the |my |our |his |her |its )?(?:\w+ )?"
    r"(?:total|left|cost|costs|pay|price|change|rest|sum|age|temperature|weight|distance|profit|it"
    r"|that|they|i|we|time)\b)[^?]*\?\W*$"
)


def asks_for_story_sum(text: str) -> bool:
    """Return whether a text tells two amounts or more and asks for another one."""
    asked = plain_story(text)
    if not _ASKS.search(asked):
        return False
    return len(_AMOUNT.findall(asked)) >= 2 and bool(_NUMBER.search(asked))
