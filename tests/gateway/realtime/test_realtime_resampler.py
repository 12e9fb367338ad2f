"""The client's audio is converted to the pipeline's rate without gaps, noise or loss."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.gateway.realtime.resampler import InputResampler, to_input_rate


def tone(hertz: float, rate: int, seconds: float = 1.0) -> bytes:
    times = np.arange(int(rate * seconds)) / rate
    return (10_000 * np.sin(2 * np.pi * hertz * times)).astype("<i2").tobytes()


@pytest.mark.parametrize("piece", [2, 480, 1920, 9600])
def test_pieces_join_without_a_gap(piece: int) -> None:
    pcm, resampler = tone(1000, 24_000), InputResampler()
    converted = b"".join(
        resampler.convert(pcm[start : start + piece]) for start in range(0, len(pcm), piece)
    )
    got = np.frombuffer(converted + resampler.flush(), "<i2").astype(float)
    wanted = np.frombuffer(tone(1000, 16_000), "<i2").astype(float)
    assert abs(len(got) - len(wanted)) <= 1
    middle = slice(800, 15_200)
    assert np.abs(got[middle] - wanted[middle]).max() < 20


def test_what_16_khz_cannot_carry_is_removed() -> None:
    got = np.frombuffer(to_input_rate(tone(9_000, 24_000)), "<i2")[800:15_200]
    assert np.abs(got).max() < 5


def test_silence_stays_silent() -> None:
    resampler = InputResampler()
    converted = resampler.convert(bytes(48_000)) + resampler.flush()
    assert converted == bytes(len(converted))


def test_loud_audio_is_clipped_and_does_not_wrap() -> None:
    square = np.repeat(np.array([32767, -32768] * 50, dtype="<i2"), 240).tobytes()
    got = np.frombuffer(to_input_rate(square), "<i2")
    assert got[80] > 25_000
    assert got.min() >= -32_768
    assert np.sign(got[40:120].astype(int)).min() == 1
