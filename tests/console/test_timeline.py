"""One call as a picture."""

from __future__ import annotations

import re

from appliance.console.logs import read
from appliance.console.terminal import WIDTH, Paint
from appliance.console.trace import LABELS, calls, listed, timeline
from appliance.journal_fields import STAGES
from tests.console import recorded

UNPAINTED = Paint(False)


def drawn(*texts: str) -> str:
    return timeline(calls(map(read, texts or recorded.TEXTS))[0], UNPAINTED)


def test_it_fits_80_columns_and_colour_changes_no_letter() -> None:
    text = drawn()
    assert max(map(len, text.splitlines())) <= WIDTH
    painted = timeline(calls(recorded.LINES)[0], Paint(True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == text


def test_it_tells_the_call_in_the_order_in_which_it_happened() -> None:
    told = [line.strip() for line in drawn().splitlines() if re.match(r" *\d+:\d\d\.\d ", line)]
    assert told == [
        "0:03.7  turn 1  answered, voice to voice 1984 ms, heard 2070 ms",
        "0:11.0  engine failed: tts engine_gone",
        "0:12.0  turn 2  interrupted, voice to voice 3600 ms",
        "0:20.0  tool called: done",
        "0:26.8  end  we ended it: hung_up",
    ]


def test_each_stage_begins_where_the_one_before_it_ends() -> None:
    rows = [line for line in drawn().splitlines() if " ms  " in line and ":" not in line]
    bars = [(line.index("ms  ") + 4, line[line.index("ms  ") + 4 :]) for line in rows[:6]]
    assert len({column for column, _ in bars}) == 1
    end = 0
    for _, bar in bars:
        begin = len(bar) - len(bar.lstrip())
        assert begin == end
        end = len(bar) if "█" in bar else begin


def test_every_stage_that_is_logged_has_a_name() -> None:
    assert set(LABELS) == set(STAGES)


def test_all_turns_are_drawn_to_one_scale() -> None:
    synthesis = [line.count("█") for line in drawn().splitlines() if "synthesis" in line]
    assert abs(synthesis[1] - synthesis[0] * 1.34 / 0.94) <= 1  # whole columns


def test_how_the_end_of_the_turn_was_found_is_told() -> None:
    assert "the user spoke 1.4 s, its end found by smart-turn" in drawn()


def test_a_turn_without_an_answer_has_no_bars() -> None:
    text = drawn(
        recorded.text(0, "session started"),
        recorded.text(2, "turn", turn=0, outcome="too_short", by="smart_turn", speech_seconds=0),
    )
    assert "no turn  too short" in text
    assert "█" not in text


def test_a_call_that_goes_on_and_one_that_began_before_the_log_say_so() -> None:
    assert "the call goes on" in drawn(recorded.text(0, "session started"))
    assert "its beginning is not in this log" in drawn(recorded.turn(9, 4))


def test_all_calls_are_listed() -> None:
    text = listed(calls(recorded.LINES), UNPAINTED)
    head, first, second = text.splitlines()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert first.split()[0] == "3f2a9c1b7d04"
    assert re.search(r"26s +2 +0 +3\.60 s +hung_up", first)
    assert second.endswith("goes on")
    assert head.index("ENDED") == first.index("hung_up")
    late = listed(calls([read(recorded.turn(9, 4))]), UNPAINTED)
    assert "09:55:09*" in late and "* it began before this log" in late
    assert listed([], UNPAINTED) == "no call in this log"
