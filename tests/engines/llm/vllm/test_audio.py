from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.engines.llm.vllm.audio import RATE, Clip
from appliance.errors import BadRequest

QUESTIONS = sorted((Path(__file__).parents[4] / "client" / "questions").glob("*.wav"))
LENGTH = int(2.5 * RATE)
TIME = np.arange(LENGTH) / RATE
Sound = NDArray[np.float64]


def pcm(sound: Sound) -> bytes:
    return np.clip(np.round(sound * 32767), -32768, 32767).astype("<i2").tobytes()


def verdict(sound: Sound, max_seconds: float = 60.0) -> str:
    clip = Clip(0.3, max_seconds)
    clip.add(pcm(sound))
    return clip.verdict()


def question(path: Path) -> Sound:
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples / 32768


def colored(tilt: float, length: int = LENGTH, seed: int = 0) -> Sound:
    """Noise whose level falls with frequency: 0 white, 0.5 pink, 1 brown; its RMS is 1."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=length))
    spectrum /= np.maximum(np.fft.rfftfreq(length, 1 / RATE), 20) ** tilt
    noise = np.fft.irfft(spectrum, length)
    return noise / np.sqrt(np.mean(noise**2))


def hum(hertz: float) -> Sound:
    return sum(np.sin(2 * np.pi * hertz * n * TIME + n) / n for n in (1, 2, 3, 5)) / 1.3


def knocks(every: float, decay_seconds: float) -> Sound:
    since = TIME % every
    return colored(0.7) * np.exp(-since / decay_seconds) * 3


def in_a_room(sound: Sound, level: float = 0.001) -> Sound:
    """With what a microphone hears before and after."""
    around = np.concatenate([np.zeros(RATE // 2), sound, np.zeros(RATE // 5)])
    return around + level * colored(0.5, len(around), seed=1)


NOISES = {
    "white noise": colored(0),
    "pink noise": colored(0.5),
    "brown noise": colored(1),
    "rumble": colored(1.5),
    "noise that begins": colored(0.5) * np.where(TIME < 0.8, 0.05, 1),
    "noise that swells": colored(0) * (1 + 0.8 * np.sin(2 * np.pi * 3 * TIME)),
    "wind": colored(1.2) * (1 + 0.8 * np.sin(2 * np.pi * 0.7 * TIME)),
    "a fan": colored(0.7) * (1 + 0.3 * np.sin(2 * np.pi * 9 * TIME)) + 0.5 * hum(120),
    "mains hum": hum(50),
    "another mains hum": hum(60),
    "hum and hiss": hum(100) + 0.2 * colored(0),
    "a tone": np.sin(2 * np.pi * 440 * TIME),
    "a busy line": np.sin(2 * np.pi * 425 * TIME) * (TIME % 1 < 0.5),
    "a siren": np.sin(2 * np.pi * (300 * TIME + 300 * TIME**2)),
    "clicks": knocks(0.2, 0.0005),
    "knocks": knocks(0.6, 0.06),
    "a door": knocks(3, 0.15),
    "typing": knocks(0.17, 0.02) + 0.02 * colored(0.7, seed=2),
}


@pytest.mark.parametrize("level", [0.01, 0.15])
@pytest.mark.parametrize("noise", NOISES)
def test_noises_are_no_speech(noise: str, level: float) -> None:
    sound = NOISES[noise] * level
    assert verdict(sound) in ("steady", "silent")
    assert verdict(in_a_room(sound)) in ("steady", "silent")
    assert verdict(in_a_room(sound, level / 10)) in ("steady", "silent")


@pytest.mark.parametrize("loudness", [1.0, 0.1, 0.03])
@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_questions_are_speech_however_quiet(path: Path, loudness: float) -> None:
    sound = question(path) * loudness
    assert verdict(sound) == "speech"
    room_level = float(np.sqrt(np.mean(sound**2))) / 4  # 12 dB under the speech
    assert verdict(in_a_room(sound, min(0.01, room_level))) == "speech"


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda path: path.stem)
def test_they_are_with_an_offset_or_hum_louder_than_they(path: Path) -> None:
    sound = in_a_room(question(path) * 0.1)
    times = np.arange(len(sound)) / RATE
    assert verdict(sound + 0.1) == "speech"
    assert verdict(sound + 0.05 * np.sin(2 * np.pi * 50 * times)) == "speech"


def test_a_question_after_a_minute_of_noise_is_heard() -> None:
    fan = np.tile(NOISES["a fan"], 24) * 0.004
    assert verdict(np.concatenate([fan, question(QUESTIONS[0]) * 0.3]), 90) == "speech"
    assert verdict(fan, 90) == "steady"


@pytest.mark.parametrize("sound", [np.zeros(LENGTH), colored(0.5) * 0.0005, np.full(LENGTH, 0.2)])
def test_silence_and_an_offset_are_silent(sound: Sound) -> None:
    assert verdict(sound) == "silent"


def test_a_short_utterance_is_too_short() -> None:
    sound = question(QUESTIONS[0])[: int(0.29 * RATE)]
    assert verdict(sound) == "too_short"
    assert Clip(0.0, 60).verdict() == "too_short"


def test_of_a_long_utterance_the_beginning_is_heard() -> None:
    clip = Clip(0.3, 1.0)
    for second in (1, 2, 3):
        clip.add(pcm(np.full(RATE * 2 // 3, second / 10)))
    assert clip.seconds == 1.0
    assert clip.samples[0] == pytest.approx(0.1, abs=1e-3)
    assert clip.samples[-1] == pytest.approx(0.2, abs=1e-3)


def test_a_verdict_is_about_what_was_heard_so_far() -> None:
    clip, sound = Clip(0.3, 60), question(QUESTIONS[0])
    verdicts = []
    for part in (sound[: RATE // 10], np.zeros(RATE), sound):
        clip.add(pcm(part))
        verdicts += [clip.verdict(), clip.verdict()]
    assert verdicts[::2] == verdicts[1::2]
    assert verdicts[0] == "too_short"
    assert verdicts[-1] == "speech"


def test_half_a_sample_is_a_bad_request() -> None:
    clip = Clip(0.3, 60)
    with pytest.raises(BadRequest, match="half a sample"):
        clip.add(b"\x00\x00\x00")
    assert clip.seconds == 0


@given(st.binary(max_size=4000).map(lambda raw: raw[: len(raw) // 2 * 2]), st.floats(0, 0.2))
def test_whatever_the_bytes_the_model_gets_finite_samples(raw: bytes, max_seconds: float) -> None:
    clip = Clip(0.01, max_seconds)
    clip.add(raw)
    samples = clip.samples
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert (np.abs(samples) <= 1).all()
    assert clip.seconds * RATE == len(samples) <= max_seconds * RATE
    assert clip.verdict() in ("speech", "too_short", "silent", "steady")
    assert (np.round(samples * 32768).astype("<i2").tobytes()) == raw[: 2 * len(samples)]
