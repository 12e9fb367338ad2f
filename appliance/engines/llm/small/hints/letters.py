"""Answers about the letters of a word, because small models read tokens, not letters. No I/O.

    How many letters are in the word house? -> 5
    How many times is the letter r in strawberry? -> 3
    What is the last letter of Oslo? -> O
    Which letter comes after M? -> N

English, as `llm.language`.
"""

from __future__ import annotations

import re
import string
from typing import Final

from appliance.engines.llm.small.hints.openings import ASKS_TO_KNOW, FILLERS

_QUOTE: Final = "[\"'“”‘’]?"
_WORD: Final = (
    rf"(?:the )?(?:word |name |city |country )?{_QUOTE}(?P<word>[^\W\d_]{{2,}}){_QUOTE}(?: have|"
    rf" has)?"
)
_OPENING: Final = rf"^\W*{FILLERS}{ASKS_TO_KNOW}"
_COUNT = re.compile(
    rf"{_OPENING}how many letters (?:are (?:there )?in|does|has|has got|in|do you count in)"
    rf" {_WORD}\W*$",
    re.IGNORECASE,
)
_COUNT_ONE = re.compile(
    rf"{_OPENING}how (?:many times (?:is|does)|often (?:is|does)) (?:the )?(?:letter )?"
    rf"{_QUOTE}(?P<letter>[a-z]){_QUOTE} (?:(?:appear|occur) )?in {_WORD}\W*$"
    rf"|{_OPENING}how many (?:letters? )?{_QUOTE}(?P<letters>[a-z]){_QUOTE}(?:s|'s|’s)? (?:are"
    rf" (?:there )?)?in "
    rf"(?:the )?(?:word )?{_QUOTE}(?P<within>[^\W\d_]{{2,}}){_QUOTE}\W*$",
    re.IGNORECASE,
)
_END = re.compile(
    rf"{_OPENING}(?:what(?:'s|’s| is)|which is) the (?P<end>first|last) letter (?:of|in)"
    rf" {_WORD}\W*$"
    rf"|{_OPENING}(?:what|which) letter does (?:the )?(?:word |name"
    rf" )?{_QUOTE}(?P<whose>[^\W\d_]{{2,}}){_QUOTE}"
    r" (?P<verb>start|begin|end) with\W*$",
    re.IGNORECASE,
)
_NEXT = re.compile(
    rf"{_OPENING}(?:what|which) letter (?:comes|is)(?: right)? (?P<way>after|before)"
    rf" (?:the )?(?:letter )?{_QUOTE}(?P<letter>[a-z]){_QUOTE}(?: in the alphabet)?\W*$",
    re.IGNORECASE,
)
_NO_WORDS: Final = frozenset(
    {"it", "that", "this", "them", "word", "name", "alphabet", "my", "the"}
)


def letters_result(text: str) -> str:
    """Return the letter or the count that `text` asks for; '' if it asks for something else."""
    if match := _NEXT.search(text):
        alphabet = string.ascii_uppercase
        index = alphabet.index(match["letter"].upper()) + (1 if match["way"] == "after" else -1)
        return alphabet[index] if 0 <= index < len(alphabet) else ""
    if match := _COUNT.search(text):
        return "" if match["word"].casefold() in _NO_WORDS else str(len(match["word"]))
    if match := _COUNT_ONE.search(text):
        word, letter = match["word"] or match["within"], match["letter"] or match["letters"]
        return "" if word.casefold() in _NO_WORDS else str(word.casefold().count(letter.casefold()))
    if match := _END.search(text):
        word = match["word"] or match["whose"]
        is_last = "last" in (match["end"] or "").lower() or (match["verb"] or "").lower() == "end"
        return "" if word.casefold() in _NO_WORDS else word[-1 if is_last else 0].upper()
    return ""
