"""Turns the text of a language model into the words that a person would say.

Markup and emoji are dropped; addresses, times, dates, money, measures, abbreviations and numbers
become words. Plain words are left to the G2P, which knows homographs and acronyms. No number may
reach it, because it combines numbers and symbols wrongly ("50%" after a price became "fifty pounds
percent"). No text raises an error. No I/O.
"""

from __future__ import annotations

import re
import unicodedata

from appliance.engines.tts.text import lexicon as lex
from appliance.engines.tts.text import rules

# Some rules take time quadratic in the length, so a text is processed in pieces of this size. No
# phrase of a reply is as long.
_PIECE = re.compile(r"\S.{0,400}(?=\s|$)|\S{1,400}", re.DOTALL)


def normalize(text: str, british: bool = False) -> str:
    """The words to be spoken, with the punctuation that shapes them; '' if there are none.

    With `british`, 3/4/2024 is the third of April.
    """
    text = re.sub(r"[^\S\n]*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", _unify_characters(text)))
    text = _apply(rules.MARKUP, text)
    words = " ".join(_to_words(piece, british) for piece in _PIECE.findall(text))
    words = _apply(rules.TIDY, words)
    return words.strip() if any(map(str.isalnum, words)) else ""


def _to_words(text: str, british: bool) -> str:
    dates = rules.BRITISH_DATES if british else rules.AMERICAN_DATES
    stages = (rules.ADDRESSES, dates, rules.QUANTITIES, rules.ABBREVIATIONS, rules.SYMBOLS)
    for stage in stages:
        text = _apply(stage, text)
    return _keep_latin(text)


def _apply(table: tuple[rules.Rule, ...], text: str) -> str:
    for pattern, replacement in table:
        text = pattern.sub(replacement, text)
    return text


def _unify_characters(text: str) -> str:
    """Replace control characters, ligatures, full-width and styled letters by plain ones."""
    text = text.translate(lex.CHARACTERS)
    kept = []
    for char in text:
        if char in lex.KEEP:
            kept.append(char)
            continue
        plain = unicodedata.normalize("NFKC", char)
        kept.append(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else plain)
    return unicodedata.normalize("NFC", "".join(kept))


def _keep_latin(text: str) -> str:
    """Drop emoji, pictures and letters that an English voice cannot pronounce."""
    kept = []
    for char in text:
        if char.isalpha():
            latin = "LATIN" in unicodedata.name(char, "") and ord(char) < 0x2B0
            kept.append(char if latin else " ")
        elif char in lex.SPOKEN_PUNCTUATION or char.isspace():
            kept.append(char)
        elif unicodedata.category(char) in ("Mn", "Cf", "Cs", "Co"):
            continue
        else:
            kept.append(" ")
    return "".join(kept)
