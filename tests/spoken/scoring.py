"""Compares spoken text with the readings of a reference file.

A reference file has one line per case, with tabs between its fields: a category, the written text,
and every reading that counts. Readings are in lower case; a single capital is a letter that is
spelled ("C T scan"), so that it differs from the article. Lines that start with # are comments.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.gateway.speech.phrases import PhraseCutter
from appliance.settings import TTSConfig

Speak = Callable[[str], str]

# In these categories "P M" and "PM" are the same reading.
JOINED_LETTERS = frozenset(("initialism-and-acronym", "time"))
# In this category the G2P decides how a word is read: only its phonemes can be judged.
BY_SOUND = frozenset(("initialism-and-acronym",))

_NUMBER_WORDS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen"
    "|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
)
_AND_IN_NUMBER = re.compile(
    rf"\b(hundred|thousand|million|billion|trillion) and (?=(?:{_NUMBER_WORDS})\b)", re.IGNORECASE
)


@dataclass(frozen=True)
class Case:
    """A written text and its accepted readings."""

    category: str
    written: str
    readings: tuple[str, ...]


@dataclass(frozen=True)
class Wrong:
    """A case that was read in none of the accepted ways."""

    case: Case
    spoken: str

    def __str__(self) -> str:
        expected = self.case.readings[0]
        return f"{self.case.category}: {self.case.written} -> {self.spoken} (not: {expected})"


@dataclass
class Score:
    """Counts per category, and the wrong cases in the order of the file."""

    right: Counter[str] = field(default_factory=Counter)
    count: Counter[str] = field(default_factory=Counter)
    wrong: list[Wrong] = field(default_factory=list)

    def table(self) -> str:
        """Return one line per category."""
        return "\n".join(f"{name:28} {self.right[name]:4} of {n}" for name, n in self.count.items())

    def summary(self) -> str:
        """Return 'N of M'."""
        return f"{self.right.total()} of {self.count.total()}"


def load(path: Path) -> list[Case]:
    """Read a reference file. Raises ValueError with the line number if a line has no reading."""
    cases = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip() or text.startswith("#"):
            continue
        category, *fields = text.split("\t")
        if len(fields) < 2:
            raise ValueError(f"{path}:{number}: expected a category, a text and a reading")
        cases.append(Case(category, fields[0], tuple(fields[1:])))
    return cases


def phrases(text: str) -> list[str]:
    """Return the phrases that a call speaks one by one, with the default settings."""
    cutter = PhraseCutter.of(TTSConfig())
    cut = [*cutter.feed(text), "".join(cutter.flush())]
    return [phrase.strip() for phrase in cut if phrase.strip()]


def in_phrases(speak: Speak) -> Speak:
    """Return `speak` as a call uses it: for every phrase alone."""
    return lambda text: " ".join(map(speak, phrases(text)))


def score(
    cases: Iterable[Case],
    normalize: Speak,
    phonemes: Speak | None = None,
    letters_may_join: bool = False,
) -> Score:
    """Judge `normalize` on every case.

    With `phonemes`, a case is also right if it sounds like one of its readings. With
    `letters_may_join`, "MRI" is right for "M R I" in every category: whether it is spelled, the G2P
    decides. A case for which `normalize` raises an error is wrong.
    """
    result = Score()
    for case in cases:
        result.count[case.category] += 1
        try:
            spoken = normalize(case.written)
        except Exception as error:
            result.wrong.append(Wrong(case, f"raised {error!r}"))
            continue
        if is_right(spoken, case, phonemes, letters_may_join):
            result.right[case.category] += 1
        else:
            result.wrong.append(Wrong(case, spoken))
    return result


def is_right(
    spoken: str, case: Case, phonemes: Speak | None = None, letters_may_join: bool = False
) -> bool:
    """Return whether `spoken` has the words, or with `phonemes` the sound, of a reading."""
    if phonemes is not None:
        if case.category not in BY_SOUND and _has_same_words(spoken, case):
            return True
        return _sounds_the_same(spoken, case, phonemes)
    return _has_same_words(spoken, case, letters_may_join)


def plain_words(text: str) -> str:
    """Return lower-case words without punctuation and without 'and' inside numbers.

    Hyphens and symbols become spaces. Digits stay, so that a number which was not converted to
    words never matches.
    """
    text = unicodedata.normalize("NFC", text).replace("’", "'").replace("İ", "I").lower()
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)
    text = re.sub(r"[^\w']|_", " ", text)
    return _AND_IN_NUMBER.sub(r"\1 ", " ".join(text.split()))


def _has_same_words(spoken: str, case: Case, letters_may_join: bool = False) -> bool:
    words = plain_words(spoken)
    if words in map(plain_words, case.readings):
        return True
    if case.category not in JOINED_LETTERS and not letters_may_join:
        return False
    return any(_letters_may_join(reading).fullmatch(words) for reading in case.readings)


def _letters_may_join(reading: str) -> re.Pattern[str]:
    """'the M R I is' matches 'the m r i is' and 'the mri is'."""
    letters = re.compile(r"\b[A-Z]\b(?: \b[A-Z]\b)*")
    parts, end = [], 0
    for run in letters.finditer(reading):
        parts += [plain_words(reading[end : run.start()]), " ?".join(run[0].lower().split())]
        end = run.end()
    parts.append(plain_words(reading[end:]))
    return re.compile(" ".join(part for part in parts if part))


def _sounds_the_same(spoken: str, case: Case, phonemes: Speak) -> bool:
    heard = _sound(spoken, phonemes)
    return bool(heard) and any(
        _sound(form, phonemes) == heard
        for reading in case.readings
        for form in (_with_capitals(reading, case.written), reading)
    )


def _sound(text: str, phonemes: Speak) -> str:
    """Return phonemes without stress marks, spaces and punctuation."""
    sound = unicodedata.normalize("NFC", phonemes(_AND_IN_NUMBER.sub(r"\1 ", text)))
    return re.sub(r"[^\w]|[ˈˌː_]", "", sound)


def _with_capitals(reading: str, written: str) -> str:
    """Return the reading with the capitals of the written text, which the G2P looks at."""
    forms = {word.lower(): word for word in re.findall(r"[^\W\d_]+(?:'[a-z]+)?", written)}
    words = []
    for word in reading.split():
        form = forms.get(word, word)
        whole_capitals = form.isupper() and len(form) > 1
        words.append("I" if word == "i" else word if whole_capitals else form)
    text = " ".join(words)
    return f"{text[:1].upper()}{text[1:]}."
