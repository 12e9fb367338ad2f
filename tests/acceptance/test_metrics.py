"""Whether the metrics tell what was done."""

from __future__ import annotations

import pytest

from appliance.acceptance.metrics import FAMILIES, Made, Page, complete, counted
from appliance.gateway.metrics import GatewayMetrics
from appliance.journal_fields import STAGES
from appliance.metrics import render

OURS = [name for name in FAMILIES if not name.startswith(("voice_llm_", "voice_tts_", "voice_pro"))]


def page(meters: GatewayMetrics) -> Page:
    return Page(render(meters.registry).decode())


def turn(meters: GatewayMetrics, outcome: str = "answered", seconds: float = 1.2) -> None:
    meters.turns.labels(outcome).inc()
    meters.turn_response_latency_seconds.observe(seconds)
    for stage in STAGES:
        meters.stage_latency_seconds.labels(stage).observe(seconds / len(STAGES))


@pytest.fixture
def meters() -> GatewayMetrics:
    return GatewayMetrics("cpu")


def test_the_names_looked_for_are_those_of_the_gateway(meters: GatewayMetrics) -> None:
    absent = set(OURS) - page(meters).names
    assert absent == {"voice_seal_ok"}  # the exporter's own


def test_what_was_made_and_counted_agrees(meters: GatewayMetrics) -> None:
    before = page(meters)
    for outcome in ("answered", "interrupted", "answered"):
        turn(meters, outcome)
    meters.turns.labels("too_short").inc()
    meters.sessions.labels("left").inc(2)
    meters.barge_in_stop_seconds.observe(0.2)
    made = Made(calls=2, turns=3, answers=3, interruptions=1)
    assert [one.state for one in counted(before, page(meters), made)] == ["pass"] * 4


def test_a_turn_that_is_not_counted_or_counted_twice_is_noticed(meters: GatewayMetrics) -> None:
    before = page(meters)
    turn(meters)
    meters.sessions.labels("left").inc()
    after = page(meters)
    assert counted(before, after, Made(calls=1, turns=2))[0].state == "fail"
    assert counted(before, after, Made(calls=1, turns=0))[0].state == "fail"
    assert counted(before, after, Made(calls=1, turns=0, untold=1))[0].state == "pass"


def test_other_callers_are_told_of_and_only_more_is_forgiven(meters: GatewayMetrics) -> None:
    before = page(meters)
    turn(meters)
    turn(meters)
    meters.sessions.labels("left").inc(2)
    told = counted(before, page(meters), Made(calls=1, turns=1))[0]
    assert told.state == "pass"
    assert "others called meanwhile" in told.found


def test_stages_that_do_not_sum_to_the_whole_are_noticed(meters: GatewayMetrics) -> None:
    before = page(meters)
    turn(meters)
    meters.stage_latency_seconds.labels("synthesis").observe(0.5)
    assert [one.state for one in counted(before, page(meters), Made(turns=1))][2] == "fail"


def test_a_missing_family_and_a_process_that_is_down_are_named(meters: GatewayMetrics) -> None:
    families, processes = complete(page(meters))
    assert "voice_process_up" in families.found
    assert processes.state == "fail"
    text = "".join(f"{name} 1\n" for name in FAMILIES if name != "voice_process_up")
    up = 'voice_process_up{process="tts"} 0\nvoice_process_up{process="gateway"} 1\n'
    families, processes = complete(Page(text + up))
    assert families.state == "pass"
    assert processes.found == "down: tts"
