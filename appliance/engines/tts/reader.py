"""Converts a phrase to phonemes: from the text as written to spoken words, and on to phonemes.

The order: the site's lexicon, letters beyond Latin-1, the text normalization, the G2P.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.letters import fold
from appliance.engines.tts.text.normalize import normalize
from appliance.site_lexicon import SiteLexicon


@dataclass(frozen=True, slots=True)
class Reading:
    """How a phrase is spoken. Both are '' if it contains no words.

    words     after normalization; a word whose phonemes the site gives is as written
    phonemes  misaki's phonemes and punctuation
    """

    words: str
    phonemes: str


class Reader:
    """Converts phrases to words and phonemes. Not thread-safe."""

    def __init__(self, weights: Path, lexicon: SiteLexicon | None = None) -> None:
        """Load the G2P from the weights folder. Raises MissingWeights."""
        self._lexicon = lexicon or SiteLexicon()
        self._g2p = G2P(weights)

    def read(self, text: str, british: bool = False) -> Reading:
        """Return how `text` is spoken. Accepts any text without raising an error."""
        marked = self._lexicon.mark(text)
        words = normalize(fold(marked.text), british)
        if not words:
            return Reading("", "")
        phonemes = self._g2p.phonemes(words, british, marked.phonemes)
        return Reading(marked.unmark(words), phonemes)
