"""The cards on the page: complete, in time, or not at all."""

from __future__ import annotations

import asyncio
import threading

import pytest
from prometheus_client import CollectorRegistry

from appliance.gpu.cards import Card
from appliance.gpu.readings import Reading, Sight
from appliance.supervision.metrics import CardMetrics, Cards

L4 = Card("NVIDIA L4", 22 << 30, 8 << 30, (8, 9), "580.95.05", "GPU-14")
BUSY = Reading(1, L4, 2.04e9, 55, 71.5, 0.37, 13)
SECONDS = 30.0  # for what must come


def page(*readings: Reading, complete: bool = True) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(CardMetrics(Sight(readings, complete)))
    return registry


def test_a_card_is_on_the_page_under_its_number() -> None:
    value = page(BUSY).get_sample_value
    of = {"gpu": "1"}
    assert value("voice_gpu_up") == 1
    assert value("voice_gpu_sm_clock_hertz", of) == 2.04e9
    assert value("voice_gpu_temperature_celsius", of) == 55
    assert value("voice_gpu_power_watts", of) == 71.5
    assert value("voice_gpu_utilization_ratio", of) == 0.37
    assert value("voice_gpu_memory_used_bytes", of) == 14 << 30
    assert value("voice_gpu_memory_total_bytes", of) == 22 << 30
    assert value("voice_gpu_last_xid", of) == 13
    named = {**of, "name": "NVIDIA L4", "uuid": "GPU-14", "driver": "580.95.05"}
    assert value("voice_gpu_info", named) == 1


def test_without_cards_there_is_the_one_series_that_says_so() -> None:
    families = list(page(complete=False).collect())
    assert [s.name for family in families for s in family.samples] == ["voice_gpu_up"]
    assert [s.value for family in families for s in family.samples] == [0]


def test_what_a_card_does_not_tell_has_no_series() -> None:
    value = page(Reading(0, L4, None, None, None, None, None)).get_sample_value
    assert value("voice_gpu_power_watts", {"gpu": "0"}) is None
    assert value("voice_gpu_last_xid", {"gpu": "0"}) is None
    assert value("voice_gpu_memory_total_bytes", {"gpu": "0"}) == 22 << 30


async def test_a_driver_that_hangs_is_not_waited_for_and_asked_again_only_when_it_answered() -> (
    None
):
    let_go, asked = threading.Event(), []

    def look() -> Sight:
        asked.append(1)
        let_go.wait(SECONDS)
        return Sight((BUSY,), True)

    cards = Cards(look)
    for _ in range(3):
        assert await cards.sight(0.05) is None
    assert len(asked) == 1
    let_go.set()
    sight = await cards.sight(SECONDS)
    assert sight is not None and sight.complete
    assert await cards.sight(SECONDS) is not None
    assert len(asked) == 2


async def test_pages_asked_for_at_once_share_one_look() -> None:
    let_go, asked = threading.Event(), []

    def look() -> Sight:
        asked.append(1)
        let_go.wait(SECONDS)
        return Sight()

    cards = Cards(look)
    pages = [asyncio.create_task(cards.sight(SECONDS)) for _ in range(4)]
    await asyncio.sleep(0)
    let_go.set()
    assert await asyncio.gather(*pages) == [Sight()] * 4
    assert len(asked) == 1


async def test_a_defect_in_the_reading_is_not_hidden() -> None:
    def look() -> Sight:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Cards(look).sight(SECONDS)
