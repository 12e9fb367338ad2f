"""Calls put together from log lines."""

from __future__ import annotations

from appliance.console.logs import read
from appliance.console.trace import calls
from tests.console import recorded


def test_a_call_is_put_together_from_its_lines() -> None:
    first, second = calls(recorded.LINES)
    assert (first.session, first.whole, first.ended, first.seconds) == (
        "3f2a9c1b7d04",
        True,
        "hung_up",
        26.81,
    )
    assert [(turn.number, turn.outcome, turn.by) for turn in first.turns] == [
        (1, "answered", "smart_turn"),
        (2, "interrupted", "fallback"),
    ]
    assert (second.session, second.ended, second.turns) == ("99aa", "", [])


def test_a_turn_stands_where_the_user_fell_silent() -> None:
    turn = calls(recorded.LINES)[0].turns[0]
    assert turn.silent_at is not None
    assert round(turn.silent_at, 3) == 3.7
    assert sum(turn.stages.values()) == turn.response


def test_the_clients_late_word_belongs_to_its_turn() -> None:
    first, second = calls(recorded.LINES)[0].turns
    assert (first.heard, second.heard) == (2.07, None)


def test_failures_and_tools_are_events_of_the_call() -> None:
    events = calls(recorded.LINES)[0].events
    assert [(event.at, event.what, event.level) for event in events] == [
        (11.0, "engine failed: tts engine_gone", "warning"),
        (20.0, "tool called: done", "info"),
    ]


def test_a_log_that_begins_late_still_tells_what_it_knows() -> None:
    (call,) = calls([read(recorded.turn(30.0, 4))])
    assert not call.whole
    assert [turn.number for turn in call.turns] == [4]


def test_a_line_of_an_older_or_a_broken_gateway_does_no_harm() -> None:
    lines = [
        recorded.text(0, "session started"),
        recorded.text(1, "turn", turn="x", outcome=3, response_seconds="fast"),
        '{"event":"turn","session":"3f2a9c1b7d04"}',
        "{",
    ]
    (call,) = calls(map(read, lines))
    assert [(turn.number, turn.response, turn.silent_at) for turn in call.turns] == [
        (0, None, None)
    ]
