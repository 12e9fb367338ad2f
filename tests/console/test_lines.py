"""Lines of the log, chosen and shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from appliance.console.lines import Choice, Line, read, shown, since, wanted
from appliance.console.paint import Paint
from appliance.errors import BadSetting

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def line(event: str = "turn", **fields: object) -> Line:
    first = {"time": "2026-11-22T09:55:00.123456Z", "level": "info", "process": "gateway"}
    return read(json.dumps({**first, "event": event, **fields}) + "\n")


FOREIGN = read("Error: the container is gone\n")


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
    text = shown(line(waiting_for="ultravox and kokoro", trace=["a:1", "b:2"]), "cat", Paint(False))
    assert text == 'turn waiting_for="ultravox and kokoro" trace=a:1,b:2'


@pytest.mark.parametrize("text", ["not json\n", "[1, 2]\n", '{"no": "event"}\n', "3\n", "\n"])
def test_what_is_no_line_of_ours_is_shown_as_it_is(text: str) -> None:
    for output in ("short", "json", "cat"):
        assert shown(read(text), output, Paint(True)) == text.rstrip("\n")


def test_a_foreign_line_cannot_paint_the_terminal() -> None:
    assert shown(read("\x1b[2Jboo"), "short", Paint(False)) == "?[2Jboo"


def test_lines_of_one_unit_include_what_boot_and_guard_tell_of_it() -> None:
    kokoro = Choice(unit="kokoro")
    assert wanted(line(process="kokoro"), kokoro)
    assert wanted(line("program restarted", process="boot", program="kokoro"), kokoro)
    assert not wanted(line("program restarted", process="boot", program="gateway"), kokoro)
    assert not wanted(line(process="gateway", program="kokoro"), kokoro)
    assert not wanted(FOREIGN, kokoro)


def test_lines_of_one_call_are_chosen_by_its_id() -> None:
    assert wanted(line(session="ab12"), Choice(session="ab12"))
    assert not wanted(line(session="cd34"), Choice(session="ab12"))
    assert not wanted(line(), Choice(session="ab12"))


def test_a_level_takes_what_is_as_grave_or_graver() -> None:
    warnings = Choice(level="warning")
    taken = [level for level in ("debug", "info", "warning", "error", "critical")
             if wanted(line(level=level), warnings)]  # fmt: skip
    assert taken == ["warning", "error", "critical"]
    assert wanted(FOREIGN, warnings)


def test_since_takes_what_is_younger_and_what_has_no_time() -> None:
    assert wanted(line(), Choice(since=NOW - timedelta(minutes=10)))
    assert not wanted(line(), Choice(since=NOW - timedelta(minutes=1)))
    assert wanted(line(time="?"), Choice(since=NOW))
    assert wanted(FOREIGN, Choice(since=NOW))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("30s", NOW - timedelta(seconds=30)),
        ("10m", NOW - timedelta(minutes=10)),
        ("10 min", NOW - timedelta(minutes=10)),
        ("2h", NOW - timedelta(hours=2)),
        ("1d", NOW - timedelta(days=1)),
        ("2026-11-22T10:00:00Z", NOW),
        ("2026-11-22 10:00", NOW),
        ("2026-11-22T11:00:00+01:00", NOW),
    ],
)
def test_a_time_may_be_an_age_or_a_point(text: str, expected: datetime | None) -> None:
    assert since(text, NOW) == expected


@pytest.mark.parametrize("text", ["soon", "10", "10y", "-5m"])
def test_another_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadSetting, match="10m, 2h, 1d"):
        since(text, NOW)
