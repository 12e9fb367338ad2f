"""`PhraseAggregator`: plugs the cutter of phrases.py into Pipecat's `LLMTextProcessor`."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator

from pipecat.utils.text.base_text_aggregator import Aggregation, BaseTextAggregator, TextType

from appliance.gateway.speech.phrases import PhraseCutter
from appliance.gateway.speech.unsplit_names import UnsplitNames
from appliance.settings import TTSConfig


class PhraseAggregator(BaseTextAggregator):
    """Splits text into phrases for `LLMTextProcessor`, with a short first phrase per reply."""

    def __init__(self, config: TTSConfig, names: UnsplitNames | None = None) -> None:
        super().__init__(aggregation_type=TextType.SENTENCE)
        self._new_cutter = functools.partial(PhraseCutter.of, config, names)
        self._cutter = self._new_cutter()

    @property
    def text(self) -> Aggregation:
        """The text that is not yet part of a phrase."""
        return Aggregation(self._cutter.pending, TextType.SENTENCE)

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Add a chunk of the reply; yield the phrases that are complete now."""
        for phrase in self._cutter.feed(text):
            yield Aggregation(phrase.strip(), TextType.SENTENCE)

    async def flush(self) -> Aggregation | None:
        """Return the remaining text of the reply, and prepare for the next reply."""
        rest = "".join(self._cutter.flush()).strip()
        self._cutter = self._new_cutter()
        return Aggregation(rest, TextType.SENTENCE) if rest else None

    async def handle_interruption(self) -> None:
        """Drop the pending text."""
        self._cutter = self._new_cutter()

    async def reset(self) -> None:
        """Drop the pending text."""
        self._cutter = self._new_cutter()
