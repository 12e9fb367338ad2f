"""Texts that are spoken in the same way, such as "12th" and "Twelfth.". No I/O."""

from __future__ import annotations

import re

from num2words import num2words

# "100" is written for "hundred", too.
_ONE = re.compile(r"\bone (?=(?:hundred|thousand|million|billion))")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def spoken_key(text: str) -> str:
    """Return what is equal for texts that are spoken in the same way."""
    words = " ".join(_spoken_form(word) for word in _WORD.findall(text.casefold()))
    return _ONE.sub("", words)


def _spoken_form(word: str) -> str:
    if word.isdecimal() and len(word) <= 3:
        return str(num2words(int(word)))
    if word[:-2].isdecimal() and word.endswith(("st", "nd", "rd", "th")):
        return str(num2words(int(word[:-2]), to="ordinal"))
    return word
