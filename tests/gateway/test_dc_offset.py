"""The removal of a constant offset from the microphone's audio."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.gateway.dc_offset import DECAY, OffsetFilter
from appliance.link.engine import INPUT_SAMPLE_RATE
from tests.fakes import tone
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import MakeGateway

FRAME_BYTES = 1280


def filtered(pcm: bytes, frame_bytes: int = FRAME_BYTES) -> np.ndarray:
    offset = OffsetFilter()
    frames = [
        offset.remove(pcm[start : start + frame_bytes]) for start in range(0, len(pcm), frame_bytes)
    ]
    return np.frombuffer(b"".join(frames), "<i2").astype(float)


def with_offset(pcm: bytes, offset: float) -> bytes:
    samples = np.frombuffer(pcm, "<i2").astype(float) + 32768 * offset
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def level_db(difference: np.ndarray, signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(difference**2) / np.mean(signal**2)))


@pytest.mark.parametrize("offset", [0.1, -0.1, 0.4])
def test_constant_is_removed_from_the_first_sample_on(offset: float) -> None:
    assert np.abs(filtered(with_offset(bytes(32_000), offset))).max() <= 1


@pytest.mark.parametrize("offset", [-0.1, 0.05, 0.1])
def test_speech_with_an_offset_sounds_like_speech_without(speak: Speak, offset: float) -> None:
    speech = bytes(9_600) + speak("What is the capital of France?")
    clean, plain = filtered(with_offset(speech, offset)), filtered(speech)
    assert np.abs(clean - plain).max() <= 3  # rounding


def test_speech_without_an_offset_hardly_changes(speak: Speak) -> None:
    pcm = speak("What is the capital of France?")
    speech = np.frombuffer(pcm, "<i2").astype(float)
    assert level_db(filtered(pcm) - speech, speech) < -25
    for hertz in (80, 200, 1_000):
        pcm = tone(1.0, INPUT_SAMPLE_RATE, hertz)
        signal = np.frombuffer(pcm, "<i2").astype(float)[8_000:]
        power = np.mean(filtered(pcm)[8_000:] ** 2) / np.mean(signal**2)
        assert -0.02 < 10 * np.log10(power) < 0.02


def test_offset_that_changes_during_a_call_is_gone_after_0_3_seconds() -> None:
    pcm = bytes(32_000) + with_offset(bytes(32_000), 0.1)
    after = filtered(pcm)[16_000 + 4_800 :]
    assert np.abs(after).max() < 0.002 * 32768


def test_digital_silence_stays_silent_after_speech(speak: Speak) -> None:
    assert not filtered(speak("Hello.") + bytes(32_000))[-8_000:].any()


@given(
    samples=st.lists(st.integers(-32768, 32767), max_size=3_000),
    frame_samples=st.integers(1, 4_000),
)
@settings(deadline=None)
def test_any_split_into_frames_gives_the_recursive_filter(
    samples: list[int], frame_samples: int
) -> None:
    pcm = np.array(samples, "<i2").tobytes()
    mean = float(np.mean(samples[:frame_samples])) if samples else 0.0
    expected = []
    for sample in samples:
        mean = DECAY * mean + (1 - DECAY) * sample
        expected.append(min(32767.0, max(-32768.0, sample - mean)))
    assert filtered(pcm, 2 * frame_samples) == pytest.approx(expected, abs=0.51)


async def test_caller_with_an_offset_is_heard_and_the_engine_gets_the_audio_without_it(
    make_gateway: MakeGateway, speak: Speak
) -> None:
    llm = ScriptedLLM("Paris.")
    async with make_gateway(llm) as gateway:
        client = await gateway.connect()
        client.distort = lambda pcm: with_offset(pcm, 0.1)
        step = len(client.sent_pcm)  # the offset begins with the next frame; see CUTOFF_HERTZ
        await client.wait_until(lambda: len(client.sent_pcm) > step + 2 * INPUT_SAMPLE_RATE)
        await client.say(speak("What is the capital of France?"))
        turn = await client.turn(1)
        heard = np.frombuffer(llm.utterances[-1][1], "<i2").astype(float)
        assert gateway.logged_errors() == []
    assert turn["outcome"] == "answered"
    assert len(heard) > 1.0 * INPUT_SAMPLE_RATE
    assert abs(heard.mean()) < 0.002 * 32768
