"""English text to Kokoro's phonemes: misaki, with nothing fetched and nothing GPL loaded.

misaki asks spaCy for its model by name and downloads it when it is not installed; here it is
loaded from our own folder and misaki's constructor is never run. misaki's own fallback for unknown
words imports phonemizer (GPL-3); ours calls the espeak-ng program, and without it spells the word.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import spacy
import spacy.cli
from misaki import en

from appliance import journal
from appliance.errors import MissingWeights

TIMEOUT_SECONDS = 1.0  # one run takes about 20 ms
CACHED_WORDS = 4096
MAX_WORD_CHARS = 60

# From espeak's IPA, printed with ties, to the phonemes Kokoro was trained on; longest first.
# The table is that of misaki 0.9.4, misaki/espeak.py, class EspeakFallback.
_COMMON = (
    ("ʔˌn̩", "tn"),
    ("ʔn̩", "tn"),
    ("a^ɪ", "I"),
    ("a^ʊ", "W"),
    ("d^ʒ", "ʤ"),
    ("e^ɪ", "A"),
    ("t^ʃ", "ʧ"),
    ("ɔ^ɪ", "Y"),
    ("ə^l", "ᵊl"),
    ("ʲo", "jo"),
    ("ʲə", "jə"),
    ("ʲ", ""),
    ("ɚ", "əɹ"),
    ("e", "A"),
    ("r", "ɹ"),
    ("x", "k"),
    ("ç", "k"),
    ("ɐ", "ə"),
    ("ɬ", "l"),
    ("\u0303", ""),
)
_BRITISH = (("A^ə", "ɛː"), ("iə", "ɪə"), ("ə^ʊ", "Q"))
_AMERICAN = (("o^ʊ", "O"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""))
_LAST = (("o", "ɔ"), ("ɾ", "T"), ("ʔ", "t"), ("^", ""))


def to_tts(ipa: str, british: bool) -> str:
    """espeak's IPA with '^' as tie -> Kokoro's phonemes."""
    text = re.sub(r"\([a-z-]+\)", "", ipa).strip()  # "(fr)": espeak changed the language
    for old, new in _COMMON:
        text = text.replace(old, new)
    text = re.sub(r"(\S)\u0329", r"ᵊ\1", text).replace("\u0329", "")
    for old, new in (*(_BRITISH if british else _AMERICAN), *_LAST):
        text = text.replace(old, new)
    return text


class Espeak:
    """The program's pronunciations, remembered. Without the program every answer is None."""

    def __init__(self, british: bool, program: str = "espeak-ng") -> None:
        self._british = british
        self._path = shutil.which(program)
        self._known: OrderedDict[str, str | None] = OrderedDict()
        if self._path is None:
            journal.get().warning(
                "espeak-ng is not installed and unknown words are spelled out", engine="tts"
            )

    def learn(self, words: Iterable[str]) -> None:
        """Looks up all words that are not known yet, in one run of the program."""
        wanted = [word for word in dict.fromkeys(words) if word not in self._known]
        spoken = [_plain(word) for word in wanted]
        answers = self._run(spoken) if any(spoken) else [""] * len(wanted)
        for word, ipa in zip(wanted, answers, strict=True):
            self._known[word] = to_tts(ipa, self._british) or None
        while len(self._known) > CACHED_WORDS:
            self._known.popitem(last=False)

    def phonemes(self, word: str) -> str | None:
        """Kokoro's phonemes for a word, or None if the program has no answer."""
        if word not in self._known:
            self.learn([word])
        return self._known.get(word)

    def _run(self, words: list[str]) -> list[str]:
        """One line of IPA for every word; empty lines when the program fails or is too slow."""
        nothing = [""] * len(words)
        if self._path is None:
            return nothing
        language = "en-gb" if self._british else "en-us"
        try:
            done = subprocess.run(
                [self._path, "-q", "--ipa", "--tie=^", "-v", language],
                input="".join(f"{word}\n" for word in words),
                capture_output=True,
                encoding="utf-8",
                timeout=TIMEOUT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError, UnicodeError) as problem:
            journal.get().warning(
                "espeak-ng failed", engine="tts", caused_by=type(problem).__name__
            )
            return nothing
        lines = [line.strip() for line in done.stdout.splitlines()]
        return lines if len(lines) == len(words) else nothing


