"""English text to Kokoro's phonemes: misaki without downloads, and without loading GPL libraries.

misaki's constructor asks spaCy for its model by name and downloads it when it is not installed.
Here the model is loaded from our own folder and that constructor never runs. misaki's fallback for
unknown words imports phonemizer (GPL-3); ours runs the program espeak-ng, and spells words that it
cannot pronounce.
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

SPACY_FOLDER = "en_core_web_sm"
# misaki uses the tagger only; the other parts of the spaCy model would take 20 MB.
UNUSED_PIPES = ("parser", "ner", "attribute_ruler", "lemmatizer", "senter")

ESPEAK_TIMEOUT_SECONDS = 1.0  # a run takes about 20 ms
CACHED_WORDS = 4096
MAX_WORD_CHARS = 60

# Replacements, in this order, from espeak's IPA with '^' as tie to the phonemes that Kokoro was
# trained on. Source: misaki 0.9.4, misaki/espeak.py, class EspeakFallback.
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


class G2P:
    """Text to phonemes, American and British. For one thread at a time."""

    def __init__(self, weights: Path, espeak_program: str = "espeak-ng") -> None:
        """Load the spaCy model from the folder of all weights. Raises MissingWeights."""
        folder = weights / SPACY_FOLDER
        if not (folder / "config.cfg").is_file():
            raise MissingWeights(path=str(folder))
        _disable_output_and_downloads()
        self._nlp = spacy.load(folder, exclude=list(UNUSED_PIPES))
        self._espeak_program = espeak_program

    def phonemes(self, text: str, british: bool = False) -> str:
        """The phonemes of a normalized text, with its punctuation; '' if it holds no word.

        Never raises for a text: where misaki fails on the whole text, its words are taken singly.
        """
        accent = self._accent(british)
        try:
            phonemes = accent.phonemes(text)
        except Exception as error:  # misaki asserts and indexes, and a text can be anything
            journal.get().warning(
                "a phrase is pronounced word by word",
                engine="tts",
                caused_by=type(error).__name__,
            )
            phonemes = " ".join(_word_phonemes(accent, word) for word in text.split())
        phonemes = " ".join(phonemes.split())
        return phonemes if any(char.isalpha() for char in phonemes) else ""

    @functools.cache  # noqa: B019  (one G2P lives as long as its process)
    def _accent(self, british: bool) -> _Accent:
        return _Accent(self._nlp, british, Espeak(british, self._espeak_program))


class _Accent:
    """American or British English: misaki with espeak-ng as its fallback."""

    def __init__(self, nlp: Any, british: bool, espeak: Espeak) -> None:
        self._espeak = espeak
        self._unknown: list[str] = []
        self._collecting = False
        self._misaki = _Misaki(nlp, british, self._fallback)

    def phonemes(self, text: str) -> str:
        """Phonemes of a text, in two passes if it has unknown words.

        The first pass collects them, so that one run of espeak-ng looks them all up.
        """
        self._unknown, self._collecting = [], True
        phonemes = self._run(text)
        self._collecting = False
        if self._unknown:
            self._espeak.learn(self._unknown)
            phonemes = self._run(text)
        return phonemes

    def _run(self, text: str) -> str:
        with self._misaki.nlp.memory_zone():  # spaCy would keep every word that it ever saw
            return str(self._misaki(text, preprocess=False)[0])

    def _fallback(self, token: Any) -> tuple[str, int]:
        """Phonemes and their rating for a word that misaki's lexicon lacks."""
        if self._collecting:
            self._unknown.append(token.text)
            return "", 1
        return self._espeak.phonemes(token.text) or self._spell(token.text), 1

    def _spell(self, word: str) -> str:
        letters = "".join(c for c in word.upper() if "A" <= c <= "Z")
        return str(self._misaki.lexicon.get_NNP(letters)[0] or "") if letters else ""


class _Misaki(en.G2P):  # type: ignore[misc]
    """misaki's English G2P around a spaCy model that is already loaded."""

    def __init__(self, nlp: Any, british: bool, fallback: Any) -> None:
        # super().__init__() is not called because it would download the spaCy model.
        self.version = None
        self.british = british
        self.nlp = nlp
        self.lexicon = en.Lexicon(british)
        self.fallback = fallback
        self.unk = ""


def _word_phonemes(accent: _Accent, word: str) -> str:
    try:
        return accent.phonemes(word)
    except Exception:
        return ""


def _disable_output_and_downloads() -> None:
    """Stop misaki from printing words that it cannot read, a caller's, and spaCy's downloads."""
    en.print = lambda *_: None

    def refuse(*_: object, **__: object) -> None:
        raise MissingWeights(path=SPACY_FOLDER)

    vars(spacy.cli)["download"] = refuse


class Espeak:
    """Pronunciations by the program espeak-ng, cached.

    Every lookup is None where the program is not installed.
    """

    def __init__(self, british: bool, program: str = "espeak-ng") -> None:
        self._british = british
        self._path = shutil.which(program)
        self._cache: OrderedDict[str, str | None] = OrderedDict()
        if self._path is None:
            journal.get().warning(
                "espeak-ng is not installed and unknown words are spelled out", engine="tts"
            )

    def learn(self, words: Iterable[str]) -> None:
        """Look up all words that are not cached, in one run of the program."""
        missing = [word for word in dict.fromkeys(words) if word not in self._cache]
        lines = [_letters_only(word) for word in missing]
        answers = self._run(lines) if any(lines) else [""] * len(missing)
        for word, ipa in zip(missing, answers, strict=True):
            self._cache[word] = ipa_to_phonemes(ipa, self._british) or None
        while len(self._cache) > CACHED_WORDS:
            self._cache.popitem(last=False)

    def phonemes(self, word: str) -> str | None:
        """Kokoro's phonemes for a word; None if the program has none."""
        if word not in self._cache:
            self.learn([word])
        return self._cache.get(word)

    def _run(self, words: list[str]) -> list[str]:
        """One line of IPA per word; empty lines if the program fails or is too slow."""
        no_answers = [""] * len(words)
        if self._path is None:
            return no_answers
        language = "en-gb" if self._british else "en-us"
        try:
            completed = subprocess.run(
                [self._path, "-q", "--ipa", "--tie=^", "-v", language],
                input="".join(f"{word}\n" for word in words),
                capture_output=True,
                encoding="utf-8",
                timeout=ESPEAK_TIMEOUT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError, UnicodeError) as error:
            journal.get().warning("espeak-ng failed", engine="tts", caused_by=type(error).__name__)
            return no_answers
        lines = [line.strip() for line in completed.stdout.splitlines()]
        return lines if len(lines) == len(words) else no_answers


def _letters_only(word: str) -> str:
    """Keep letters, digits, apostrophes and hyphens: espeak reads '[[' and '<' as commands."""
    kept = "".join(c if c.isalnum() or c in "'-" else " " for c in word)
    return " ".join(kept.split())[:MAX_WORD_CHARS]


def ipa_to_phonemes(ipa: str, british: bool) -> str:
    """Convert espeak's IPA, with '^' as tie, to Kokoro's phonemes."""
    text = re.sub(r"\([a-z-]+\)", "", ipa).strip()  # "(fr)": espeak switched the language
    for old, new in _COMMON:
        text = text.replace(old, new)
    text = re.sub(r"(\S)\u0329", r"ᵊ\1", text).replace("\u0329", "")
    for old, new in (*(_BRITISH if british else _AMERICAN), *_LAST):
        text = text.replace(old, new)
    return text
