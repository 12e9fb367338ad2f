"""Helpers for the metrics of every process: registry, rendering, series that start at zero.

Each process defines its own metrics: gateway/metrics.py, engines/llm/metrics.py,
engines/tts/metrics.py and supervision/metrics.py. docs/metrics.md describes all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.metrics import MetricWrapperBase

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


def new_registry() -> CollectorRegistry:
    """Return an empty registry whose counters have no `_created` series."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return CollectorRegistry()


def render(registry: CollectorRegistry) -> bytes:
    """Return all metrics of a registry in Prometheus text format."""
    return generate_latest(registry)


def at_zero(metric: _Metric, *values: Sequence[str]) -> _Metric:
    """Return the metric with every combination of its label values present at zero.

    `values` are the possible values of each label. Prometheus counts the first event
    in a rate only if it scraped the series at zero before that event.
    """
    for combination in itertools.product(*values):
        metric.labels(*combination)
    return metric
