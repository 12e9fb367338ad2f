"""Times, sizes and colours for a terminal."""

from __future__ import annotations

import pytest

from appliance.console.terminal import (
    Paint,
    format_duration,
    format_offset,
    format_size,
    format_time,
    printable,
    truncate,
    use_colour,
)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1min"),
        (75, "1min 15s"),
        (3_600, "1h"),
        (8_040, "2h 14min"),
        (90_000, "1d 1h"),
        (8_640_000, "100d"),
    ],
)
def test_durations_are_formatted_as_by_systemd(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected


def test_times_offsets_and_sizes_are_short() -> None:
    assert format_time(0) == "Thu 1970-01-01 00:00:00 UTC"
    offsets = [format_offset(seconds) for seconds in (0, 9.96, 61.24, 754.0)]
    assert offsets == ["0:00.0", "0:10.0", "1:01.2", "12:34.0"]
    assert [format_size(size) for size in (0, 312_500_000, 19.2e9)] == [
        "0.0 MB",
        "312.5 MB",
        "19.2 GB",
    ]


def test_colour_is_used_on_terminals_unless_forced_or_forbidden() -> None:
    assert [use_colour("auto", True), use_colour("auto", False)] == [True, False]
    assert [use_colour("always", False), use_colour("never", True)] == [True, False]
    assert Paint(False)("text", "red") == "text"
    assert Paint(True)("text", "red", "", "bold") == "\x1b[31;1mtext\x1b[0m"
    assert Paint(True)("text", "") == "text"


def test_control_characters_are_replaced() -> None:
    assert printable("a\x1b[2Jb\tc\x07é") == "a?[2Jb c?é"
    assert truncate("x" * 100, 10) == "xxxxxxxxx…"
    assert truncate("short", 10) == "short"
