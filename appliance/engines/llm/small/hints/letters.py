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
from collections.abc import Callable
from typing import Final

from appliance.engines.llm.small.hints.openings import ASKS_TO_KNOW, FILLERS

_OPENING: Final = rf"^\W*{FILLERS}{ASKS_TO_KNOW}"
_QUOTE: Final = "[\"'“”‘’]?"
_LETTER: Final = rf"{_QUOTE}(?P<letter>[a-z]){_QUOTE}"
_WORD: Final = (
    rf"(?:the )?(?:word |name |city |country )?{_QUOTE}(?P<word>[^\W\d_]{{2,}}){_QUOTE}"
    r"(?: have| has)?"
)
_NO_WORDS: Final = frozenset(
    {"it", "that", "this", "them", "word", "name", "alphabet", "my", "the"}
)


def letters_result(text: str) -> str:
    """Return the letter or the count that `text` asks for; '' if it asks for something else."""
    for question, answer in _QUESTIONS:
        match = re.search(rf"{_OPENING}{question}\W*$", text, re.IGNORECASE)
        if match and match.groupdict().get("word", "").casefold() not in _NO_WORDS:
            return answer(match)
    return ""


def _count_letters(match: re.Match[str]) -> str:
    return str(len(match["word"]))


def _count_letter(match: re.Match[str]) -> str:
    return str(match["word"].casefold().count(match["letter"].casefold()))


def _end_letter(match: re.Match[str]) -> str:
    return match["word"][-1 if match["end"].casefold() in ("last", "end") else 0].upper()


def _neighbour_letter(match: re.Match[str]) -> str:
    index = string.ascii_uppercase.index(match["letter"].upper())
    index += 1 if match["way"].casefold() == "after" else -1
    return string.ascii_uppercase[index] if 0 <= index < len(string.ascii_uppercase) else ""


_QUESTIONS: Final[tuple[tuple[str, Callable[[re.Match[str]], str]], ...]] = (
    (
        rf"how many letters (?:are (?:there )?in|does|has|has got|in|do you count in) {_WORD}",
        _count_letters,
    ),
    (
        rf"how (?:many times|often) (?:is|does) (?:the )?(?:letter )?{_LETTER}"
        rf" (?:(?:appear|occur) )?in {_WORD}",
        _count_letter,
    ),
    (
        rf"how many (?:letters? )?{_LETTER}(?:s|'s|’s)? (?:are (?:there )?)?in {_WORD}",
        _count_letter,
    ),
    (
        rf"(?:what(?:'s|’s| is)|which is) the (?P<end>first|last) letter (?:of|in) {_WORD}",
        _end_letter,
    ),
    (rf"(?:what|which) letter does {_WORD} (?P<end>start|begin|end) with", _end_letter),
    (
        rf"(?:what|which) letter (?:comes|is)(?: right)? (?P<way>after|before)"
        rf" (?:the )?(?:letter )?{_LETTER}(?: in the alphabet)?",
        _neighbour_letter,
    ),
)
