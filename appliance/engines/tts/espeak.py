"""Pronunciations of words that misaki's lexicon lacks, by the program espeak-ng.

It runs as a separate program, because it is GPL-3.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import OrderedDict
from collections.abc import Iterable

from appliance import journal

ESPEAK_TIMEOUT_SECONDS = 1.0  # a run takes about 20 ms
CACHED_WORDS = 4096
MAX_WORD_CHARS = 60

# Ordered replacements that convert espeak's IPA, with '^' as tie, to the phonemes that Kokoro was
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


class Espeak:
    """Pronunciations from the program espeak-ng, cached.

    Every lookup returns None if espeak-ng is not installed.
    """

    def __init__(self, british: bool, program: str = "espeak-ng") -> None:
        self._british = british
        self._path = shutil.which(program)
        self._cache: OrderedDict[str, str | None] = OrderedDict()
        self._failed: set[str] = set()  # in the latest run; it is not repeated for each word
        if self._path is None:
            journal.get().warning(
                "espeak-ng is not installed and unknown words are spelled out", engine="tts"
            )

    def prefetch(self, words: Iterable[str]) -> None:
        """Add the words to the cache, with a single run of the program.

        If the program fails or times out, as on a busy machine, the next `prefetch` asks again.
        """
        self._failed.clear()
        self._fetch(words)

    def _fetch(self, words: Iterable[str]) -> None:
        missing = [word for word in dict.fromkeys(words) if word not in self._cache]
        lines = [_letters_only(word) for word in missing]
        pronunciations = self._run(lines) if any(lines) else [""] * len(missing)
        if pronunciations is None:
            self._failed.update(missing)
            return
        for word, ipa in zip(missing, pronunciations, strict=True):
            self._cache[word] = ipa_to_phonemes(ipa, self._british) or None
        while len(self._cache) > CACHED_WORDS:
            self._cache.popitem(last=False)

    def phonemes(self, word: str) -> str | None:
        """Return Kokoro's phonemes for a word; None if espeak-ng has no pronunciation."""
        if word not in self._cache and word not in self._failed:
            self._fetch([word])
        return self._cache.get(word)

    def _run(self, words: list[str]) -> list[str] | None:
        """Return one line of IPA per word; None if the program fails or times out."""
        if self._path is None:
            return [""] * len(words)
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
            return None
        lines = [line.strip() for line in completed.stdout.splitlines()]
        return lines if len(lines) == len(words) else [""] * len(words)


def _letters_only(word: str) -> str:
    """Keep letters, digits, apostrophes and hyphens, because '[[' and '<' are espeak commands."""
    kept = "".join(c if c.isalnum() or c in "'-" else " " for c in word)
    return " ".join(kept.split())[:MAX_WORD_CHARS]


def ipa_to_phonemes(ipa: str, british: bool) -> str:
    """Convert espeak's IPA, with '^' as tie, to Kokoro's phonemes."""
    text = re.sub(r"\([a-z-]+\)", "", ipa).strip()  # "(fr)" marks a change of language
    for old, new in _COMMON:
        text = text.replace(old, new)
    text = re.sub(r"(\S)\u0329", r"ᵊ\1", text).replace("\u0329", "")
    for old, new in (*(_BRITISH if british else _AMERICAN), *_LAST):
        text = text.replace(old, new)
    return text
