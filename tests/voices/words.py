"""Words of a text as they are spoken, and the errors between two texts. No I/O, no models.

Both texts are normalized in the same way, so that "5", "five" and "Five." are the same word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from num2words import num2words

_SIGNS = {"&": " and ", "%": " percent ", "+": " plus ", "#": " pound ", "*": " star "}
_SPELLINGS = {
    "ok": "okay",
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "juliett": "juliet",
    "fourtieth": "fortieth",
    "grey": "gray",
    "cancelled": "canceled",
    "dialled": "dialed",
    "oclock": "o'clock",
    # As the texts of the recordings have them.
    "represenatives": "representatives",
    "decending": "descending",
}
_CONTRACTIONS = {
    "won't": "will not",
    "can't": "cannot",
    "can not": "cannot",
    "n't": " not",
    "i'm": "i am",
    "'re": " are",
    "'ve": " have",
    "'ll": " will",
    "that's": "that is",
    "it's": "it is",
    "let's": "let us",
    "un-indent": "unident",
    "witheld": "withheld",
    "umute": "unmute",
}
# What a recognizer writes for the name of a letter. Used only for sets of letters.
LETTER_NAMES = {
    **dict.fromkeys(("ay", "eh"), "a"),
    **dict.fromkeys(("be", "bee"), "b"),
    **dict.fromkeys(("see", "sea"), "c"),
    "dee": "d",
    **dict.fromkeys(("ef", "eff"), "f"),
    **dict.fromkeys(("gee", "ji"), "g"),
    **dict.fromkeys(("aitch", "haitch"), "h"),
    **dict.fromkeys(("eye", "aye"), "i"),
    **dict.fromkeys(("jay", "jae"), "j"),
    **dict.fromkeys(("kay", "cay"), "k"),
    **dict.fromkeys(("el", "ell"), "l"),
    "em": "m",
    "en": "n",
    **dict.fromkeys(("oh", "owe"), "o"),
    **dict.fromkeys(("pea", "pee"), "p"),
    **dict.fromkeys(("queue", "cue", "que"), "q"),
    **dict.fromkeys(("are", "ar"), "r"),
    **dict.fromkeys(("es", "ess"), "s"),
    **dict.fromkeys(("tea", "tee"), "t"),
    **dict.fromkeys(("you", "yu"), "u"),
    "vee": "v",
    **dict.fromkeys(("ex", "eks"), "x"),
    **dict.fromkeys(("why", "wye"), "y"),
    **dict.fromkeys(("zee", "zed"), "z"),
}
# Words that sound like another one. Used only for single words, which have no context.
HOMOPHONES = {"four": "for", "ours": "hours", "you're": "your", "knew": "new", "too": "to"}
# What a recognizer writes for a number that is spoken alone. Used only for sets of digits.
NUMBER_NAMES = {"to": "two", "too": "two", "for": "four", "ate": "eight", "won": "one"}
_TOKEN = re.compile(r"\d+(?:st|nd|rd|th)\b|\d+|[^\W\d_]+(?:'[^\W\d_]+)*")
_MAGNITUDES = ("hundred", "thousand", "million", "billion")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}\b)")
_INITIALS = re.compile(r"\b(?:[a-z]\.){2,}")


@dataclass(frozen=True)
class Errors:
    """Differences of a heard text from the spoken one, in words.

    words    words that were spoken
    dropped  of these, words for which nothing was heard
    """

    words: int
    substituted: int
    dropped: int
    added: int

    @property
    def total(self) -> int:
        """The number of errors."""
        return self.substituted + self.dropped + self.added


def spoken_words(text: str, kind: str = "prose") -> list[str]:
    """Return the words of a text in lower case, with numbers in words.

    kind  "prose": numbers are cardinals or ordinals; "digits": digit by digit; "letters": as
          digits, and names of letters are letters; "word": as prose, and homophones are equal
    """
    text = text.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for short, long in _CONTRACTIONS.items():
        text = text.replace(short, long)
    text = _INITIALS.sub(lambda found: found[0].replace(".", ""), text)
    if kind == "letters":
        text = text.replace("double you", "w").replace("double u", "w")
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    if kind in ("prose", "word"):
        text = _GROUPED.sub("", text)
    words: list[str] = []
    for token in _TOKEN.findall(text):
        words += _in_words(token, kind)
    # "100" is written for "hundred", too.
    return [
        word
        for word, following in pairwise([*words, ""])
        if word != "one" or not following.startswith(_MAGNITUDES)
    ]


def _in_words(token: str, kind: str) -> list[str]:
    if token[0].isdigit() and not token.isdigit():
        return _split(num2words(int(token[:-2]), to="ordinal"))
    if token.isdigit():
        # Year-like and long numbers are read digit by digit in all kinds.
        if kind in ("prose", "word") and len(token) <= 3 and not token.startswith("0"):
            return _split(num2words(int(token)))
        return [num2words(int(digit)) for digit in token]
    token = _SPELLINGS.get(token, token)
    if kind == "letters":
        token = LETTER_NAMES.get(token, token)
        return list(token) if 1 < len(token) <= 7 and not _VOWEL.search(token) else [token]
    names = {"digits": NUMBER_NAMES, "word": HOMOPHONES}.get(kind, {})
    return [names.get(token, token)]


_VOWEL = re.compile("[aeiou]")


def _split(number: str) -> list[str]:
    return [word for word in re.findall("[a-z]+", number) if word != "and"]


def compare(spoken: Sequence[str], heard: Sequence[str]) -> Errors:
    """Return the errors of the cheapest alignment.

    Two words of one side that are one word of the other ("voice mail", "voicemail") are right.
    """
    rows, columns = len(spoken) + 1, len(heard) + 1
    best: list[list[tuple[int, int, int, int]]] = [[(0, 0, 0, 0)] * columns for _ in range(rows)]
    for i in range(rows):
        for j in range(columns):
            if not i and not j:
                continue
            ways = []
            if i and j:
                ways.append(_step(best[i - 1][j - 1], substituted=spoken[i - 1] != heard[j - 1]))
            if i:
                ways.append(_step(best[i - 1][j], dropped=True))
            if j:
                ways.append(_step(best[i][j - 1], added=True))
            if i > 1 and j and spoken[i - 2] + spoken[i - 1] == heard[j - 1]:
                ways.append(best[i - 2][j - 1])
            if j > 1 and i and heard[j - 2] + heard[j - 1] == spoken[i - 1]:
                ways.append(best[i - 1][j - 2])
            best[i][j] = min(ways)
    _, substituted, dropped, added = best[-1][-1]
    return Errors(len(spoken), substituted, dropped, added)


def _step(
    before: tuple[int, int, int, int],
    substituted: bool = False,
    dropped: bool = False,
    added: bool = False,
) -> tuple[int, int, int, int]:
    total, subs, drops, adds = before
    cost = substituted + dropped + added
    return total + cost, subs + substituted, drops + dropped, adds + added


def total(errors: Iterable[Errors]) -> Errors:
    """Return the sum of errors."""
    found = list(errors)
    return Errors(
        sum(each.words for each in found),
        sum(each.substituted for each in found),
        sum(each.dropped for each in found),
        sum(each.added for each in found),
    )


def error_percent(errors: Errors) -> float:
    """Return the word error rate in percent; 0 of no words."""
    return 100 * errors.total / errors.words if errors.words else 0.0
