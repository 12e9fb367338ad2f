"""Echo cancellation with WebRTC's module, and how it is fed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from client.audio import level_dbfs
from client.echo import EchoCanceller, load_processor
from client.wav import read_wav
from tests.e2e.appliance import QUESTIONS

RATE = 16_000
FRAME = 640


class Recorder:
    """Returns the far end, so that a test sees what it is given."""

    def process(self, near: Any, far: Any) -> Any:
        assert len(near) == len(far)
        return far


def pcm(value: int, samples: int = FRAME) -> bytes:
    return np.full(samples, value, "<i2").tobytes()


def canceller(rate: int = RATE) -> EchoCanceller:
    echo = EchoCanceller(Recorder(), rate)
    echo.remove(pcm(0))  # the microphone runs
    return echo


def test_far_end_follows_the_microphone_in_order() -> None:
    echo = canceller()
    for value in (1, 2, 3):
        echo.played(pcm(value))
    assert [echo.remove(pcm(9))[:2] for _ in range(4)] == [
        value.to_bytes(2, "little") for value in (1, 2, 3, 0)
    ]


def test_loudspeaker_ahead_of_the_microphone_does_not_add_delay_for_ever() -> None:
    echo = canceller()
    for value in range(1, 20):
        echo.played(pcm(value))
    first = int.from_bytes(echo.remove(pcm(9))[:2], "little")
    assert first >= 19 - 7  # at most 0.25 s of 40 ms


def test_sound_before_the_microphone_runs_is_not_queued() -> None:
    echo = EchoCanceller(Recorder(), RATE)
    echo.played(pcm(5))
    assert echo.remove(pcm(9)) == pcm(0)


@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_echo_in_a_room_is_removed_and_the_caller_is_not(rate: int) -> None:
    processor = load_processor()
    assert processor is not None
    echo = EchoCanceller(processor, rate)
    voice = [np.frombuffer(read_wav(path), "<i2").astype(float) for path in QUESTIONS]
    played = np.tile(np.concatenate(voice), 3)[: 15 * RATE]
    room = np.zeros(4_000)
    room[[1_500, 2_100, 3_300]] = 0.5, 0.2, 0.1  # 94 ms and later
    heard = np.convolve(played, room)[: len(played)]
    caller = np.zeros(len(played))
    caller[12 * RATE : 12 * RATE + len(voice[0][: 3 * RATE])] = voice[0][: 3 * RATE]
    played[12 * RATE :] = 0  # the bot is silent while the caller speaks
    heard[12 * RATE + 4_000 :] = 0
    near = (heard + caller).clip(-32_768, 32_767).astype("<i2")
    device = np.interp(np.arange(0, len(played), RATE / rate), np.arange(len(played)), played)
    cleaned = bytearray()
    for start in range(0, len(near) - FRAME + 1, FRAME):
        at = start * rate // RATE
        block = device[at : at + FRAME * rate // RATE].astype("<i2")
        cleaned += echo.remove(near[start : start + FRAME].tobytes())
        echo.played(block.tobytes())
    converged = slice(2 * 4 * RATE, 2 * 11 * RATE)
    assert level_dbfs(near.tobytes()[converged]) > -40
    assert level_dbfs(bytes(cleaned)[converged]) < level_dbfs(near.tobytes()[converged]) - 20
    speech = slice(2 * 12 * RATE + 2 * 8_000, 2 * 14 * RATE)
    lost = level_dbfs(near.tobytes()[speech]) - level_dbfs(bytes(cleaned)[speech])
    assert abs(lost) < 3
