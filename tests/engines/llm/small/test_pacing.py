"""The urgency of a reply's tokens, and replies that are decoded only as fast as they are spoken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engines.llm.small.pacing import CHARS_PER_SECOND, PaceLimits, ReplyPace
from appliance.engines.llm.small.priority import JobPriority
from appliance.gateway.speech.phrases import PhraseCutter
from appliance.settings import TTSConfig

CONFIG = TTSConfig()
LIMITS = PaceLimits.of(CONFIG)


def make_pace(text: str = "", now: float = 0.0) -> ReplyPace:
    pace = ReplyPace(LIMITS, JobPriority.GENERATE)
    if text:
        pace.add(text, now)
    return pace


@pytest.mark.parametrize("text", ["", "The", "The capital", "Yes,", "Yes, the", "I would like"])
def test_tokens_of_the_first_phrase_are_the_most_urgent(text: str) -> None:
    pace = make_pace(text)
    assert pace.priority(100) is JobPriority.GENERATE
    assert pace.wait_seconds(100) == 0


@pytest.mark.parametrize(
    "text", ["Yes, that is right, but ", "one two three four five six seven eight nine"]
)
def test_tokens_after_the_first_phrase_are_less_urgent(text: str) -> None:
    assert make_pace(text).priority(0) is JobPriority.DUE_TOKEN


def test_first_phrase_of_a_speculative_reply_is_less_urgent() -> None:
    pace = ReplyPace(LIMITS, JobPriority.PREFILL)
    assert pace.priority(0) is JobPriority.PREFILL
    pace.confirm()
    assert pace.priority(0) is JobPriority.GENERATE


def test_tokens_are_not_urgent_while_the_next_phrase_is_ready() -> None:
    pace = make_pace("word " * (int(LIMITS.due_chars) // 5 + 1))
    assert pace.priority(0) is JobPriority.EARLY_TOKEN
    assert pace.priority(1) is JobPriority.DUE_TOKEN


def test_decoding_waits_until_the_playback_has_caught_up() -> None:
    pace = make_pace("x, y. " + "word " * 200)
    seconds = pace.wait_seconds(0)
    assert seconds == pytest.approx((1006 - LIMITS.lead_chars) / CHARS_PER_SECOND)
    assert pace.wait_seconds(seconds) == pytest.approx(0)
    assert pace.wait_seconds(seconds + 1) == 0


def test_held_reply_becomes_more_urgent() -> None:
    pace = make_pace("word " * 40)
    assert pace.priority(0) is JobPriority.EARLY_TOKEN
    assert pace.priority(5) is JobPriority.DUE_TOKEN
    assert pace.priority(9.5) is JobPriority.GENERATE
    assert pace.wait_seconds(9.5) == 0


def test_faster_speech_needs_more_text_per_second() -> None:
    assert PaceLimits.of(TTSConfig(speed=2.0)).chars_per_second == 2 * CHARS_PER_SECOND


def gaps(
    words: list[str], token_seconds: float, chars_per_second: float, paced: bool
) -> list[float]:
    """Play a reply, one word per token, and return the silence before each phrase but the first."""
    pace, cutter = make_pace(), PhraseCutter(5, CONFIG.phrase_words, CONFIG.phrase_time_ratio)
    now, synthesized, played, silences = 0.0, 0.0, 0.0, list[float]()
    for number, word in enumerate(words):
        text = word if number == 0 else f" {word}"
        now += token_seconds + (pace.wait_seconds(now) if paced else 0.0)
        pace.add(text, now)
        phrases = cutter.feed(text)
        if number == len(words) - 1:
            phrases += cutter.flush()
        for phrase in phrases:
            seconds = len(phrase) / chars_per_second
            synthesized = max(synthesized, now) + seconds * CONFIG.phrase_time_ratio
            if played:
                silences.append(max(0.0, synthesized - played))
            played = max(played, synthesized) + seconds
    return silences


words = st.lists(
    st.sampled_from(
        ["word", "longer", "is", "the", "remarkable", "of", "house,", "done.", "and", "ends."]
    ),
    min_size=20,
    max_size=150,
)


@given(words, st.sampled_from([12.0, 15.0, 18.0]))
def test_no_reply_gets_a_hole_from_waiting(words: list[str], chars_per_second: float) -> None:
    eager = gaps(words, 0.03, chars_per_second, paced=False)
    paced = gaps(words, 0.03, chars_per_second, paced=True)
    assert len(paced) == len(eager)
    assert all(later <= sooner + 1e-9 for later, sooner in zip(paced, eager, strict=True))


def test_long_reply_is_spread_over_its_playback() -> None:
    pace, now = make_pace(), 0.0
    for _ in range(150):
        now += 0.03 + pace.wait_seconds(now)
        pace.add(" word", now)
    assert now > 150 * 5 / CHARS_PER_SECOND - LIMITS.lead_chars / CHARS_PER_SECOND - 1
