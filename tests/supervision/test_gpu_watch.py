"""GpuWatch: detection of a lost GPU."""

from __future__ import annotations

import pytest

from appliance.gpu.cards import GpuCard
from appliance.gpu.nvml import CardList
from appliance.settings import load
from appliance.supervision.gpu_watch import NO_REPLY, DriverPoller, DriverReply, GpuWatch, uses_gpu
from tests.supervision.dummies import wait_until


def card(uuid: str) -> GpuCard:
    return GpuCard("NVIDIA L4", 24, 24, (8, 9), "580", uuid=uuid)


BOTH = CardList((card("GPU-1"), card("GPU-2")))
ONE = CardList((card("GPU-1"),))
OTHER = CardList((card("GPU-2"),))
NONE = CardList((), "the driver cannot be opened: Unknown Error")


def watch(*expected: str) -> GpuWatch:
    return GpuWatch(expected, silent_seconds=15.0, step_seconds=5.0)


def reasons(gpu_watch: GpuWatch, *listings: CardList) -> list[str]:
    """Feed the replies in order, and return the reasons of the resulting symptoms."""
    replies = [DriverReply(float(time), listing) for time, listing in enumerate(listings, 1)]
    return [symptom.why for reply in replies for symptom in gpu_watch.check(reply)]


def test_machine_that_never_had_a_gpu_reports_none_missing() -> None:
    gpu_watch = watch()
    assert reasons(gpu_watch, NONE, NONE, NONE) == []
    assert [gpu_watch.check(None) for _ in range(20)] == [[]] * 20


def test_only_the_gpu_of_the_engines_must_stay() -> None:
    assert reasons(watch(), BOTH, ONE, ONE, ONE) == []
    assert reasons(watch(), BOTH, OTHER, OTHER) == ["the driver no longer lists GPU-1"]
    broken = CardList(ONE.cards, "card 1 cannot be used: GPU is lost")
    assert reasons(watch(), BOTH, broken, broken) == []


def test_driver_that_can_no_longer_be_opened_is_a_loss() -> None:
    assert reasons(watch(), ONE, NONE, NONE) == [NONE.problem]


def test_single_reply_without_the_gpu_is_not_a_loss() -> None:
    assert reasons(watch(), ONE, NONE, ONE, NONE, ONE) == []


def test_hanging_driver_is_a_loss() -> None:
    gpu_watch, reply = watch(), DriverReply(1.0, ONE)
    checks = [gpu_watch.check(reply) for _ in range(4)]
    assert [len(symptoms) for symptoms in checks] == [0, 0, 0, 1]
    assert checks[-1][0].why == NO_REPLY


def test_restarted_guard_knows_which_gpu_was_present() -> None:
    first = watch()
    reasons(first, BOTH)
    assert reasons(watch(*first.expected), OTHER, OTHER) != []
    assert reasons(watch(*first.expected), NONE, NONE) == [NONE.problem]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"VOICE_TTS_BACKEND": "torch", "VOICE_TTS_DEVICE": "cuda"}, True),
        ({"VOICE_LLM_ENGINE": "vllm"}, True),
    ],
)
def test_gpus_are_watched_only_if_an_engine_uses_one(
    environ: dict[str, str], expected: bool
) -> None:
    assert uses_gpu(load(environ)) == expected


def test_driver_is_polled_repeatedly() -> None:
    listings = iter([BOTH, ONE])
    poller = DriverPoller(lambda: next(listings, ONE), 0.01)
    poller.start()
    wait_until(lambda: poller.reply is not None and poller.reply.listing == ONE)
