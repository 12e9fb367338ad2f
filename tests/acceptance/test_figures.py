"""Percentiles and axes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from appliance.acceptance.report import percentile, seconds, ticks

values = some.lists(some.floats(0, 1e4), min_size=1)


@given(values, some.floats(0, 1))
def test_so_many_values_do_not_exceed_a_percentile(of: list[float], share: float) -> None:
    found = percentile(of, share)
    assert found in of
    assert sum(value <= found for value in of) >= share * len(of) - 1e-6


def test_nearest_rank_is_what_the_textbooks_say() -> None:
    assert percentile([15, 20, 35, 40, 50], 0.4) == 20
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([3, 1, 2], 0.95) == 3
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(some.floats(0.001, 1e4))
def test_an_axis_reaches_beyond_the_longest_value_in_few_round_steps(longest: float) -> None:
    marks = ticks(longest)
    assert marks[0] == 0
    assert marks[-1] >= longest * 0.999
    assert 2 <= len(marks) <= 8


def test_short_times_are_told_in_milliseconds() -> None:
    assert (seconds(0.2837), seconds(1.5)) == ("284 ms", "1.50 s")
