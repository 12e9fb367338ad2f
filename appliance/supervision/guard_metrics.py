"""The guard's metrics, from what it publishes in the run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.supervision.policy import POSSIBLE

FRESH_SECONDS = 30.0  # several looks of the guard; boot ends it sooner when it is frozen


def beats(told: Mapping[str, Any], now: float) -> bool:
    """Whether the guard was at work just now; `now` is monotonic."""
    return "beat" in told and now - float(told["beat"]) < FRESH_SECONDS


class GuardMetrics(Collector):
    """What the guard did so far; each pair of action and cause is on the page from the start."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._counts = {(it["action"], it["cause"]): it["count"] for it in told.get("actions", [])}

    def collect(self) -> Iterator[Metric]:
        actions = CounterMetricFamily(
            "voice_guard_actions",
            "What the guard decided, and what for.",
            labels=["action", "cause"],
        )
        for action, causes in POSSIBLE.items():
            for cause in causes:
                actions.add_metric([action, cause], self._counts.get((action, cause), 0))
        yield actions
