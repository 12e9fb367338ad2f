"""Numbers out of a page of metrics."""

from __future__ import annotations

import math

import pytest

from appliance.console.state import Card, figures, quantile
from appliance.gateway.metrics import GatewayMetrics
from appliance.metrics import render

CARDS = """\
voice_gpu_up 1
voice_gpu_info{gpu="0",name="NVIDIA L4",uuid="GPU-1",driver="580.65.06"} 1
voice_gpu_temperature_celsius{gpu="0"} 61
voice_gpu_power_watts{gpu="0"} 54.4
voice_gpu_utilization_ratio{gpu="0"} 0.83
voice_gpu_memory_used_bytes{gpu="0"} 19200000000
voice_gpu_memory_total_bytes{gpu="0"} 24100000000
"""


def test_a_real_gateways_page_is_understood() -> None:
    meters = GatewayMetrics("cpu")
    meters.set_state(True, False)
    meters.sessions_active.set(2)
    meters.sessions.labels("left").inc(3)
    meters.sessions.labels("idle").inc()
    meters.sessions_rejected.labels("full").inc(5)
    meters.turns.labels("answered").inc(9)
    meters.turns.labels("failed").inc()
    for seconds in (1.3, 1.4, 1.6, 2.2):
        meters.turn_response_latency_seconds.observe(seconds)
    found = figures(render(meters.registry).decode())
    assert (found.calls_now, found.calls_ended, found.calls_refused) == (2, 4, 5)
    assert (found.turns, found.turns_failed) == (10, 1)
    assert found.ready_changed > 1e9
    assert found.p50 == 1.5
    assert found.p95 is not None and 2 < found.p95 <= 2.5
    assert (found.gpu_up, found.cards) == (None, ())


def test_before_the_first_turn_there_is_no_latency() -> None:
    found = figures(render(GatewayMetrics("cpu").registry).decode())
    assert (found.p50, found.p95, found.turns, found.ready_changed) == (None, None, 0, 0)


def test_cards_are_read_and_what_they_do_not_tell_is_left_open() -> None:
    found = figures(CARDS)
    assert found.gpu_up is True
    assert found.cards == (
        Card("0", "NVIDIA L4", "580.65.06", 61, 54.4, 0.83, 19.2e9, 24.1e9, last_xid=None),
    )
    assert figures("voice_gpu_up 0\n").gpu_up is False


def test_readiness_is_known_by_process() -> None:
    page = 'voice_process_ready{process="tts"} 0\nvoice_process_ready{process="gateway"} 1\n'
    assert figures(page).ready == {"tts": False, "gateway": True}


def test_what_is_no_page_of_metrics_is_refused() -> None:
    with pytest.raises(ValueError):
        figures("<html>Not Found</html>")


@pytest.mark.parametrize(
    ("counts", "part", "expected"),
    [
        ((0, 0, 0), 0.5, None),
        ((4, 4, 4), 0.5, 0.5),
        ((0, 4, 4), 0.5, 1.5),
        ((2, 4, 4), 0.95, 1.9),
        ((0, 0, 4), 0.95, 2.0),  # beyond the last bucket: its lower end
    ],
)
def test_quantiles_are_those_of_prometheus(
    counts: tuple[int, ...], part: float, expected: float | None
) -> None:
    buckets = list(zip((1.0, 2.0, math.inf), map(float, counts), strict=True))
    assert quantile(part, buckets) == expected


def test_a_page_without_buckets_has_no_quantile() -> None:
    assert quantile(0.5, []) is None
