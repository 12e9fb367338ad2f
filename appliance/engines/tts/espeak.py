"""Pronunciation of words that the dictionary lacks, by the espeak-ng program.

The program, not its library: espeak-ng and the phonemizer package are GPL-3 and are never loaded
into our process. Words go in by standard input, one a line, and never as arguments.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import OrderedDict
from collections.abc import Iterable

from appliance import journal

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
