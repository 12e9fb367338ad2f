"""Outcomes, marks and stages of turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.turn_record import MARKS, SessionTurn, TurnTracker
from appliance.journal_fields import STAGES

seconds = st.floats(0, 100, allow_nan=False)


@given(
    waits=st.lists(seconds, min_size=len(MARKS), max_size=len(MARKS)),
    missing=st.sets(
        st.sampled_from(["speech_stopped", "first_token", "first_phrase", "first_audio"])
    ),
    hearing=st.floats(-10, 200),
)
def test_stages_add_up_to_the_response_latency(
    waits: list[float], missing: set[str], hearing: float
) -> None:
    turn, now = SessionTurn(1, "spoken", stats={"hearing_seconds": hearing}), 0.0
    for name, wait in zip(MARKS, waits, strict=True):
        now += wait
        if name not in missing:
            turn.marks[name] = now
    assert turn.response_seconds is not None
    assert sum(turn.stages().values()) == pytest.approx(turn.response_seconds, abs=1e-6)
    assert all(value >= 0 for value in turn.stages().values())
    assert set(turn.stages()) <= set(STAGES)


@given(st.lists(st.tuples(st.sampled_from(MARKS[2:]), seconds), max_size=12))
def test_no_stage_is_negative_in_any_order_of_events(
    events: list[tuple[str, float]],
) -> None:
    tracker, now = TurnTracker(), 0.0
    tracker.speech_stopped(0.0)
    tracker.turn_submitted("spoken", 0.5)
    for name, wait in events:
        now += wait
        tracker.mark(name, 0.5 + now)
    turn = tracker.close()
    assert turn is not None
    assert all(value >= 0 for value in turn.stages().values())
    if turn.response_seconds is not None:
        assert sum(turn.stages().values()) == pytest.approx(turn.response_seconds, abs=1e-6)


def answered(tracker: TurnTracker, text: str = "Yes.") -> SessionTurn | None:
    tracker.mark("first_token", 1.2)
    tracker.mark("sent", 1.5)
    tracker.generated({"hearing_seconds": 0.05})
    return tracker.heard(text, interrupted=False)


def test_answered_turn_has_its_end_texts_and_stages() -> None:
    tracker = TurnTracker()
    tracker.speech_stopped(0.8)
    tracker.turn_ended_by("smart_turn")
    assert tracker.turn_submitted("spoken", 1.0, speech_seconds=2.0) is None
    tracker.transcribed("Well?")
    turn = answered(tracker)
    assert turn is not None
    assert (turn.number, turn.outcome, turn.ended_by) == (1, "answered", "smart_turn")
    assert (turn.user_text, turn.reply_text) == ("Well?", "Yes.")
    assert turn.response_seconds == pytest.approx(0.7)
    assert turn.stages() == pytest.approx(
        {"end_of_turn": 0.2, "hearing": 0.05, "first_token": 0.15, "transport": 0.3}
    )
    assert tracker.close() is None


def test_turn_without_a_detector_was_ended_by_the_timeout() -> None:
    tracker = TurnTracker()
    tracker.turn_ended_by("fallback")
    tracker.turn_submitted("spoken", 1.0)
    tracker.turn_submitted("spoken", 2.0)
    turn = tracker.close()
    assert turn is not None
    assert turn.ended_by == "timeout"


def test_latency_of_a_typed_turn_starts_when_the_reply_is_requested() -> None:
    tracker = TurnTracker()
    tracker.speech_stopped(0.1)
    tracker.turn_submitted("typed", 1.0)
    turn = answered(tracker)
    assert turn is not None
    assert (turn.ended_by, turn.response_seconds) == ("", 0.5)


def test_pause_within_a_reply_does_not_end_the_turn() -> None:
    tracker = TurnTracker()
    tracker.turn_submitted("typed", 1.0)
    assert tracker.heard("The first part.", interrupted=False) is None
    tracker.generated({})
    turn = tracker.heard("And the second.", interrupted=False)
    assert turn is not None
    assert turn.reply_text == "The first part. And the second."


def test_interrupted_turn_is_complete_with_what_was_heard() -> None:
    tracker = TurnTracker()
    tracker.turn_submitted("typed", 1.0)
    turn = tracker.heard("Well, I", interrupted=True)
    assert turn is not None
    assert (turn.outcome, turn.interrupted, turn.reply_text) == (
        "interrupted",
        True,
        "Well, I",
    )
    assert tracker.heard("", interrupted=True) is None


def test_hold_message_is_not_the_first_sample_of_the_reply() -> None:
    tracker = TurnTracker()
    tracker.turn_submitted("typed", 1.0)
    for name, at in (
        ("first_phrase", 1.1),
        ("first_audio", 1.2),
        ("sent", 1.3),
    ):  # the hold message
        tracker.mark(name, at)
    for name, at in zip(MARKS[2:], (5.0, 5.1, 5.3, 5.4), strict=True):
        tracker.mark(name, at)
    tracker.mark("sent", 9.0)  # only the first counts
    turn = tracker.close()
    assert turn is not None
    assert turn.response_seconds == pytest.approx(4.4)


def spoken(tracker: TurnTracker, sent_at: float) -> None:
    """Track a question whose speech ended 0.7 s before its reply was sent."""
    tracker.speech_stopped(sent_at - 0.7)
    tracker.turn_submitted("spoken", sent_at - 0.5)
    tracker.mark("first_token", sent_at - 0.2)
    tracker.mark("sent", sent_at)


def test_heard_latency_starts_at_the_end_of_speech() -> None:
    tracker = TurnTracker()
    spoken(tracker, sent_at=1.5)
    assert tracker.playback_started(1.7) is None
    tracker.generated({})
    turn = tracker.heard("Yes.", interrupted=False)
    assert turn is not None
    assert turn.heard_seconds == pytest.approx(0.9)
    assert turn.response_seconds == pytest.approx(0.7)


def test_playback_report_after_a_short_reply_counts_for_it() -> None:
    tracker = TurnTracker()
    spoken(tracker, sent_at=1.5)
    tracker.generated({})
    complete = tracker.heard("Yes.", interrupted=False)
    assert complete is not None
    assert complete.heard_seconds is None
    turn = tracker.playback_started(2.3)
    assert turn is complete
    assert turn.heard_seconds == pytest.approx(1.5)


def test_repeated_playback_report_counts_once() -> None:
    tracker = TurnTracker()
    spoken(tracker, sent_at=1.5)
    for at in (1.7, 1.8, 2.9):
        assert tracker.playback_started(at) is None
    turn = tracker.close()
    assert turn is not None
    assert turn.heard_seconds == pytest.approx(0.9)
    assert tracker.playback_started(3.0) is None


def test_playback_report_without_sent_audio_is_ignored() -> None:
    tracker = TurnTracker()
    assert tracker.playback_started(0.5) is None
    tracker.turn_submitted("spoken", 1.0)
    assert tracker.playback_started(1.1) is None
    turn = tracker.close()
    assert turn is not None
    assert turn.heard_seconds is None


def test_playback_report_about_an_interrupted_reply_does_not_count_for_the_next() -> None:
    tracker = TurnTracker()
    spoken(tracker, sent_at=1.5)
    assert tracker.heard("Well,", interrupted=True) is not None
    tracker.speech_stopped(2.8)
    tracker.turn_submitted("spoken", 3.0)
    assert tracker.playback_started(3.1) is None
    tracker.mark("first_token", 3.3)
    tracker.mark("sent", 3.5)
    tracker.playback_started(3.6)
    turn = tracker.close()
    assert turn is not None
    assert turn.heard_seconds == pytest.approx(0.8)


def test_late_playback_report_is_ignored() -> None:
    tracker = TurnTracker()
    spoken(tracker, sent_at=1.5)
    assert tracker.playback_started(11.6) is None
    turn = tracker.close()
    assert turn is not None
    assert turn.heard_seconds is None


def test_playback_report_about_a_hold_message_does_not_count() -> None:
    tracker = TurnTracker()
    tracker.turn_submitted("typed", 1.0)
    tracker.mark("sent", 1.3)
    tracker.playback_started(1.4)
    tracker.mark("first_token", 5.0)
    tracker.mark("sent", 5.4)
    tracker.playback_started(5.5)
    turn = tracker.close()
    assert turn is not None
    assert turn.heard_seconds == pytest.approx(4.5)


def test_turn_without_a_reply_has_no_latency() -> None:
    tracker = TurnTracker()
    tracker.turn_submitted("spoken", 1.0)
    turn = tracker.turn_dropped("nothing_heard")
    assert turn is not None
    assert (turn.outcome, turn.response_seconds) == ("nothing_heard", None)


def test_too_short_speech_leaves_the_open_turn_alone() -> None:
    tracker = TurnTracker()
    tracker.turn_submitted("typed", 1.0)
    cough = tracker.turn_dropped("too_short")
    assert cough is not None
    assert (cough.number, cough.outcome) == (0, "too_short")
    assert tracker.close() is not None


def test_next_turn_completes_an_open_one() -> None:
    tracker = TurnTracker()
    tracker.turn_submitted("typed", 1.0)
    unanswered = tracker.turn_submitted("typed", 2.0)
    tracker.generated({})
    unspoken = tracker.turn_submitted("typed", 3.0)
    assert unanswered is not None and unspoken is not None
    assert (unanswered.outcome, unspoken.outcome) == ("interrupted", "answered")


def test_events_without_an_open_turn_are_ignored() -> None:
    tracker = TurnTracker()
    tracker.mark("sent", 1.0)
    tracker.generated({})
    tracker.transcribed("?")
    assert tracker.heard("Hello.", interrupted=False) is None
    assert tracker.turn_dropped("failed") is None
    assert tracker.close() is None
