"""Converts English text to Kokoro's phonemes: misaki without downloads or GPL libraries.

misaki's constructor loads a spaCy model by name and downloads it if it is not installed. Here the
model is loaded from the weights folder, and that constructor is not called. misaki's fallback for
unknown words imports phonemizer (GPL-3). Ours runs the program espeak-ng, and spells out words that
espeak-ng cannot pronounce.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import spacy
import spacy.cli
from misaki import en

from appliance import journal
from appliance.engines.tts import homographs, initialisms
from appliance.engines.tts.espeak import Espeak
from appliance.engines.tts.homographs import Change
from appliance.engines.tts.word_context import Word
from appliance.errors import MissingWeights

SPACY_FOLDER = "en_core_web_sm"
# misaki uses only the tagger; the other pipes of the spaCy model would take 20 MB.
UNUSED_PIPES = ("parser", "ner", "attribute_ruler", "lemmatizer", "senter")


class G2P:
    """Converts text to American or British phonemes. Not thread-safe."""

    def __init__(self, weights: Path, espeak_program: str = "espeak-ng") -> None:
        """Load the spaCy model from the weights folder. Raises MissingWeights."""
        folder = weights / SPACY_FOLDER
        if not (folder / "config.cfg").is_file():
            raise MissingWeights(path=str(folder))
        _disable_output_and_downloads()
        self._nlp = spacy.load(folder, exclude=list(UNUSED_PIPES))
        self._espeak_program = espeak_program

    def phonemes(
        self, text: str, british: bool = False, fixed: Mapping[str, str] | None = None
    ) -> str:
        """Return the phonemes and punctuation of normalized text; '' if it contains no words.

        `fixed` has the phonemes of words that are not to be converted. Accepts any text without
        raising an error. If misaki fails, falls back to converting word by word and drops the
        words on which misaki fails again.
        """
        accent = self._accent(british)
        fixed = fixed or {}
        try:
            phonemes = accent.phonemes(text, fixed)
        except Exception as error:  # misaki raises AssertionError or IndexError on unusual text
            journal.get().warning(
                "a phrase is pronounced word by word",
                engine="tts",
                caused_by=type(error).__name__,
            )
            phonemes = " ".join(_word_phonemes(accent, word, fixed) for word in text.split())
        phonemes = " ".join(phonemes.split())
        return phonemes if any(char.isalpha() for char in phonemes) else ""

    @functools.cache  # noqa: B019  (a process keeps its only G2P until it exits)
    def _accent(self, british: bool) -> _Accent:
        return _Accent(self._nlp, british, Espeak(british, self._espeak_program))


class _Accent:
    """American or British English: misaki with espeak-ng as its fallback."""

    def __init__(self, nlp: Any, british: bool, espeak: Espeak) -> None:
        self._espeak = espeak
        self._unknown: list[str] = []
        self._collecting = False
        self._misaki = _Misaki(nlp, british, self._fallback)

    def phonemes(self, text: str, fixed: Mapping[str, str]) -> str:
        """Return the phonemes of `text`, in two passes if it contains unknown words.

        The first pass collects the unknown words, so that a single run of espeak-ng converts all
        of them.
        """
        self._misaki.fixed = fixed
        self._unknown, self._collecting = [], True
        phonemes = self._run(text)
        self._collecting = False
        if self._unknown:
            self._espeak.prefetch(self._unknown)
            phonemes = self._run(text)
        return phonemes

    def _run(self, text: str) -> str:
        with self._misaki.nlp.memory_zone():  # otherwise spaCy keeps every word it has seen
            return str(self._misaki(text, preprocess=False)[0])

    def _fallback(self, token: Any) -> tuple[str, int]:
        """Return phonemes and their rating for a word that is not in misaki's lexicon."""
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
        self.fixed: Mapping[str, str] = {}  # phonemes of words, set for each text

    def tokenize(self, text: str, tokens: Any, features: Any) -> list[Any]:
        """Return misaki's tokens, with what our rules say about their tags and phonemes."""
        result = self._split(super().tokenize(text, [], {}))
        words = [Word(token.text, token.tag) for token in result]
        changes = homographs.changes(words) | initialisms.changes(words, self._is_known)
        changes |= {
            index: Change(phonemes=(self.fixed[word.text],) * 2)
            for index, word in enumerate(words)
            if word.text in self.fixed
        }
        for index, change in changes.items():
            self._apply(change, result[index])
            if index + 1 < len(result):
                self._add_possessive(result[index], result[index + 1])
        return result

    def _split(self, tokens: list[Any]) -> list[Any]:
        """Split off the full stop of a last letter, and what is joined to a word of `fixed`."""
        result = []
        for index, token in enumerate(tokens):
            parts = [token.text]
            is_last = index + 1 == len(tokens)
            if re.fullmatch(r"[A-Za-z]\." if is_last else r"[a-z]\.", token.text):
                parts = list(token.text)  # spaCy takes it for an initial
            elif self.fixed and token.text not in self.fixed:
                pattern = "|".join(map(re.escape, self.fixed))
                parts = [part for part in re.split(f"({pattern})", token.text) if part]
            for part in parts:
                tag = "." if part == "." else token.tag
                whitespace = token.whitespace if part is parts[-1] else ""
                split = replace(token, text=part, tag=tag, whitespace=whitespace)
                result.append(split if len(parts) > 1 else token)
        return result

    def _add_possessive(self, token: Any, after: Any) -> None:
        if token.phonemes and not token.whitespace and after.text.lower() == "'s":
            token.phonemes, after.phonemes = self.lexicon._s(token.phonemes), ""
            after._.rating = token._.rating

    def _apply(self, change: Change, token: Any) -> None:
        token.tag = change.tag or token.tag
        token._.alias = change.alias or None
        phonemes = change.phonemes[self.british]
        if change.letters:
            phonemes = self.lexicon.get_NNP(change.letters)[0] or ""
        if phonemes:
            token.phonemes = self.lexicon._s(phonemes) if change.plural else phonemes
            token._.rating = 5

    def _is_known(self, word: str) -> bool:
        return word in self.lexicon.golds or word in self.lexicon.silvers


def _word_phonemes(accent: _Accent, word: str, fixed: Mapping[str, str]) -> str:
    try:
        return accent.phonemes(word, fixed)
    except Exception:
        return ""


def _disable_output_and_downloads() -> None:
    """Stop misaki from printing unknown words, and spaCy from downloading.

    The words are part of a conversation, which must not appear in logs.
    """
    en.print = lambda *_: None

    def refuse(*_: object, **__: object) -> None:
        raise MissingWeights(path=SPACY_FOLDER)

    vars(spacy.cli)["download"] = refuse
