"""Recognizes sums in a story, because small models answer them with a guess. No I/O.

"A ticket costs nine pounds. How much are four tickets?" is answered with forty pounds. Asked for
the sum as well, the model says "Four times nine is", and `stated_sums.py` adds the result. Which
sum it is, the model finds.

A story has two amounts and a question for a third one. A question without a story ("How many
legs do two spiders have?") has one amount and is left alone. English, as `llm.language`.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.engines.llm.small.spoken_sums import NUMBER

SAY_SUM: Final = "Say the sum with its result."

_AMOUNT = re.compile(
    rf"(?:{NUMBER})|\b(?:twice|double|half|(?:a|per|each|every) (?:day|week|month|year|hour|dozen)"
    r"|dozen|in a (?:day|week|month|year)|once|a third|a quarter)\b"
)
_NUMBER = re.compile(NUMBER)
_ASKS = re.compile(
    r"\b(?:how (?:much|many|old|far|long|tall|high|heavy|warm|cold|hot|deep|fast|late)"
    r"|what(?:'s| is| was| does| do| did| will|'ll)? (?:the |my |our |his |her |its )?(?:\w+ )?"
    r"(?:total|left|cost|costs|pay|price|change|rest|sum|age|temperature|weight|distance|profit|it"
    r"|that|they|i|we|time)\b)[^?]*\?\W*$"
)
# Nobody counts with these numbers, and times of the day have another arithmetic.
_OTHER_NUMBERS = re.compile(
    r"\b(?:numbers?|code|pin|room|extension|floor|chapter|page|step|one of|o'clock|(?:half|quarter"
    r"|minutes|\w+teen|ten|twenty|five) (?:past|to) \w+|[ap]\.?m)\b"
)


def asks_for_story_sum(text: str) -> bool:
    """Return whether a text tells two amounts or more and asks for another one."""
    asked = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", text.casefold().replace("’", "'"))
    if not _ASKS.search(asked) or _OTHER_NUMBERS.search(asked):
        return False
    return len(_AMOUNT.findall(asked)) >= 2 and bool(_NUMBER.search(asked))
