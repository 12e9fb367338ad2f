"""Reconnection delays."""

from hypothesis import given
from hypothesis import strategies as st

from client.backoff import MAX_SECONDS, delay_seconds


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_delays_grow_up_to_a_limit_and_are_never_zero(attempt: int, jitter: float) -> None:
    delay = delay_seconds(attempt, None, lambda: jitter)
    assert 0.25 <= delay <= MAX_SECONDS
    assert delay_seconds(attempt + 1, None, lambda: jitter) >= delay


@given(st.integers(0, 20), st.floats(0, 3600), st.floats(0, 1))
def test_retry_is_never_earlier_than_retry_after(
    attempt: int, retry_after: float, jitter: float
) -> None:
    assert delay_seconds(attempt, retry_after, lambda: jitter) >= retry_after


def test_two_clients_do_not_retry_at_the_same_moment() -> None:
    assert delay_seconds(3, None, lambda: 0.1) != delay_seconds(3, None, lambda: 0.9)
    assert delay_seconds(0, 5.0, lambda: 0.1) != delay_seconds(0, 5.0, lambda: 0.9)
