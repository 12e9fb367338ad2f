"""Old audio is dropped after a stall; only a flood ends the session."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import TooFast
from appliance.gateway.input_pace import BYTES_PER_SECOND, STALL_SECONDS, InputPace

FRAME_SECONDS = 0.04
FRAME_BYTES = round(FRAME_SECONDS * BYTES_PER_SECOND)
BURST_SECONDS = 2.0


def frame(number: int) -> bytes:
    return number.to_bytes(2, "little") * (FRAME_BYTES // 2)


def numbers(pcm: bytes) -> list[int]:
    assert len(pcm) % FRAME_BYTES == 0
    return [
        int.from_bytes(pcm[start : start + 2], "little")
        for start in range(0, len(pcm), FRAME_BYTES)
    ]


def passed_on(pace: InputPace, arrivals: Iterable[float]) -> list[int]:
    """Receive one frame at each of these times. Return the numbers of those passed on."""
    return [
        number
        for index, now in enumerate(arrivals)
        for number in numbers(pace.receive(frame(index), now))
    ]


def microphone(count: int, start: float = 0.0) -> list[float]:
    return [start + index * FRAME_SECONDS for index in range(count)]


def test_audio_in_real_time_is_passed_on_at_once() -> None:
    pace = InputPace(1.5, BURST_SECONDS)
    for index, now in enumerate(microphone(5_000)):
        assert numbers(pace.receive(frame(index), now)) == [index]


@pytest.mark.parametrize("stall_seconds", [0.5, 1.0, 1.9])
def test_short_stall_loses_nothing(stall_seconds: float) -> None:
    before = microphone(100)
    backlog = [before[-1] + stall_seconds] * round(stall_seconds / FRAME_SECONDS)
    after = microphone(100, backlog[-1] + FRAME_SECONDS)
    arrivals = before + backlog + after
    assert passed_on(InputPace(1.5, BURST_SECONDS), arrivals) == list(range(len(arrivals)))


@pytest.mark.parametrize("stall_seconds", [3.0, 8.0, 40.0])
def test_long_stall_drops_the_oldest_audio_and_the_call_goes_on(stall_seconds: float) -> None:
    before = microphone(100)
    lost = round(stall_seconds / FRAME_SECONDS)
    backlog = [before[-1] + stall_seconds + index * 1e-4 for index in range(lost)]
    after = microphone(100, backlog[-1] + FRAME_SECONDS)
    arrivals = before + backlog + after
    kept = passed_on(InputPace(1.5, BURST_SECONDS), arrivals)
    newest = round(BURST_SECONDS / FRAME_SECONDS)
    assert kept[:100] == list(range(100))
    first_kept = kept[100]
    assert kept[100:] == list(range(first_kept, len(arrivals)))
    assert 100 + lost - newest <= first_kept <= 100 + lost - newest + 2


def test_microphone_that_was_off_loses_nothing() -> None:
    pace = InputPace(1.5, BURST_SECONDS)
    arrivals = microphone(50) + microphone(50, 60.0) + microphone(50, 90.0)
    assert passed_on(pace, arrivals) == list(range(150))


def test_three_stalls_in_a_row_are_not_a_flood() -> None:
    arrivals = [seconds for stall in (10.0, 20.0, 30.0) for seconds in [stall] * 250]
    passed_on(InputPace(1.5, BURST_SECONDS), arrivals)


@given(st.floats(2.5, 50), st.sampled_from([640, 1280, 3200]))
def test_flood_is_refused_and_little_of_it_is_passed_on(speed: float, size: int) -> None:
    pace = InputPace(1.5, BURST_SECONDS)
    received = passed = 0
    now = 0.0
    with pytest.raises(TooFast):
        while received < 20_000 * size:
            received += size
            passed += len(pace.receive(bytes(size), now))
            now += size / BYTES_PER_SECOND / speed
    assert passed <= BURST_SECONDS * BYTES_PER_SECOND + 1.5 * now * BYTES_PER_SECOND
    assert received <= (BURST_SECONDS + STALL_SECONDS + 1.5 * now) * BYTES_PER_SECOND + size


@given(st.lists(st.tuples(st.integers(1, 800), st.floats(0, 5)), max_size=100))
def test_audio_is_passed_on_in_order_whatever_its_timing(steps: list[tuple[int, float]]) -> None:
    pace, now = InputPace(100, BURST_SECONDS), 0.0
    passed: list[int] = []
    for number, (samples, gap) in enumerate(steps):
        now += gap
        pcm = pace.receive(number.to_bytes(2, "little") * samples, now)
        passed += [
            int.from_bytes(pcm[start : start + 2], "little") for start in range(0, len(pcm), 2)
        ]
    assert passed == sorted(passed)
    for number in set(passed):  # a frame is passed on whole, once, or not at all
        assert passed.count(number) == steps[number][0]
