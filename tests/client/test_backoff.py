from hypothesis import given
from hypothesis import strategies as st

from client.backoff import LONGEST_SECONDS, delay_seconds


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_delays_grow_to_a_limit_and_never_vanish(attempt, chance):
    delay = delay_seconds(attempt, None, lambda: chance)
    assert 0.25 <= delay <= LONGEST_SECONDS
    assert delay_seconds(attempt + 1, None, lambda: chance) >= delay


@given(st.integers(0, 20), st.floats(0, 3600), st.floats(0, 1))
def test_the_server_is_never_asked_again_before_it_said(attempt, asked, chance):
    assert delay_seconds(attempt, asked, lambda: chance) >= asked


def test_two_clients_do_not_come_back_at_the_same_moment():
    assert delay_seconds(3, None, lambda: 0.1) != delay_seconds(3, None, lambda: 0.9)
    assert delay_seconds(0, 5.0, lambda: 0.1) != delay_seconds(0, 5.0, lambda: 0.9)
