"""Log lines, filtered and formatted."""

from __future__ import annotations

import json

import pytest

from appliance.console.logs import LogLine, format_line, is_about, parse_line
from appliance.console.terminal import Paint


def make_line(event: str = "turn", **fields: object) -> LogLine:
    header = {"time": "2026-11-22T09:55:00.123456Z", "level": "info", "process": "gateway"}
    return parse_line(json.dumps({**header, "event": event, **fields}) + "\n")


def test_short_format_is_that_of_journalctl() -> None:
    text = format_line(make_line(turn=3, outcome="answered", ready=True), "short", Paint(False))
    assert text == "Nov 22 09:55:00.123 gateway   turn turn=3 outcome=answered ready=true"


def test_warning_is_marked_with_and_without_colour() -> None:
    line = make_line("engine failed", level="warning")
    assert "warning: engine failed" in format_line(line, "short", Paint(False))
    assert "\x1b[33" in format_line(line, "short", Paint(True))


def test_cat_omits_time_and_process_and_json_is_unchanged() -> None:
    assert format_line(make_line(turn=3), "cat", Paint(False)) == "turn turn=3"
    assert json.loads(format_line(make_line(turn=3), "json", Paint(True)))["turn"] == 3


def test_values_with_spaces_are_quoted_and_lists_are_joined() -> None:
    line = make_line(waiting_for="llm and tts", trace=["a:1", "b:2"])
    assert format_line(line, "cat", Paint(False)) == 'turn waiting_for="llm and tts" trace=a:1,b:2'


@pytest.mark.parametrize("text", ["not json\n", "[1, 2]\n", '{"no": "event"}\n', "3\n", "\n"])
def test_foreign_line_is_shown_unchanged(text: str) -> None:
    for output in ("short", "json", "cat"):
        assert format_line(parse_line(text), output, Paint(True)) == text.rstrip("\n")


def test_foreign_line_cannot_control_the_terminal() -> None:
    assert format_line(parse_line("\x1b[2Jboo"), "short", Paint(False)) == "?[2Jboo"


def test_json_of_another_writer_cannot_control_the_terminal() -> None:
    text = '{"event":\r"a \u009b2J b \u202e"}'
    shown = format_line(parse_line(text), "json", Paint(False))
    assert shown.isascii() and shown.isprintable()
    assert json.loads(shown) == json.loads(text)


def test_lines_of_a_unit_include_those_of_boot_and_guard_about_it() -> None:
    assert is_about(make_line(process="tts"), "tts")
    assert is_about(make_line("program restarted", process="boot", program="tts"), "tts")
    assert not is_about(make_line("program restarted", process="boot", program="gateway"), "tts")
    assert not is_about(make_line(process="gateway", program="tts"), "tts")
    assert not is_about(parse_line("Error: the container is gone\n"), "tts")
