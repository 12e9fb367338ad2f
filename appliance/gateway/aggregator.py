"""Pipecat's text aggregator interface around the phrase cutter."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pipecat.utils.text.base_text_aggregator import Aggregation, BaseTextAggregator, TextType

from appliance.gateway.phrases import PhraseCutter
from appliance.settings import TTS


class PhraseAggregator(BaseTextAggregator):
    """Gives `LLMTextProcessor` phrases; the first of each reply is short."""

    def __init__(self, settings: TTS) -> None:
        super().__init__(aggregation_type=TextType.SENTENCE)
        self._settings = settings
        self._cutter = self._fresh()

    @property
    def text(self) -> Aggregation:
        """What waits to become a phrase."""
        return Aggregation(self._cutter.waiting, TextType.SENTENCE)

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Phrases that this piece of the reply completes."""
        for phrase in self._cutter.feed(text):
            yield Aggregation(phrase.strip(), TextType.SENTENCE)

    async def flush(self) -> Aggregation | None:
        """The rest of the reply; the next text begins another."""
        rest = "".join(self._cutter.flush()).strip()
        self._cutter = self._fresh()
        return Aggregation(rest, TextType.SENTENCE) if rest else None

    async def handle_interruption(self) -> None:
        """Drops what waits."""
        self._cutter = self._fresh()

    async def reset(self) -> None:
        """Drops what waits."""
        self._cutter = self._fresh()

    def _fresh(self) -> PhraseCutter:
        knobs = self._settings
        return PhraseCutter(knobs.first_phrase_words, knobs.phrase_words, knobs.phrase_time_ratio)
