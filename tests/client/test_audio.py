"""Sound devices, with a fake of the sounddevice module."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from client.audio import Microphone, Speaker, find_device, level_dbfs, load_sounddevice
from client.errors import UsageError
from tests.fakes import FakeSound, tone
from tests.fakes.sound import FakeStream


def test_full_scale_sine_has_a_level_3_db_below_full_scale() -> None:
    full = (32767 * np.sin(np.arange(16_000) / 10)).astype("<i2").tobytes()
    assert level_dbfs(full) == pytest.approx(-3.01, abs=0.05)
    assert level_dbfs(bytes(320)) == level_dbfs(b"") == -90
    assert level_dbfs(b"\x01\x00\xff\xff" * 80) == pytest.approx(-90, abs=0.5)


def test_constant_offset_of_a_sound_card_does_not_raise_the_level() -> None:
    assert level_dbfs(np.full(640, 3_277, "<i2").tobytes()) == -90
    sine = np.round(1_000 * np.sin(np.arange(16_000) / 10))
    plain, shifted = (level_dbfs((sine + by).astype("<i2").tobytes()) for by in (0, 3_277))
    assert shifted == pytest.approx(plain, abs=0.01)


def test_device_is_found_by_number_name_or_part_of_its_name() -> None:
    sound = FakeSound()
    assert find_device(sound, None, "output") is None
    assert find_device(sound, "2", "output") == 2
    assert find_device(sound, "Headphones", "output") == 2
    assert find_device(sound, "speak", "output") == 1


@pytest.mark.parametrize("name", ["0", "desk mic", "7", "Trumpet", "e"])
def test_unknown_or_ambiguous_device_is_rejected(name: str) -> None:
    with pytest.raises(UsageError, match="voice devices"):
        find_device(FakeSound(), name, "output")


def test_machine_without_a_microphone_raises_a_clear_error() -> None:
    sound = FakeSound()
    del sound.devices[0]
    with pytest.raises(UsageError, match="no sound input"):
        find_device(sound, None, "input")


def test_missing_portaudio_names_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UsageError, match="libportaudio2"):
        load_sounddevice()


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_microphone_yields_40_ms_frames_at_16_khz_for_any_device_rate(rate: int) -> None:
    sound = FakeSound(rates=(rate,))
    frames: list[bytes] = []
    Microphone(sound, None, frames.append)
    (stream,) = sound.streams
    assert stream.samplerate == rate
    speech = tone(1.0, rate)
    for start in range(0, len(speech), 2 * 1111):
        stream.callback(speech[start : start + 2 * 1111], 1111, None, None)
    assert {len(frame) for frame in frames} == {1280}
    assert 23 <= len(frames) <= 25
    heard = np.frombuffer(b"".join(frames), "<i2").astype(float)
    assert np.argmax(np.abs(np.fft.rfft(heard))) * 16_000 / heard.size == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_speaker_plays_audio_and_stops_immediately_on_flush(rate: int) -> None:
    sound = FakeSound(rates=(rate,))
    speaker = Speaker(sound, "Headphones", 0.0, clock=lambda: 7.0)
    (stream,) = sound.streams
    assert (stream.samplerate, stream.device) == (rate, 2)
    speaker.push(tone(1.0), 7.0)
    out = bytearray(2 * rate // 10)
    times = SimpleNamespace(currentTime=1.0, outputBufferDacTime=1.25)
    stream.callback(memoryview(out), rate // 10, times, None)
    assert level_dbfs(bytes(out)) == pytest.approx(-15.2, abs=0.5)
    assert speaker.first_audible_at == pytest.approx(7.25, abs=0.01)
    assert speaker.audible_since == speaker.first_audible_at
    assert not speaker.drained
    speaker.flush(7.5)
    stream.callback(memoryview(out), rate // 10, times, None)
    assert speaker.drained
    assert out == bytes(len(out))
    heard = speaker.take()
    assert heard.seconds == pytest.approx(0.1)
    assert heard.rate == rate


def underflow(stream: FakeStream, times: int) -> None:
    clock = SimpleNamespace(currentTime=1.0, outputBufferDacTime=1.04)
    status = SimpleNamespace(output_underflow=True)
    for _ in range(times):
        stream.callback(memoryview(bytearray(480)), 240, clock, status)


def test_device_that_runs_out_of_audio_gets_more_latency_between_replies() -> None:
    sound = FakeSound()
    speaker = Speaker(sound, None, 0.0, clock=lambda: 7.0)
    speaker.start()
    latencies = [speaker.latency_seconds]
    for _ in range(6):
        underflow(sound.streams[-1], 3)
        speaker.adapt()
        latencies.append(speaker.latency_seconds)
    assert latencies == [0.04, 0.08, 0.16, 0.16, 0.16, 0.16, 0.16]
    assert speaker.underflows == 18
    assert [stream.latency for stream in sound.streams] == [0.04, 0.08, 0.16]
    assert [stream.closed for stream in sound.streams] == [True, True, False]
    speaker.stop()


def test_device_keeps_its_latency_while_a_reply_plays() -> None:
    sound = FakeSound()
    speaker = Speaker(sound, None, 0.0, clock=lambda: 7.0)
    speaker.push(tone(1.0), 7.0)
    underflow(sound.streams[-1], 5)
    speaker.adapt()
    assert speaker.latency_seconds == 0.04


def test_lost_audio_of_the_microphone_is_counted() -> None:
    sound = FakeSound()
    microphone = Microphone(sound, None, lambda _frame: None)
    sound.streams[0].callback(bytes(1280), 640, None, SimpleNamespace(input_overflow=True))
    sound.streams[0].callback(bytes(1280), 640, None, SimpleNamespace(input_overflow=False))
    assert microphone.overflows == 1


def test_device_that_cannot_be_opened_raises_a_clear_error() -> None:
    sound = FakeSound()
    sound.broken = True
    with pytest.raises(UsageError, match="Device unavailable"):
        Microphone(sound, None, print)
    with pytest.raises(UsageError, match="Device unavailable"):
        Speaker(sound, None, 0.08)
