"""The state that follows from the facts, and the summary of a page of metrics."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from appliance.console.state import (
    CANNOT_TELL,
    TAKES_CALLS,
    TAKES_NONE,
    GpuSummary,
    judge,
    parse_metrics,
    quantile,
)
from appliance.gateway.metrics import GatewayMetrics
from appliance.metrics import render
from tests.console import facts as samples
from tests.console.facts import NOW, running

STATES = {
    "stopped": ("stopped", TAKES_NONE),
    "broken": ("broken", TAKES_NONE),
    "starting": ("starting", TAKES_NONE),
    "verifying": ("starting", TAKES_NONE),
    "draining": ("draining", TAKES_NONE),
    "degraded": ("degraded", TAKES_NONE),
    "running": ("running", TAKES_CALLS),
    "gpu": ("running", TAKES_CALLS),
}


@pytest.mark.parametrize("name", samples.ALL)
def test_each_state_has_its_name_and_exit_code(name: str) -> None:
    state = judge(samples.ALL[name]())
    assert (state.name, state.exit_code) == STATES[name]


def test_calls_are_accepted_while_the_exporter_is_down() -> None:
    state = judge(samples.with_process(running(), "exporter", exists=False))
    assert (state.name, state.exit_code) == ("degraded", TAKES_CALLS)
    assert state.why == "calls are accepted, but exporter is down"


def test_slow_first_start_is_still_starting_when_supervisord_reports_running() -> None:
    facts = replace(samples.starting(), processes=samples.processes("RUNNING", 90))
    assert judge(facts).name == "starting"


def test_appliance_that_was_ready_once_is_degraded_and_not_starting() -> None:
    state = judge(running(waiting_for="tts", metrics={"ready_changed": NOW - 5}))
    assert (state.name, state.why, state.since) == ("degraded", "waiting for tts", NOW - 5)


def test_frozen_gateway_is_degraded() -> None:
    state = judge(running(waiting_for="gateway", metrics=None))
    assert (state.name, state.why) == ("degraded", "waiting for gateway")


def test_gateway_that_is_not_up_yet_is_starting() -> None:
    young = samples.processes("STARTING", 2)
    state = judge(running(waiting_for="gateway", metrics=None, processes=young))
    assert state.name == "starting"


def test_process_that_restarts_during_the_first_start_is_degraded() -> None:
    facts = samples.with_process(samples.starting(), "tts", restarts=2)
    assert judge(facts).name == "degraded"


def test_stop_in_progress_is_draining() -> None:
    assert judge(running(waiting_for="draining")).name == "draining"


def test_appliance_that_is_ready_but_closed_takes_no_calls() -> None:
    state = judge(running(closed_since=NOW - 5))
    assert (state.name, state.since, state.exit_code) == ("closed", NOW - 5, TAKES_NONE)
    assert judge(running(closed_since=NOW - 5, waiting_for="tts")).name == "degraded"
    both = running(closed_since=NOW - 5, draining_since=NOW - 1)
    assert judge(both).name == "draining"


def test_draining_still_names_what_is_missing() -> None:
    state = judge(running(draining_since=NOW - 1, waiting_for="tts"))
    assert state.name == "draining"
    assert state.why.endswith("waiting for tts")


def test_processes_without_their_boot_are_unknown() -> None:
    state = judge(running(boot_pid=None))
    assert (state.name, state.exit_code) == ("unknown", CANNOT_TELL)


def test_unresponsive_supervisord_is_starting_at_first_and_unknown_later() -> None:
    silent = {"processes": None, "waiting_for": None, "metrics": None}
    later = judge(running(**silent))
    assert (later.name, later.exit_code) == ("unknown", CANNOT_TELL)
    first = judge(running(**silent, boot_started=NOW - 6, seal_written=NOW - 2))
    assert (first.name, first.why) == ("starting", "waiting for supervisord")
    takes_calls = judge(running(processes=None))
    assert (takes_calls.name, takes_calls.exit_code) == ("degraded", TAKES_CALLS)


GPU_PAGE = """\
voice_gpu_up 1
voice_gpu_info{gpu="0",name="NVIDIA L4",uuid="GPU-1",driver="580.65.06"} 1
voice_gpu_temperature_celsius{gpu="0"} 61
voice_gpu_power_watts{gpu="0"} 54.4
voice_gpu_utilization_ratio{gpu="0"} 0.83
voice_gpu_memory_used_bytes{gpu="0"} 19200000000
voice_gpu_memory_total_bytes{gpu="0"} 24100000000
"""


def test_page_of_a_real_gateway_is_summarised() -> None:
    gateway = GatewayMetrics("cpu")
    gateway.set_state(True, False, False)
    gateway.sessions_active.set(2)
    gateway.sessions.labels("left").inc(3)
    gateway.sessions.labels("idle").inc()
    gateway.sessions_rejected.labels("full").inc(5)
    gateway.turns.labels("answered").inc(9)
    gateway.turns.labels("failed").inc()
    gateway.token_weak.labels("readable_token").set(1)
    gateway.confinement_gap.labels("connections").set(1)
    for seconds in (1.3, 1.4, 1.6, 2.2):
        gateway.turn_response_latency_seconds.observe(seconds)
    summary = parse_metrics(render(gateway.registry).decode())
    assert (summary.calls_now, summary.calls_ended, summary.calls_refused) == (2, 4, 5)
    assert (summary.turns, summary.turns_failed) == (10, 1)
    assert summary.weak_tokens == ("readable_token",)
    assert summary.gaps == ("connections",)
    assert summary.ready_changed > 1e9
    assert summary.p50 == 1.5
    assert summary.p95 is not None and 2 < summary.p95 <= 2.5
    assert (summary.gpu_up, summary.gpus) == (None, ())


def test_latency_is_none_before_the_first_turn() -> None:
    summary = parse_metrics(render(GatewayMetrics("cpu").registry).decode())
    assert (summary.p50, summary.p95, summary.turns, summary.ready_changed) == (None, None, 0, 0)


def test_gpu_values_that_are_not_reported_are_none() -> None:
    summary = parse_metrics(GPU_PAGE)
    assert summary.gpu_up is True
    assert summary.gpus == (
        GpuSummary("0", "NVIDIA L4", "580.65.06", 61, 54.4, 0.83, 19.2e9, 24.1e9, last_xid=None),
    )
    assert parse_metrics("voice_gpu_up 0\n").gpu_up is False


def test_readiness_is_reported_per_process() -> None:
    page = 'voice_process_ready{process="tts"} 0\nvoice_process_ready{process="gateway"} 1\n'
    assert parse_metrics(page).ready == {"tts": False, "gateway": True}


def test_page_that_is_not_metrics_is_refused() -> None:
    with pytest.raises(ValueError):
        parse_metrics("<html>Not Found</html>")


@pytest.mark.parametrize(
    ("counts", "rank", "expected"),
    [
        ((0, 0, 0), 0.5, None),
        ((4, 4, 4), 0.5, 0.5),
        ((0, 4, 4), 0.5, 1.5),
        ((2, 4, 4), 0.95, 1.9),
        ((0, 0, 4), 0.95, 2.0),  # in the last bucket: its lower bound
    ],
)
def test_quantile_equals_that_of_prometheus(
    counts: tuple[int, ...], rank: float, expected: float | None
) -> None:
    buckets = list(zip((1.0, 2.0, math.inf), map(float, counts), strict=True))
    assert quantile(rank, buckets) == expected


def test_quantile_of_no_buckets_is_none() -> None:
    assert quantile(0.5, []) is None
