"""What a page of metrics says of calls, turns and cards; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

HEADLINE = "voice_turn_response_latency_seconds"


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as the exporter sees it; what it did not tell is None."""

    gpu: str
    name: str = ""
    driver: str = ""
    temperature_celsius: float | None = None
    power_watts: float | None = None
    utilization_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    last_xid: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Calls and turns are those of this gateway process.

    ready_changed    Unix time since which calls are taken, or not; 0 until they first are
    p50, p95         seconds from the end of the user's speech to the answer; None before a turn
    ready            by process: whether it says that it can do its work
    gpu_up           None when the page says nothing of cards
    """

    ready_changed: float = 0.0
    calls_now: int = 0
    calls_ended: int = 0
    calls_refused: int = 0
    turns: int = 0
    turns_failed: int = 0
    p50: float | None = None
    p95: float | None = None
    ready: Mapping[str, bool] = field(default_factory=dict)
    gpu_up: bool | None = None
    cards: tuple[Card, ...] = ()


def figures(page: str) -> Figures:
    """Reads a page in Prometheus text format. Raises ValueError for what is none."""
    samples: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)

    def total(name: str, **labels: str) -> float:
        return sum(
            sample.value
            for sample in samples.get(name, [])
            if labels.items() <= sample.labels.items()
        )

    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in samples.get(f"{HEADLINE}_bucket", [])
    ]
    return Figures(
        ready_changed=total("voice_ready_changed_timestamp_seconds"),
        calls_now=int(total("voice_sessions_active")),
        calls_ended=int(total("voice_sessions_total")),
        calls_refused=int(total("voice_sessions_rejected_total")),
        turns=int(total("voice_turns_total")),
        turns_failed=int(total("voice_turns_total", outcome="failed")),
        p50=quantile(0.5, buckets),
        p95=quantile(0.95, buckets),
        ready={
            sample.labels["process"]: bool(sample.value)
            for sample in samples.get("voice_process_ready", [])
        },
        gpu_up=bool(total("voice_gpu_up")) if "voice_gpu_up" in samples else None,
        cards=tuple(_cards(samples)),
    )


def quantile(part: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """histogram_quantile of Prometheus: linear within the bucket, its lower end for the last one.

    buckets: (upper end, cumulative count), with infinity; None when they are empty.
    """
    ordered = sorted(buckets)
    if not ordered or not ordered[-1][1]:
        return None
    rank = part * ordered[-1][1]
    lower, below = 0.0, 0.0
    for upper, count in ordered:
        if count >= rank and count > below:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * (rank - below) / (count - below)
        lower, below = upper, count
    return lower


def _cards(samples: Mapping[str, Sequence[Sample]]) -> Iterable[Card]:
    def of(name: str, gpu: str) -> float | None:
        told = [sample.value for sample in samples.get(name, []) if sample.labels["gpu"] == gpu]
        return told[0] if told else None

    for info in samples.get("voice_gpu_info", []):
        gpu = info.labels["gpu"]
        yield Card(
            gpu=gpu,
            name=info.labels.get("name", ""),
            driver=info.labels.get("driver", ""),
            temperature_celsius=of("voice_gpu_temperature_celsius", gpu),
            power_watts=of("voice_gpu_power_watts", gpu),
            utilization_ratio=of("voice_gpu_utilization_ratio", gpu),
            memory_used_bytes=of("voice_gpu_memory_used_bytes", gpu),
            memory_total_bytes=of("voice_gpu_memory_total_bytes", gpu),
            last_xid=of("voice_gpu_last_xid", gpu),
        )
