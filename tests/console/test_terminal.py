"""Times, sizes, colours."""

from __future__ import annotations

import pytest

from appliance.console.terminal import Paint, clock, cut, duration, printable, size, stamp, wanted


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
def test_durations_are_written_as_systemd_does(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_times_and_sizes_are_short() -> None:
    assert stamp(0) == "Thu 1970-01-01 00:00:00 UTC"
    assert [clock(x) for x in (0, 9.96, 61.24, 754.0)] == ["0:00.0", "0:10.0", "1:01.2", "12:34.0"]
    assert [size(x) for x in (0, 312_500_000, 19.2e9)] == ["0.0 MB", "312.5 MB", "19.2 GB"]


def test_colour_is_for_terminals_unless_somebody_insists() -> None:
    assert [wanted("auto", True), wanted("auto", False)] == [True, False]
    assert [wanted("always", False), wanted("never", True)] == [True, False]
    assert Paint(False)("text", "red") == "text"
    assert Paint(True)("text", "red", "", "bold") == "\x1b[31;1mtext\x1b[0m"
    assert Paint(True)("text", "") == "text"


def test_nothing_that_moves_the_cursor_gets_through() -> None:
    assert printable("a\x1b[2Jb\tc\x07é") == "a?[2Jb c?é"
    assert cut("x" * 100, 10) == "xxxxxxxxx…"
    assert cut("short", 10) == "short"
