"""Folds Latin letters beyond Latin-1 to base letters, because the G2P knows no others. No I/O."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"\w+")
# Letters without a decomposition in Unicode.
_FOLDED = {
    "ß": "ss",
    "æ": "ae",
    "ð": "d",
    "ø": "o",
    "þ": "th",
    "đ": "d",
    "ħ": "h",
    "ı": "i",
    "ĸ": "k",
    "ł": "l",
    "ŉ": "n",
    "ŋ": "ng",
    "œ": "oe",
    "ŧ": "t",
    "ƀ": "b",
    "ɓ": "b",
    "ƈ": "c",
    "ɖ": "d",
    "ɗ": "d",
    "ǝ": "e",
    "ə": "e",
    "ɛ": "e",
    "ƒ": "f",
    "ɠ": "g",
    "ƙ": "k",
    "ɲ": "ny",
    "ɔ": "o",
    "ƥ": "p",
    "ƭ": "t",
    "ʋ": "v",
    "ƴ": "y",
    "ƶ": "z",
    "ʒ": "zh",
    "ẞ": "ss",
}


def fold(text: str) -> str:
    """Return text in which words with Latin letters beyond U+00FF have base letters only.

    'Nguyễn' becomes 'Nguyen', and 'Dvořák' 'Dvorak'. Words with letters of Latin-1 only, such as
    'café', and those in other scripts stay.
    """
    if text.isascii():
        return text
    return _WORD.sub(lambda word: _fold_word(word[0]), unicodedata.normalize("NFC", text))


def _fold_word(word: str) -> str:
    return "".join(map(_fold, word)) if any(map(_is_beyond_latin_1, word)) else word


def _is_beyond_latin_1(char: str) -> bool:
    return ord(char) > 0xFF and unicodedata.name(char, "").startswith("LATIN ")


def _fold(char: str) -> str:
    if not unicodedata.name(char, "").startswith("LATIN "):
        return char
    folded = _FOLDED.get(char) or _FOLDED.get(char.lower(), "").capitalize()
    if folded:
        return folded
    bare = "".join(c for c in unicodedata.normalize("NFKD", char) if c.isalpha())
    # A letter with two marks may have a base that is in the table, such as 'ǿ'.
    return bare if bare.isascii() else "".join(_FOLDED.get(c, c) for c in bare)