def _plain(word: str) -> str:
    """Only letters, digits, apostrophes and hyphens: espeak reads '[[' and '<' as commands."""
    kept = "".join(c if c.isalnum() or c in "'-" else " " for c in word)
    return " ".join(kept.split())[:MAX_WORD_CHARS]


# misaki uses the tagger; the rest of the spaCy model would cost 20 MB and be idle.
UNUSED_PIPES = ("parser", "ner", "attribute_ruler", "lemmatizer", "senter")
SPACY_FOLDER = "en_core_web_sm"

_STRESSED = "ˈˌ"


class _Misaki(en.G2P):  # type: ignore[misc]
    """misaki's English G2P around a spaCy model that is already loaded."""

    def __init__(self, nlp: Any, british: bool, fallback: Any) -> None:
        # Not calling super().__init__ is the point: it would download.
        self.version = None
        self.british = british
        self.nlp = nlp
        self.lexicon = en.Lexicon(british)
        self.fallback = fallback
        self.unk = ""


class _Accent:
    """American or British English."""

    def __init__(self, nlp: Any, british: bool, espeak: Espeak) -> None:
        self._espeak = espeak
        self._unknown: list[str] = []
        self._collecting = False
        self._misaki = _Misaki(nlp, british, self._fallback)

    def phonemes(self, text: str) -> str:
        """Where words are unknown, the first pass finds them, for one run of espeak-ng."""
        self._unknown, self._collecting = [], True
        phonemes = self._run(text)
        self._collecting = False
        if self._unknown:
            self._espeak.learn(self._unknown)
            phonemes = self._run(text)
        return phonemes

    def _run(self, text: str) -> str:
        with self._misaki.nlp.memory_zone():  # or spaCy remembers every word it ever saw
            return str(self._misaki(text, preprocess=False)[0])

    def _fallback(self, token: Any) -> tuple[str, int]:
        if self._collecting:
            self._unknown.append(token.text)
            return "", 1
        return self._espeak.phonemes(token.text) or self._spelled(token.text), 1

    def _spelled(self, word: str) -> str:
        letters = "".join(c for c in word.upper() if "A" <= c <= "Z")
        return str(self._misaki.lexicon.get_NNP(letters)[0] or "") if letters else ""


class G2P:
    """Text to phonemes, American and British. One thread at a time."""

    def __init__(self, weights: Path, espeak_program: str = "espeak-ng") -> None:
        """Loads the spaCy model from `weights`. Raises MissingWeights."""
        folder = weights / SPACY_FOLDER
        if not (folder / "config.cfg").is_file():
            raise MissingWeights(path=str(folder))
        _close_the_ways_out()
        self._nlp = spacy.load(folder, exclude=list(UNUSED_PIPES))
        self._program = espeak_program

    def phonemes(self, text: str, british: bool = False) -> str:
        """Phonemes of a normalized text, with its punctuation; '' when nothing can be said.

        Never raises for a text: where misaki stumbles over the whole, its words are taken singly.
        """
        accent = self._accent(british)
        try:
            said = accent.phonemes(text)
        except Exception as problem:  # misaki's code asserts and indexes; any text may come here
            journal.get().warning(
                "a phrase is pronounced word by word",
                engine="tts",
                caused_by=type(problem).__name__,
            )
            said = " ".join(_singly(accent, word) for word in text.split())
        said = " ".join(said.split())
        return said if any(char.isalpha() for char in said) else ""

    @functools.cache  # noqa: B019  (one G2P lives as long as its process)
    def _accent(self, british: bool) -> _Accent:
        return _Accent(self._nlp, british, Espeak(british, self._program))


def _singly(accent: _Accent, word: str) -> str:
    try:
        return accent.phonemes(word)
    except Exception:
        return ""


def _close_the_ways_out() -> None:
    """misaki prints what it cannot read, which is a caller's words, and spaCy can download."""
    en.print = lambda *_: None

    def refuse(*_: object, **__: object) -> None:
        raise MissingWeights(path=SPACY_FOLDER)

    vars(spacy.cli)["download"] = refuse
