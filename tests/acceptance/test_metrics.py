"""Comparison of two scrapes with the activity of the test caller."""

from __future__ import annotations

import pytest

from appliance.acceptance.metrics import (
    REQUIRED_SERIES,
    Activity,
    Scrape,
    check_complete,
    check_counters,
)
from appliance.gateway.metrics import GatewayMetrics
from appliance.journal_fields import STAGES
from appliance.metrics import render

OTHER_PROCESSES = ("voice_llm_", "voice_tts_", "voice_process_")


def scrape(metrics: GatewayMetrics) -> Scrape:
    return Scrape(render(metrics.registry).decode())


def count_turn(metrics: GatewayMetrics, outcome: str = "answered", seconds: float = 1.2) -> None:
    metrics.turns.labels(outcome).inc()
    metrics.turn_response_latency_seconds.observe(seconds)
    for stage in STAGES:
        metrics.stage_latency_seconds.labels(stage).observe(seconds / len(STAGES))


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics("cpu")


def test_required_series_are_those_of_the_gateway(metrics: GatewayMetrics) -> None:
    gateway_series = {name for name in REQUIRED_SERIES if not name.startswith(OTHER_PROCESSES)}
    assert gateway_series - scrape(metrics).names == {"voice_seal_ok"}  # series of the exporter


def test_counters_that_agree_with_the_activity_pass(metrics: GatewayMetrics) -> None:
    before = scrape(metrics)
    for outcome in ("answered", "interrupted", "answered"):
        count_turn(metrics, outcome)
    metrics.turns.labels("too_short").inc()
    metrics.sessions.labels("left").inc(2)
    metrics.barge_in_stop_seconds.observe(0.2)
    activity = Activity(calls=2, turns=3, answers=3, interruptions=1)
    results = check_counters(before, scrape(metrics), activity)
    assert [result.state for result in results] == ["pass"] * 4


def test_turn_that_is_not_counted_or_counted_twice_fails(metrics: GatewayMetrics) -> None:
    before = scrape(metrics)
    count_turn(metrics)
    metrics.sessions.labels("left").inc()
    after = scrape(metrics)
    assert check_counters(before, after, Activity(calls=1, turns=2))[0].state == "fail"
    assert check_counters(before, after, Activity(calls=1, turns=0))[0].state == "fail"
    activity = Activity(calls=1, turns=0, unreported=1)
    assert check_counters(before, after, activity)[0].state == "pass"


def test_turns_of_other_callers_pass_and_are_mentioned(metrics: GatewayMetrics) -> None:
    before = scrape(metrics)
    count_turn(metrics)
    count_turn(metrics)
    metrics.sessions.labels("left").inc(2)
    turns = check_counters(before, scrape(metrics), Activity(calls=1, turns=1))[0]
    assert turns.state == "pass"
    assert "there were other callers" in turns.found


def test_stages_that_do_not_sum_to_the_latency_fail(metrics: GatewayMetrics) -> None:
    before = scrape(metrics)
    count_turn(metrics)
    metrics.stage_latency_seconds.labels("synthesis").observe(0.5)
    results = check_counters(before, scrape(metrics), Activity(turns=1))
    assert results[2].state == "fail"


def test_missing_series_and_a_process_that_is_down_are_named(metrics: GatewayMetrics) -> None:
    series, processes = check_complete(scrape(metrics))
    assert "voice_process_up" in series.found
    assert processes.state == "fail"
    text = "".join(f"{name} 1\n" for name in REQUIRED_SERIES if name != "voice_process_up")
    up = 'voice_process_up{process="tts"} 0\nvoice_process_up{process="gateway"} 1\n'
    series, processes = check_complete(Scrape(text + up))
    assert series.state == "pass"
    assert processes.found == "down: tts"
