"""Microphone and loudspeaker by PortAudio, and the maths of the level meter.

The `sounddevice` module is imported where it is first needed and passed about, so that only `talk`
and `devices` need a sound system. Its callbacks run in threads of PortAudio: they do no more than
copy audio and take one short lock.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import soxr

from client.errors import UsageError
from client.playback import Heard, Playback
from client.wire import DOWN_RATE, FRAME_SAMPLES, FRAME_SECONDS, UP_RATE

QUIETEST_DBFS = -90.0
SPEECH_DBFS = -40.0  # a microphone louder than this is taken for speech, for the latency line only


def level_dbfs(pcm: bytes) -> float:
    """Root mean square of mono int16 PCM relative to full scale, at least QUIETEST_DBFS."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    power = float(np.mean(samples**2)) if samples.size else 0.0
    return max(QUIETEST_DBFS, 10 * math.log10(power / 32768**2)) if power else QUIETEST_DBFS


def load_sounddevice() -> Any:
    """The `sounddevice` module. Raises UsageError where PortAudio is missing."""
    try:
        import sounddevice  # type: ignore[import-untyped]
    except (ImportError, OSError) as problem:
        raise UsageError(
            f"no sound system: {problem}. Install PortAudio (Debian: libportaudio2) and the"
            " Python package sounddevice; `say` and `ask` work without them."
        ) from problem
    return sounddevice


def find_device(sound: Any, wanted: str | None, direction: str) -> int | None:
    """The number of the device called `wanted` (number or part of its name); None: the default.

    `direction` is "input" or "output". Raises UsageError when no device fits, or several do.
    """
    known = [
        (number, str(device["name"]))
        for number, device in enumerate(sound.query_devices())
        if device[f"max_{direction}_channels"] > 0
    ]
    if not known:
        raise UsageError(f"this machine has no sound {direction}; `say` and `ask` work without one")
    if wanted is None:
        return None
    exact = [number for number, name in known if wanted in (str(number), name)]
    if len(exact) == 1:
        return exact[0]
    partly = [(number, name) for number, name in known if wanted.lower() in name.lower()]
    if len(partly) == 1:
        return partly[0][0]
    found = ", ".join(f"{number} {name}" for number, name in partly) or "none"
    raise UsageError(f"{wanted!r} fits these sound {direction}s: {found}. See `client devices`.")


class Microphone:
    """Calls `on_frame` with 40 ms of 16 kHz mono int16 PCM, from a PortAudio thread."""

    def __init__(self, sound: Any, device: str | None, on_frame: Callable[[bytes], None]) -> None:
        number = find_device(sound, device, "input")
        self._on_frame = on_frame
        self._collected = bytearray()
        rate = _usable_rate(sound.check_input_settings, sound, number, "input", UP_RATE)
        self._resampler = _resampler(rate, UP_RATE)
        self._stream = _opened(
            sound,
            "RawInputStream",
            samplerate=rate,
            blocksize=round(rate * FRAME_SECONDS),
            device=number,
            channels=1,
            dtype="int16",
            callback=self._callback,
        )

    def start(self) -> None:
        self._stream.start()

    def stop(self) -> None:
        self._stream.close()

    def _callback(self, data: Any, _frames: int, _time: Any, _status: Any) -> None:
        self._collected += _resampled(self._resampler, bytes(data))
        while len(self._collected) >= 2 * FRAME_SAMPLES:
            frame = bytes(self._collected[: 2 * FRAME_SAMPLES])
            del self._collected[: 2 * FRAME_SAMPLES]
            self._on_frame(frame)


class Speaker:
    """A `Player` on a sound card. Times are those of `clock`, which must be monotonic."""

    def __init__(
        self,
        sound: Any,
        device: str | None,
        prebuffer_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        number = find_device(sound, device, "output")
        rate = _usable_rate(sound.check_output_settings, sound, number, "output", DOWN_RATE)
        self._clock = clock
        self._lock = threading.Lock()
        self._playback = Playback(rate, prebuffer_seconds)
        self._resampler = _resampler(DOWN_RATE, rate)
        self._stream = _opened(
            sound,
            "RawOutputStream",
            samplerate=rate,
            device=number,
            channels=1,
            dtype="int16",
            latency="low",
            callback=self._callback,
        )

    def start(self) -> None:
        self._stream.start()

    def stop(self) -> None:
        self._stream.close()

    @property
    def drained(self) -> bool:
        with self._lock:
            return self._playback.drained

    @property
    def first_audible_at(self) -> float | None:
        with self._lock:
            return self._playback.first_audible_at

    @property
    def sounds_since(self) -> float | None:
        with self._lock:
            return self._playback.sounds_since

    def push(self, pcm: bytes, now: float) -> None:
        with self._lock:
            self._playback.push(_resampled(self._resampler, pcm), now)

    def flush(self, now: float) -> float:
        with self._lock:
            if self._resampler is not None:
                self._resampler.clear()
            return self._playback.flush(now)

    def take(self) -> Heard:
        with self._lock:
            return self._playback.take()

    def _callback(self, out: Any, frames: int, when: Any, _status: Any) -> None:
        heard_in = max(0.0, when.outputBufferDacTime - when.currentTime)
        with self._lock:
            out[:] = self._playback.pull(frames, self._clock() + heard_in)


def _usable_rate(check: Any, sound: Any, device: int | None, direction: str, wanted: int) -> int:
    """`wanted` if the device can do it, else the device's own rate."""
    try:
        check(device=device, channels=1, dtype="int16", samplerate=wanted)
        return wanted
    except sound.PortAudioError:
        return round(float(sound.query_devices(device, direction)["default_samplerate"]))


def _opened(sound: Any, kind: str, **options: Any) -> Any:
    try:
        return getattr(sound, kind)(**options)
    except (sound.PortAudioError, ValueError) as problem:
        raise UsageError(f"the sound device cannot be opened: {problem}") from problem


def _resampler(from_rate: int, to_rate: int) -> soxr.ResampleStream | None:
    if from_rate == to_rate:
        return None
    return soxr.ResampleStream(from_rate, to_rate, 1, dtype="int16")


def _resampled(resampler: soxr.ResampleStream | None, pcm: bytes) -> bytes:
    if resampler is None:
        return pcm
    return bytes(resampler.resample_chunk(np.frombuffer(pcm, dtype="<i2")).tobytes())
