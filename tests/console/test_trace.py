"""Calls reconstructed from log lines and drawn as timelines."""

from __future__ import annotations

import re

from appliance.console.logs import parse_line
from appliance.console.terminal import WIDTH, Paint
from appliance.console.trace import STAGE_LABELS, collect_calls, render_list, render_timeline
from appliance.journal_fields import STAGES
from tests.console import log_lines

PLAIN = Paint(False)


def test_call_is_reconstructed_from_its_lines() -> None:
    first, second = collect_calls(log_lines.LINES)
    assert (first.session, first.has_start, first.end_reason, first.seconds) == (
        "3f2a9c1b7d04",
        True,
        "hung_up",
        26.81,
    )
    assert [(turn.number, turn.outcome, turn.detected_by) for turn in first.turns] == [
        (1, "answered", "smart_turn"),
        (2, "interrupted", "fallback"),
    ]
    assert (second.session, second.end_reason, second.turns) == ("99aa", "", [])


def test_turn_is_placed_at_the_end_of_the_users_speech() -> None:
    turn = collect_calls(log_lines.LINES)[0].turns[0]
    assert turn.speech_ended_at is not None
    assert round(turn.speech_ended_at, 3) == 3.7
    assert sum(turn.stages.values()) == turn.response


def test_late_report_of_the_client_belongs_to_its_turn() -> None:
    first, second = collect_calls(log_lines.LINES)[0].turns
    assert (first.playback, second.playback) == (2.07, None)


def test_failures_and_tool_calls_are_events_of_the_call() -> None:
    events = collect_calls(log_lines.LINES)[0].events
    assert [(event.offset, event.text, event.level) for event in events] == [
        (11.0, "engine failed: tts engine_gone", "warning"),
        (20.0, "tool called: done", "info"),
    ]


def test_log_that_starts_late_gives_an_incomplete_call() -> None:
    (call,) = collect_calls([parse_line(log_lines.turn(30.0, 4))])
    assert not call.has_start
    assert [turn.number for turn in call.turns] == [4]


def test_malformed_lines_are_tolerated() -> None:
    lines = [
        log_lines.event(0, "session started"),
        log_lines.event(1, "turn", turn="x", outcome=3, response_seconds="fast"),
        '{"event":"turn","session":"3f2a9c1b7d04"}',
        "{",
    ]
    (call,) = collect_calls(map(parse_line, lines))
    assert [(turn.number, turn.response, turn.speech_ended_at) for turn in call.turns] == [
        (0, None, None)
    ]


def draw(*texts: str) -> str:
    return render_timeline(collect_calls(map(parse_line, texts or log_lines.TEXTS))[0], PLAIN)


def test_timeline_fits_80_columns_and_colour_changes_no_letter() -> None:
    text = draw()
    assert max(map(len, text.splitlines())) <= WIDTH
    painted = render_timeline(collect_calls(log_lines.LINES)[0], Paint(True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == text


def test_timeline_is_in_chronological_order() -> None:
    lines = [line.strip() for line in draw().splitlines() if re.match(r" *\d+:\d\d\.\d ", line)]
    assert lines == [
        "0:03.7  turn 1  answered, voice to voice 1984 ms, played after 2070 ms",
        "0:11.0  engine failed: tts engine_gone",
        "0:12.0  turn 2  interrupted, voice to voice 3600 ms",
        "0:20.0  tool called: done",
        "0:26.8  end  ended by the appliance: hung_up",
    ]


def test_each_stage_begins_where_the_previous_one_ends() -> None:
    rows = [line for line in draw().splitlines() if " ms  " in line and ":" not in line]
    bars = [(line.index("ms  ") + 4, line[line.index("ms  ") + 4 :]) for line in rows[:6]]
    assert len({column for column, _ in bars}) == 1
    end = 0
    for _, bar in bars:
        begin = len(bar) - len(bar.lstrip())
        assert begin == end
        end = len(bar) if "█" in bar else begin


def test_every_logged_stage_has_a_label() -> None:
    assert set(STAGE_LABELS) == set(STAGES)


def test_all_turns_are_drawn_to_one_scale() -> None:
    synthesis = [line.count("█") for line in draw().splitlines() if "synthesis" in line]
    assert abs(synthesis[1] - synthesis[0] * 1.34 / 0.94) <= 1  # whole columns


def test_timeline_names_what_detected_the_end_of_the_turn() -> None:
    assert "the user spoke for 1.4 s; end of turn detected by smart-turn" in draw()


def test_turn_without_an_answer_has_no_bars() -> None:
    text = draw(
        log_lines.event(0, "session started"),
        log_lines.event(2, "turn", turn=0, outcome="too_short", by="smart_turn", speech_seconds=0),
    )
    assert "ignored speech  too short" in text
    assert "█" not in text


def test_incomplete_calls_are_marked() -> None:
    assert "the call is in progress" in draw(log_lines.event(0, "session started"))
    assert "its start is not in this log" in draw(log_lines.turn(9, 4))


def test_list_has_a_line_for_each_call() -> None:
    text = render_list(collect_calls(log_lines.LINES), PLAIN)
    head, first, second = text.splitlines()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert first.split()[0] == "3f2a9c1b7d04"
    assert re.search(r"26s +2 +0 +3\.60 s +hung_up", first)
    assert second.endswith("in progress")
    assert head.index("ENDED") == first.index("hung_up")
    late = render_list(collect_calls([parse_line(log_lines.turn(9, 4))]), PLAIN)
    assert "09:55:09*" in late and "* started before this log" in late
    assert render_list([], PLAIN) == "no call in this log"
