"""The metrics of the graphics cards: what dcgm-exporter shows of each by default, in base units.

A card that does not answer has no series and makes voice_gpu_up 0, and so does a driver that hangs:
it is asked in a thread that it may keep, and no page waits longer than its time limit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.gpu.readings import Driver, Reading, Sight


class Cards:
    """Looks at the cards with a time limit. While a look hangs, no other one begins."""

    def __init__(self, look: Callable[[], Sight] | None = None) -> None:
        self._look = look or Driver().look
        self._looking: asyncio.Future[Sight] | None = None

    async def sight(self, timeout_seconds: float) -> Sight | None:
        """What the driver says, or None when it did not answer in time."""
        if self._looking is None or self._looking.done():
            loop = asyncio.get_running_loop()
            self._looking = loop.create_future()
            job = threading.Thread(target=self._answer, args=(loop, self._looking), daemon=True)
            job.start()
        done, _ = await asyncio.wait({self._looking}, timeout=timeout_seconds)
        return self._looking.result() if done else None

    def _answer(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Sight]) -> None:
        try:
            sight = self._look()
        except Exception as defect:  # ours; it is raised where the answer is awaited
            loop.call_soon_threadsafe(answer.set_exception, defect)
        else:
            loop.call_soon_threadsafe(answer.set_result, sight)


class CardMetrics(Collector):
    """One scrape's view."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "voice_gpu_up",
            "1 when there are graphics cards and each that was ever seen answers.",
            float(self._sight.complete),
        )
        info = GaugeMetricFamily(
            "voice_gpu_info",
            "Graphics cards by their number in this appliance; always 1.",
            labels=["gpu", "name", "uuid", "driver"],
        )
        for reading in self._sight.readings:
            card = reading.card
            info.add_metric([str(reading.number), card.name, card.uuid, card.driver], 1)
        yield info
        yield self._gauge(
            "sm_clock_hertz", "Clock of the processors.", lambda it: it.sm_clock_hertz
        )
        yield self._gauge(
            "temperature_celsius", "Temperature of the chip.", lambda it: it.temperature_celsius
        )
        yield self._gauge("power_watts", "Power drawn.", lambda it: it.power_watts)
        yield self._gauge(
            "utilization_ratio",
            "Part of the last sample's time in which the card worked.",
            lambda it: it.utilization_ratio,
        )
        yield self._gauge(
            "memory_used_bytes",
            "Memory in use, by whomever.",
            lambda it: it.card.memory_bytes - it.card.free_bytes,
        )
        yield self._gauge(
            "memory_total_bytes", "Memory that programs can use.", lambda it: it.card.memory_bytes
        )
        yield self._gauge(
            "last_xid",
            "NVIDIA's number of the last error since the exporter's start; 0 for none.",
            lambda it: it.last_xid,
        )

    def _gauge(
        self, name: str, meaning: str, value: Callable[[Reading], float | None]
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"voice_gpu_{name}", meaning, labels=["gpu"])
        for reading in self._sight.readings:
            if (known := value(reading)) is not None:
                family.add_metric([str(reading.number)], known)
        return family
