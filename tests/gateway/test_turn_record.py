"""What came of a turn and where its time went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.turn_record import MARKS, STAGES, TurnRecord, Turns

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


def spoken(turns: Turns, sent_at: float) -> None:
    """A question whose speech ended 0.7 s before its answer was sent."""
    turns.speech_ended(sent_at - 0.7)
    turns.asked("spoken", sent_at - 0.5)
    turns.mark("first_token", sent_at - 0.2)
    turns.mark("sent", sent_at)


def test_what_the_client_heard_counts_from_the_end_of_the_speech() -> None:
    turns = Turns()
    spoken(turns, sent_at=1.5)
    assert turns.sounds(1.7) is None
    turns.generated({})
    record = turns.heard("Yes.", interrupted=False)
    assert record is not None
    assert record.heard_seconds == pytest.approx(0.9)
    assert record.response_seconds == pytest.approx(0.7)


def test_a_word_that_comes_after_the_end_of_a_short_answer_is_still_about_it() -> None:
    turns = Turns()
    spoken(turns, sent_at=1.5)
    turns.generated({})
    told = turns.heard("Yes.", interrupted=False)
    assert told is not None
    assert told.heard_seconds is None
    record = turns.sounds(2.3)
    assert record is told
    assert record.heard_seconds == pytest.approx(1.5)


def test_a_repeated_word_counts_once() -> None:
    turns = Turns()
    spoken(turns, sent_at=1.5)
    for at in (1.7, 1.8, 2.9):
        assert turns.sounds(at) is None
    record = turns.close()
    assert record is not None
    assert record.heard_seconds == pytest.approx(0.9)
    assert turns.sounds(3.0) is None


def test_a_word_about_what_was_not_sent_is_not_believed() -> None:
    turns = Turns()
    assert turns.sounds(0.5) is None
    turns.asked("spoken", 1.0)
    assert turns.sounds(1.1) is None
    record = turns.close()
    assert record is not None
    assert record.heard_seconds is None


def test_a_word_about_a_reply_that_was_cut_off_is_not_the_next_ones() -> None:
    turns = Turns()
    spoken(turns, sent_at=1.5)
    assert turns.heard("Well,", interrupted=True) is not None
    turns.speech_ended(2.8)
    turns.asked("spoken", 3.0)
    assert turns.sounds(3.1) is None
    turns.mark("first_token", 3.3)
    turns.mark("sent", 3.5)
    turns.sounds(3.6)
    record = turns.close()
    assert record is not None
    assert record.heard_seconds == pytest.approx(0.8)


def test_a_word_that_comes_much_too_late_is_not_believed() -> None:
    turns = Turns()
    spoken(turns, sent_at=1.5)
    assert turns.sounds(11.6) is None
    record = turns.close()
    assert record is not None
    assert record.heard_seconds is None


def test_an_apology_that_sounds_is_not_the_answer() -> None:
    turns = Turns()
    turns.asked("typed", 1.0)
    turns.mark("sent", 1.3)
    turns.sounds(1.4)
    turns.mark("first_token", 5.0)
    turns.mark("sent", 5.4)
    turns.sounds(5.5)
    record = turns.close()
    assert record is not None
    assert record.heard_seconds == pytest.approx(4.5)


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
