"""Converts the text of a language model to the words that a person would say.

Plain words are left to the G2P, which knows homographs and acronyms. Numbers must not reach the
G2P, because it combines them wrongly with symbols: it read "50%" after a price as "fifty pounds
percent". Accepts any text without raising an error. No I/O.

Every stage turns one kind of text into words, so that later stages do not see it. The order follows
from what would be misread otherwise:

- markup and addresses first: their dots, slashes and digits mean nothing to the other rules;
- abbreviations and Roman numerals while numbers are still digits ("p. 12", "Rm. 101");
- differences, before the rules that take their dashes for ranges, dates and codes;
- comparisons, which stay in front of what follows as "less than" or "about";
- dates, codes, ratios and times, whose hyphens, slashes and colons are not ranges or fractions;
- plus and minus, after the dates and codes, which have hyphens, too;
- money, measures and their ranges, from the most specific to bare fractions, ranges and numbers;
- symbols that are left.
"""

from __future__ import annotations

import re

from appliance.engines.tts.text import dates
from appliance.engines.tts.text.abbreviations import ABBREVIATIONS
from appliance.engines.tts.text.addresses import ADDRESSES
from appliance.engines.tts.text.algebra import ALGEBRA
from appliance.engines.tts.text.characters import keep_sayable, unify
from appliance.engines.tts.text.clinical import CLINICAL
from appliance.engines.tts.text.codes import CODES
from appliance.engines.tts.text.fractions import FRACTIONS, MIXED, RATIOS
from appliance.engines.tts.text.kitchen import KITCHEN
from appliance.engines.tts.text.markup import MARKUP
from appliance.engines.tts.text.money import MONEY, MONEY_SIGNS
from appliance.engines.tts.text.numbers import BARE, FORMS
from appliance.engines.tts.text.paths import PATHS
from appliance.engines.tts.text.ranges import RANGES, WORD_RANGES
from appliance.engines.tts.text.roman import ROMAN
from appliance.engines.tts.text.rule import Rules, apply
from appliance.engines.tts.text.signs import ARITHMETIC, COMPARISONS, SIGNS
from appliance.engines.tts.text.sums import SUMS
from appliance.engines.tts.text.symbols import SYMBOLS, TIDY
from appliance.engines.tts.text.temperatures import TEMPERATURES
from appliance.engines.tts.text.threads import THREADS
from appliance.engines.tts.text.times import TIMES
from appliance.engines.tts.text.units import DIMENSIONS, MEASURES, RATES

# Some rules take quadratic time, so text is processed in chunks of about 400 characters. Phrases
# of a reply are shorter than one chunk.
_CHUNK = re.compile(r"\S.{0,400}(?=\s|$)|\S{1,400}", re.DOTALL)


def _stages(dates_in_order: Rules) -> tuple[Rules, ...]:
    return (
        ADDRESSES,
        PATHS,
        CLINICAL,
        KITCHEN,
        ABBREVIATIONS,
        TEMPERATURES,
        ROMAN,
        ALGEBRA,
        SUMS,
        COMPARISONS,
        WORD_RANGES,
        dates_in_order,
        THREADS,
        CODES,
        RATES,
        RATIOS,
        TIMES,
        FORMS,
        DIMENSIONS,
        MONEY_SIGNS,
        SIGNS,
        MONEY,
        MEASURES,
        ARITHMETIC,
        MIXED,
        RANGES,
        FRACTIONS,
        BARE,
        SYMBOLS,
    )


_AMERICAN = _stages(dates.AMERICAN)
_BRITISH = _stages(dates.BRITISH)


def normalize(text: str, british: bool = False) -> str:
    """Return the words to be spoken, with punctuation; '' if there are none.

    Punctuation is kept because the voice model derives pauses and intonation from it. With
    `british`, 3/4/2024 is read as the third of April.
    """
    text = apply(MARKUP, unify(text))
    stages = _BRITISH if british else _AMERICAN
    words = " ".join(_to_words(chunk, stages) for chunk in _CHUNK.findall(text))
    words = apply(TIDY, words)
    return words.strip() if any(map(str.isalnum, words)) else ""


def _to_words(text: str, stages: tuple[Rules, ...]) -> str:
    for rules in stages:
        text = apply(rules, text)
    return keep_sayable(text)
