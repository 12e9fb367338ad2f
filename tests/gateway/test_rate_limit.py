"""The token bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.rate_limit import TokenBucket


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=30))
def test_bucket_never_exceeds_its_burst_and_rate(
    steps: list[tuple[float, float]],
) -> None:
    bucket, now, taken = TokenBucket(rate=2, burst=5), 0.0, 0.0
    for tokens, pause in steps:
        now += pause
        if bucket.take(tokens, now):
            taken += tokens
        assert taken <= 5 + 2 * now + 1e-6
