"""A leak is told from breathing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.supervision.symptoms import SLICES, Growth

MB = 1_000_000


def found(held: list[int], grown_bytes: int = 100 * MB) -> bool:
    """Whether growth is found in what a process held, looked at ten times a slice."""
    growth = Growth(window_seconds=10.0 * SLICES, grown_bytes=grown_bytes)
    return any(growth.grown(float(at), size) for at, size in enumerate(held))


def test_a_steady_leak_is_found_once_it_is_large_and_the_window_full() -> None:
    assert found([at * 5 * MB for at in range(70)])
    assert not found([at * 5 * MB for at in range(55)])


def test_a_slow_leak_is_left_alone() -> None:
    assert not found([at * MB for at in range(300)])


def test_a_process_that_breathes_is_left_alone_however_deeply() -> None:
    assert not found([500 * MB * (at % 7) for at in range(300)])


def test_a_leak_under_breath_is_found() -> None:
    assert found([at * 5 * MB + 400 * MB * (at % 4) for at in range(80)])


def test_one_large_step_is_no_growth() -> None:
    assert not found([100 * MB] * 60 + [900 * MB] * 200)


def test_growth_that_rests_once_begins_anew() -> None:
    rising = [at * 5 * MB for at in range(40)]
    assert not found([*rising, *[rising[-1]] * 20, *[rising[-1] + size for size in rising]])


def test_nothing_is_found_when_it_is_not_looked_for() -> None:
    assert not found([at * 50 * MB for at in range(300)], grown_bytes=0)


@given(st.lists(st.integers(0, 99 * MB), max_size=200))
def test_whatever_stays_below_the_limit_is_never_growth(held: list[int]) -> None:
    assert not found(held)
