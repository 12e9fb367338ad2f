"""Lines of the log, chosen and shown."""

from __future__ import annotations

import json

import pytest

from appliance.console.logs import Line, about, read, shown
from appliance.console.terminal import Paint


def line(event: str = "turn", **fields: object) -> Line:
    first = {"time": "2026-11-22T09:55:00.123456Z", "level": "info", "process": "gateway"}
    return read(json.dumps({**first, "event": event, **fields}) + "\n")


def test_a_line_is_short_as_journalctl_has_it() -> None:
    text = shown(line(turn=3, outcome="answered", ready=True), "short", Paint(False))
    assert text == "Nov 22 09:55:00.123 gateway   turn turn=3 outcome=answered ready=true"


def test_what_went_wrong_says_so_without_colour_too() -> None:
    text = shown(line("engine failed", level="warning"), "short", Paint(False))
    assert "warning: engine failed" in text
    assert "\x1b[33" in shown(line("engine failed", level="warning"), "short", Paint(True))


def test_cat_leaves_out_when_and_who_and_json_is_the_line_as_it_was() -> None:
    assert shown(line(turn=3), "cat", Paint(False)) == "turn turn=3"
    assert json.loads(shown(line(turn=3), "json", Paint(True)))["turn"] == 3


def test_values_of_several_words_are_quoted_and_lists_joined() -> None:
    text = shown(line(waiting_for="llm and tts", trace=["a:1", "b:2"]), "cat", Paint(False))
    assert text == 'turn waiting_for="llm and tts" trace=a:1,b:2'


@pytest.mark.parametrize("text", ["not json\n", "[1, 2]\n", '{"no": "event"}\n', "3\n", "\n"])
def test_what_is_no_line_of_ours_is_shown_as_it_is(text: str) -> None:
    for output in ("short", "json", "cat"):
        assert shown(read(text), output, Paint(True)) == text.rstrip("\n")


def test_a_foreign_line_cannot_paint_the_terminal() -> None:
    assert shown(read("\x1b[2Jboo"), "short", Paint(False)) == "?[2Jboo"


def test_lines_of_one_unit_include_what_boot_and_guard_tell_of_it() -> None:
    assert about(line(process="tts"), "tts")
    assert about(line("program restarted", process="boot", program="tts"), "tts")
    assert not about(line("program restarted", process="boot", program="gateway"), "tts")
    assert not about(line(process="gateway", program="tts"), "tts")
    assert not about(read("Error: the container is gone\n"), "tts")
