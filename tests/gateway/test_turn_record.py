"""Outcomes, marks and stages of turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.turn_record import MARKS, TurnRecord, TurnRecorder
from appliance.journal_fields import STAGES

seconds = st.floats(0, 100, allow_nan=False)


@given(
    waits=st.lists(seconds, min_size=len(MARKS), max_size=len(MARKS)),
    missing=st.sets(
        st.sampled_from(["speech_stopped", "first_token", "first_phrase", "first_audio"])
    ),
    hearing=st.floats(-10, 200),
)
def test_stages_sum_to_the_response_latency(
    waits: list[float], missing: set[str], hearing: float
) -> None:
    turn, now = TurnRecord(1, "spoken", stats={"hearing_seconds": hearing}), 0.0
    for name, wait in zip(MARKS, waits, strict=True):
        now += wait
        if name not in missing:
            turn.marks[name] = now
    assert turn.response_seconds is not None
    assert sum(turn.stages().values()) == pytest.approx(turn.response_seconds, abs=1e-6)
    assert all(value >= 0 for value in turn.stages().values())
    assert set(turn.stages()) <= set(STAGES)


@given(st.lists(st.tuples(st.sampled_from(MARKS[2:]), seconds), max_size=12))
def test_stages_are_never_negative_for_any_order_of_events(
    events: list[tuple[str, float]],
) -> None:
    turns, now = TurnRecorder(), 0.0
    turns.speech_stopped(0.0)
    turns.turn_submitted("spoken", 0.5)
    for name, wait in events:
        now += wait
        turns.mark(name, 0.5 + now)
    turn = turns.close()
    assert turn is not None
    assert all(value >= 0 for value in turn.stages().values())
    if turn.response_seconds is not None:
        assert sum(turn.stages().values()) == pytest.approx(turn.response_seconds, abs=1e-6)


def answered(turns: TurnRecorder, text: str = "Yes.") -> TurnRecord | None:
    turns.mark("first_token", 1.2)
    turns.mark("sent", 1.5)
    turns.generated({"hearing_seconds": 0.05})
    return turns.heard(text, interrupted=False)


def test_answered_turn_has_its_ending_texts_and_stages() -> None:
    turns = TurnRecorder()
    turns.speech_stopped(0.8)
    turns.turn_ended_by("smart_turn")
    assert turns.turn_submitted("spoken", 1.0, speech_seconds=2.0) is None
    turns.transcribed("Well?")
    turn = answered(turns)
    assert turn is not None
    assert (turn.number, turn.outcome, turn.ended_by) == (1, "answered", "smart_turn")
    assert (turn.user_text, turn.reply_text) == ("Well?", "Yes.")
    assert turn.response_seconds == pytest.approx(0.7)
    assert turn.stages() == pytest.approx(
        {"end_of_turn": 0.2, "hearing": 0.05, "first_token": 0.15, "transport": 0.3}
    )
    assert turns.close() is None


def test_turn_without_a_detector_result_was_ended_by_the_timeout() -> None:
    turns = TurnRecorder()
    turns.turn_ended_by("fallback")
    turns.turn_submitted("spoken", 1.0)
    turns.turn_submitted("spoken", 2.0)
    turn = turns.close()
    assert turn is not None
    assert turn.ended_by == "timeout"


def test_latency_of_a_typed_turn_starts_when_the_reply_is_requested() -> None:
    turns = TurnRecorder()
    turns.speech_stopped(0.1)
    turns.turn_submitted("typed", 1.0)
    turn = answered(turns)
    assert turn is not None
    assert (turn.ended_by, turn.response_seconds) == ("", 0.5)


def test_pause_within_a_reply_does_not_end_the_turn() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("typed", 1.0)
    assert turns.heard("The first part.", interrupted=False) is None
    turns.generated({})
    turn = turns.heard("And the second.", interrupted=False)
    assert turn is not None
    assert turn.reply_text == "The first part. And the second."


def test_interruption_completes_the_turn_with_the_heard_text() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("typed", 1.0)
    turn = turns.heard("Well, I", interrupted=True)
    assert turn is not None
    assert (turn.outcome, turn.interrupted, turn.reply_text) == (
        "interrupted",
        True,
        "Well, I",
    )
    assert turns.heard("", interrupted=True) is None


def test_user_who_goes_on_before_the_reply_was_heard_does_not_interrupt_it() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("spoken", 1.0)
    turns.transcribed("What is the")
    turns.mark("sent", 1.5)
    turns.generated({})
    assert turns.heard("", interrupted=True) is None
    assert turns.cut_off
    joined = turns.turn_submitted("spoken", 3.0, joined=True)
    assert joined is not None
    assert (joined.number, joined.outcome, joined.interrupted) == (1, "joined", False)
    assert not turns.cut_off
    turns.transcribed("What is the time?")
    turn = answered(turns, "Noon.")
    assert turn is not None
    assert (turn.number, turn.replaces, turn.outcome) == (2, 1, "answered")
    assert (turn.interrupted, turn.user_text) == (False, "What is the time?")


@pytest.mark.parametrize("session_ends", [True, False])
def test_reply_cut_off_before_it_was_heard_is_an_interruption_if_no_question_goes_on(
    session_ends: bool,
) -> None:
    turns = TurnRecorder()
    turns.turn_submitted("spoken", 1.0)
    turns.generated({})
    assert turns.heard("", interrupted=True) is None
    turn = turns.close() if session_ends else turns.turn_submitted("spoken", 3.0)
    assert turn is not None
    assert (turn.outcome, turn.interrupted) == ("interrupted", True)
    following = turns.close()
    assert following is None or (following.interrupted, following.replaces) == (False, None)


def test_question_that_failed_is_repeated_in_the_next_turn() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("spoken", 1.0)
    assert turns.turn_dropped("failed") is not None
    assert turns.turn_submitted("spoken", 3.0, joined=True) is None
    turn = turns.close()
    assert turn is not None
    assert (turn.number, turn.replaces) == (2, 1)


def test_hold_message_is_not_the_first_sample_of_the_reply() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("typed", 1.0)
    hold_message = (("first_phrase", 1.1), ("first_audio", 1.2), ("sent", 1.3))
    for name, time in hold_message:
        turns.mark(name, time)
    for name, time in zip(MARKS[2:], (5.0, 5.1, 5.3, 5.4), strict=True):
        turns.mark(name, time)
    turns.mark("sent", 9.0)  # only the first counts
    turn = turns.close()
    assert turn is not None
    assert turn.response_seconds == pytest.approx(4.4)


def spoken(turns: TurnRecorder, sent_at: float) -> None:
    """Track a question whose speech ended 0.7 s before its reply was sent."""
    turns.speech_stopped(sent_at - 0.7)
    turns.turn_submitted("spoken", sent_at - 0.5)
    turns.mark("first_token", sent_at - 0.2)
    turns.mark("sent", sent_at)


def test_heard_latency_starts_at_the_end_of_speech() -> None:
    turns = TurnRecorder()
    spoken(turns, sent_at=1.5)
    assert turns.playback_started(1.7) is None
    turns.generated({})
    turn = turns.heard("Yes.", interrupted=False)
    assert turn is not None
    assert turn.heard_seconds == pytest.approx(0.9)
    assert turn.response_seconds == pytest.approx(0.7)


def test_playback_report_after_a_short_reply_counts_for_that_reply() -> None:
    turns = TurnRecorder()
    spoken(turns, sent_at=1.5)
    turns.generated({})
    complete = turns.heard("Yes.", interrupted=False)
    assert complete is not None
    assert complete.heard_seconds is None
    turn = turns.playback_started(2.3)
    assert turn is complete
    assert turn.heard_seconds == pytest.approx(1.5)


def test_repeated_playback_report_counts_once() -> None:
    turns = TurnRecorder()
    spoken(turns, sent_at=1.5)
    for time in (1.7, 1.8, 2.9):
        assert turns.playback_started(time) is None
    turn = turns.close()
    assert turn is not None
    assert turn.heard_seconds == pytest.approx(0.9)
    assert turns.playback_started(3.0) is None


def test_playback_report_without_sent_audio_is_ignored() -> None:
    turns = TurnRecorder()
    assert turns.playback_started(0.5) is None
    turns.turn_submitted("spoken", 1.0)
    assert turns.playback_started(1.1) is None
    turn = turns.close()
    assert turn is not None
    assert turn.heard_seconds is None


def test_playback_report_about_an_interrupted_reply_does_not_count_for_the_next() -> None:
    turns = TurnRecorder()
    spoken(turns, sent_at=1.5)
    assert turns.heard("Well,", interrupted=True) is not None
    turns.speech_stopped(2.8)
    turns.turn_submitted("spoken", 3.0)
    assert turns.playback_started(3.1) is None
    turns.mark("first_token", 3.3)
    turns.mark("sent", 3.5)
    turns.playback_started(3.6)
    turn = turns.close()
    assert turn is not None
    assert turn.heard_seconds == pytest.approx(0.8)


def test_late_playback_report_is_ignored() -> None:
    turns = TurnRecorder()
    spoken(turns, sent_at=1.5)
    assert turns.playback_started(11.6) is None
    turn = turns.close()
    assert turn is not None
    assert turn.heard_seconds is None


def test_playback_report_about_a_hold_message_does_not_count() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("typed", 1.0)
    turns.mark("sent", 1.3)
    turns.playback_started(1.4)
    turns.mark("first_token", 5.0)
    turns.mark("sent", 5.4)
    turns.playback_started(5.5)
    turn = turns.close()
    assert turn is not None
    assert turn.heard_seconds == pytest.approx(4.5)


def test_turn_without_a_reply_has_no_latency() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("spoken", 1.0)
    turn = turns.turn_dropped("nothing_heard")
    assert turn is not None
    assert (turn.outcome, turn.response_seconds) == ("nothing_heard", None)


def test_too_short_speech_does_not_affect_the_open_turn() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("typed", 1.0)
    cough = turns.turn_dropped("too_short")
    assert cough is not None
    assert (cough.number, cough.outcome) == (0, "too_short")
    assert turns.close() is not None


def test_next_turn_completes_an_open_one() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("typed", 1.0)
    unanswered = turns.turn_submitted("typed", 2.0)
    turns.generated({})
    unspoken = turns.turn_submitted("typed", 3.0)
    assert unanswered is not None and unspoken is not None
    assert (unanswered.outcome, unspoken.outcome) == ("interrupted", "answered")


@pytest.mark.parametrize(("heard", "outcome"), [("", "failed"), ("It is", "answered")])
def test_reply_of_which_nothing_could_be_spoken_has_failed(heard: str, outcome: str) -> None:
    turns = TurnRecorder()
    turns.turn_submitted("typed", 1.0)
    turns.generated({})
    turns.phrase_skipped()
    turn = turns.heard(heard, interrupted=False)
    assert turn is not None and turn.outcome == outcome
    turns.turn_submitted("typed", 2.0)
    turns.generated({})
    silent = turns.heard("", interrupted=False)  # an emoji
    assert silent is not None and silent.outcome == "answered"


def test_question_that_a_noise_interrupted_keeps_what_ended_it() -> None:
    turns = TurnRecorder()
    turns.speech_stopped(0.8)
    turns.turn_ended_by("smart_turn")
    turns.turn_submitted("spoken", 1.0)
    turns.speech_stopped(1.8)
    turns.turn_ended_by("fallback")
    turns.turn_submitted("spoken", 2.0)
    turns.turn_dropped("nothing_heard")
    turns.turn_submitted("spoken", 2.1, joined=True)
    again = answered(turns)
    assert again is not None and (again.replaces, again.ended_by) == (1, "smart_turn")


def test_events_without_an_open_turn_are_ignored() -> None:
    turns = TurnRecorder()
    turns.mark("sent", 1.0)
    turns.generated({})
    turns.transcribed("?")
    assert turns.heard("Hello.", interrupted=False) is None
    assert turns.turn_dropped("failed") is None
    assert turns.close() is None


def test_question_that_a_noise_interrupted_is_replaced_not_the_noise() -> None:
    turns = TurnRecorder()
    turns.turn_submitted("typed", 1.0)
    turns.turn_submitted("spoken", 2.0)
    noise = turns.turn_dropped("nothing_heard")
    assert noise is not None and noise.outcome == "nothing_heard"
    turns.turn_submitted("typed", 2.1, joined=True)
    turns.generated({})
    again = turns.heard("Very well.", interrupted=False)
    assert again is not None
    assert (again.number, again.replaces, again.outcome) == (3, 1, "answered")
