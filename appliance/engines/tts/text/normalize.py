"""Converts the text of a language model to the words that a person would say.

Markup and emoji are dropped. Addresses, times, dates, money, measures, abbreviations and numbers
become words. Plain words are left to the G2P, which knows homographs and acronyms. Numbers must not
reach the G2P, because it combines them wrongly with symbols: it read "50%" after a price as "fifty
pounds percent". Accepts any text without raising an error. No I/O.
"""

from __future__ import annotations

import re
import unicodedata

from appliance.engines.tts.text import lexicon as lex
from appliance.engines.tts.text import rules

# Some rules take quadratic time, so text is processed in chunks of about 400 characters. Phrases
# of a reply are shorter than one chunk.
_CHUNK = re.compile(r"\S.{0,400}(?=\s|$)|\S{1,400}", re.DOTALL)


def normalize(text: str, british: bool = False) -> str:
    """Return the words to be spoken, with punctuation; '' if there are none.

    Punctuation is kept because the voice model derives pauses and intonation from it. With
    `british`, 3/4/2024 is read as the third of April.
    """
    text = re.sub(r"[^\S\n]*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", _unify_characters(text)))
    text = _apply(rules.MARKUP, text)
    words = " ".join(_to_words(chunk, british) for chunk in _CHUNK.findall(text))
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
    """Replace ligatures and styled letters with plain letters, control characters with spaces."""
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
    """Remove emoji, pictographs and letters that an English voice cannot pronounce."""
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
