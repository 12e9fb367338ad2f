"""Refusals fill no log."""

from __future__ import annotations

from appliance.gateway.http.refusal_log import INTERVAL_SECONDS, LOGGED_PER_INTERVAL, RefusalLog


def test_first_refusals_of_each_reason_are_logged_and_the_others_counted() -> None:
    log = RefusalLog()
    logged = [log.note("wrong_token", 0.01 * number) for number in range(1_000)]
    assert logged == [True] * LOGGED_PER_INTERVAL + [False] * (1_000 - LOGGED_PER_INTERVAL)
    assert log.note("full", 30.0)
    assert log.summary(INTERVAL_SECONDS - 0.1) == {}
    assert log.summary(INTERVAL_SECONDS) == {"wrong_token": 1_000 - LOGGED_PER_INTERVAL}
    assert log.summary(2 * INTERVAL_SECONDS) == {}


def test_next_interval_begins_with_the_next_refusal() -> None:
    log = RefusalLog()
    log.note("full", 0.0)
    assert log.summary(100.0) == {}
    for _ in range(LOGGED_PER_INTERVAL):
        assert log.note("full", 1_000.0)
    assert not log.note("full", 1_000.0)
    assert log.summary(1_059.0) == {}
    assert log.summary(1_060.0) == {"full": 1}
