"""Turns what a language model writes into what a person would say.

Markup and emoji are left out; addresses, times, dates, money, measures, abbreviations and numbers
become words. Words themselves are left to the G2P, which knows homographs and acronyms; of numbers
it gets none, because it joins them wrongly with symbols ("50%" after a price became "fifty pounds
percent"). Whatever the text, nothing is raised.
"""

from __future__ import annotations

import re
import unicodedata

from appliance.engines.tts.text import lexicon as lex
from appliance.engines.tts.text import rules

# Some rules take time that grows with the square of the length; no phrase of a reply is this long.
_PIECE = re.compile(r"\S.{0,400}(?=\s|$)|\S{1,400}", re.DOTALL)


def normalize(text: str, british: bool = False) -> str:
    """Words to be spoken, with the punctuation that shapes them; '' if there are none.

    `british` reads 3/4/2024 as the third of April.
    """
    text = re.sub(r"[^\S\n]*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", _characters(text)))
    text = _apply(rules.MARKUP, text)
    said = " ".join(_say(piece, british) for piece in _PIECE.findall(text))
    said = _apply(rules.TIDY, said)
    return said.strip() if any(map(str.isalnum, said)) else ""


def _say(text: str, british: bool) -> str:
    dates = rules.BRITISH_DATES if british else rules.AMERICAN_DATES
    stages = (rules.ADDRESSES, dates, rules.QUANTITIES, rules.ABBREVIATIONS, rules.SYMBOLS)
    for stage in stages:
        text = _apply(stage, text)
    return _only_latin(text)


def _apply(table: tuple[rules.Rule, ...], text: str) -> str:
    for pattern, replacement in table:
        text = pattern.sub(replacement, text)
    return text


def _characters(text: str) -> str:
    """One spelling of every character: no controls, ligatures, full-width or styled letters."""
    text = text.translate(lex.CHARACTERS)
    kept = []
    for char in text:
        if char in lex.KEEP:
            kept.append(char)
            continue
        plain = unicodedata.normalize("NFKC", char)
        kept.append(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else plain)
    return unicodedata.normalize("NFC", "".join(kept))


def _only_latin(text: str) -> str:
    """Leaves out emoji, pictures and letters that an English voice has no sound for."""
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
