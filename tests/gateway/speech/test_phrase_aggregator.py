"""The phrase aggregator: text of a reply in, phrases out, in Pipecat's interface."""

from __future__ import annotations

from appliance.gateway.speech.phrase_aggregator import PhraseAggregator
from appliance.settings import TTSConfig

LONG_REPLY = (
    "Well, the capital of France is Paris. It has two million inhabitants, more or less, and "
    "it lies on the river Seine. Would you like to hear more about it?"
)


async def aggregate(aggregator: PhraseAggregator, text: str, size: int = 4) -> list[str]:
    """Return the complete phrases of a text that arrives in chunks of `size` characters."""
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    return [phrase.text for chunk in chunks async for phrase in aggregator.aggregate(chunk)]


async def aggregate_and_flush(aggregator: PhraseAggregator, text: str) -> list[str]:
    phrases = await aggregate(aggregator, text)
    rest = await aggregator.flush()
    return phrases + ([rest.text] if rest else [])


async def test_aggregated_phrases_are_the_reply_and_the_first_is_short() -> None:
    phrases = await aggregate_and_flush(PhraseAggregator(TTSConfig()), LONG_REPLY)
    assert " ".join(phrases) == LONG_REPLY
    assert len(phrases) > 2
    assert len(phrases[0].split()) <= TTSConfig().first_phrase_words + 2


async def test_each_reply_begins_with_a_short_phrase() -> None:
    aggregator = PhraseAggregator(TTSConfig())
    assert await aggregate_and_flush(aggregator, LONG_REPLY) == await aggregate_and_flush(
        aggregator, LONG_REPLY
    )


async def test_aggregator_shows_the_pending_text() -> None:
    aggregator = PhraseAggregator(TTSConfig())
    assert await aggregate(aggregator, "One mo", size=3) == []
    assert aggregator.text.text == "One mo"


async def test_interruption_drops_pending_text_and_the_next_reply_starts_fresh() -> None:
    aggregator = PhraseAggregator(TTSConfig())
    fresh = await aggregate_and_flush(PhraseAggregator(TTSConfig()), LONG_REPLY)
    await aggregate(aggregator, "I was going to say that the")
    await aggregator.handle_interruption()
    assert await aggregate_and_flush(aggregator, LONG_REPLY) == fresh
    await aggregate(aggregator, "I was going")
    await aggregator.reset()
    assert await aggregator.flush() is None


async def test_whitespace_yields_no_phrase() -> None:
    assert await aggregate_and_flush(PhraseAggregator(TTSConfig()), "  \n ") == []
