"""What came of a turn and where its time went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.turns import MARKS, STAGES, TurnRecord, Turns

seconds = st.floats(0, 100, allow_nan=False)


@given(
    waits=st.lists(seconds, min_size=len(MARKS), max_size=len(MARKS)),
    missing=st.sets(
        st.sampled_from(["speech_ended", "first_token", "first_phrase", "first_audio"])
    ),
    hearing=st.floats(-10, 200),
)
def test_the_stages_sum_to_the_headline(
    waits: list[float], missing: set[str], hearing: float
) -> None:
    record, now = TurnRecord(1, "spoken", stats={"hearing_seconds": hearing}), 0.0
    for name, wait in zip(MARKS, waits, strict=True):
        now += wait
        if name not in missing:
            record.marks[name] = now
    assert record.response_seconds is not None
    assert sum(record.stages().values()) == pytest.approx(record.response_seconds, abs=1e-6)
    assert all(value >= 0 for value in record.stages().values())
    assert set(record.stages()) <= set(STAGES)


@given(st.lists(st.tuples(st.sampled_from(MARKS[2:]), seconds), max_size=12))
def test_whatever_order_things_happen_in_no_stage_is_negative(
    events: list[tuple[str, float]],
) -> None:
    turns, now = Turns(), 0.0
    turns.speech_ended(0.0)
    turns.asked("spoken", 0.5)
    for name, wait in events:
        now += wait
        turns.mark(name, 0.5 + now)
    record = turns.close()
    assert record is not None
    assert all(value >= 0 for value in record.stages().values())
    if record.response_seconds is not None:
        assert sum(record.stages().values()) == pytest.approx(record.response_seconds, abs=1e-6)


def answered(turns: Turns, text: str = "Yes.") -> TurnRecord | None:
    turns.mark("first_token", 1.2)
    turns.mark("sent", 1.5)
    turns.generated({"hearing_seconds": 0.05})
    return turns.heard(text, interrupted=False)


def test_an_answered_turn_tells_who_ended_it_and_what_was_said() -> None:
    turns = Turns()
    turns.speech_ended(0.8)
    turns.turn_ended_by("smart_turn")
    assert turns.asked("spoken", 1.0, speech_seconds=2.0) is None
    turns.understood("Well?")
    record = answered(turns)
    assert record is not None
    assert (record.number, record.outcome, record.ended_by) == (1, "answered", "smart_turn")
    assert (record.user_text, record.reply_text) == ("Well?", "Yes.")
    assert record.response_seconds == pytest.approx(0.7)
    assert record.stages() == pytest.approx(
        {"end_of_turn": 0.2, "hearing": 0.05, "first_token": 0.15, "transport": 0.3}
    )
    assert turns.close() is None


def test_a_turn_that_nobody_ended_was_ended_by_the_timeout() -> None:
    turns = Turns()
    turns.turn_ended_by("fallback")
    turns.asked("spoken", 1.0)
    turns.asked("spoken", 2.0)
    record = turns.close()
    assert record is not None
    assert record.ended_by == "timeout"


def test_a_typed_turn_counts_from_when_it_was_asked() -> None:
    turns = Turns()
    turns.speech_ended(0.1)
    turns.asked("typed", 1.0)
    record = answered(turns)
    assert record is not None
    assert (record.ended_by, record.response_seconds) == ("", 0.5)


def test_a_pause_of_the_bot_within_an_answer_does_not_end_the_turn() -> None:
    turns = Turns()
    turns.asked("typed", 1.0)
    assert turns.heard("The first part.", interrupted=False) is None
    turns.generated({})
    record = turns.heard("And the second.", interrupted=False)
    assert record is not None
    assert record.reply_text == "The first part. And the second."


def test_an_interrupted_turn_is_complete_with_what_was_heard() -> None:
    turns = Turns()
    turns.asked("typed", 1.0)
    record = turns.heard("Well, I", interrupted=True)
    assert record is not None
    assert (record.outcome, record.interrupted, record.reply_text) == (
        "interrupted",
        True,
        "Well, I",
    )
    assert turns.heard("", interrupted=True) is None


def test_an_apology_is_not_the_first_sample_of_the_answer() -> None:
    turns = Turns()
    turns.asked("typed", 1.0)
    for name, at in (("first_phrase", 1.1), ("first_audio", 1.2), ("sent", 1.3)):  # the apology
        turns.mark(name, at)
    for name, at in zip(MARKS[2:], (5.0, 5.1, 5.3, 5.4), strict=True):
        turns.mark(name, at)
    turns.mark("sent", 9.0)  # only the first counts
    record = turns.close()
    assert record is not None
    assert record.response_seconds == pytest.approx(4.4)


def test_a_turn_with_no_answer_has_no_headline() -> None:
    turns = Turns()
    turns.asked("spoken", 1.0)
    record = turns.ended("nothing_heard")
    assert record is not None
    assert (record.outcome, record.response_seconds) == ("nothing_heard", None)


def test_what_was_too_short_is_no_turn_and_leaves_the_open_one_alone() -> None:
    turns = Turns()
    turns.asked("typed", 1.0)
    cough = turns.ended("too_short")
    assert cough is not None
    assert (cough.number, cough.outcome) == (0, "too_short")
    assert turns.close() is not None


def test_the_next_question_completes_a_turn_that_was_still_open() -> None:
    turns = Turns()
    turns.asked("typed", 1.0)
    unanswered = turns.asked("typed", 2.0)
    turns.generated({})
    unspoken = turns.asked("typed", 3.0)
    assert unanswered is not None and unspoken is not None
    assert (unanswered.outcome, unspoken.outcome) == ("interrupted", "answered")


def test_marks_and_news_without_a_turn_are_nobodys() -> None:
    turns = Turns()
    turns.mark("sent", 1.0)
    turns.generated({})
    turns.understood("?")
    assert turns.heard("Hello.", interrupted=False) is None
    assert turns.ended("failed") is None
    assert turns.close() is None
