"""Phrases for Pipecat out of a reply in pieces."""

from __future__ import annotations

from appliance.gateway.tts_service import PhraseAggregator
from appliance.settings import TTSConfig

REPLY = (
    "Well, the capital of France is Paris. It has two million inhabitants, more or less, and "
    "it lies on the river Seine. Would you like to hear more about it?"
)


async def phrases(aggregator: PhraseAggregator, text: str, size: int = 4) -> list[str]:
    """The phrases of a text that arrives in pieces, without the rest that waits."""
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return [phrase.text for piece in pieces async for phrase in aggregator.aggregate(piece)]


async def whole(aggregator: PhraseAggregator, text: str) -> list[str]:
    found = await phrases(aggregator, text)
    rest = await aggregator.flush()
    return found + ([rest.text] if rest else [])


async def test_the_phrases_are_the_reply_and_the_first_one_is_short() -> None:
    spoken = await whole(PhraseAggregator(TTSConfig()), REPLY)
    assert " ".join(spoken) == REPLY
    assert len(spoken) > 2
    assert len(spoken[0].split()) <= TTSConfig().first_phrase_words + 2


async def test_each_reply_begins_with_a_short_phrase() -> None:
    aggregator = PhraseAggregator(TTSConfig())
    assert await whole(aggregator, REPLY) == await whole(aggregator, REPLY)


async def test_what_waits_can_be_looked_at() -> None:
    aggregator = PhraseAggregator(TTSConfig())
    assert await phrases(aggregator, "One mo", size=3) == []
    assert aggregator.text.text == "One mo"


async def test_an_interruption_drops_what_waits_and_the_next_reply_begins_anew() -> None:
    aggregator = PhraseAggregator(TTSConfig())
    fresh = await whole(PhraseAggregator(TTSConfig()), REPLY)
    await phrases(aggregator, "I was going to say that the")
    await aggregator.handle_interruption()
    assert await whole(aggregator, REPLY) == fresh
    await phrases(aggregator, "I was going")
    await aggregator.reset()
    assert await aggregator.flush() is None


async def test_nothing_is_no_phrase() -> None:
    assert await whole(PhraseAggregator(TTSConfig()), "  \n ") == []
