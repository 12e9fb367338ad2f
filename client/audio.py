"""Microphone and loudspeaker through PortAudio, and the level for the meter.

The module `sounddevice` is imported where it is first needed and passed as `sound`, so that only
`talk` and `devices` need a sound system. PortAudio runs the callbacks on threads of its own. They
only resample and copy audio, and hold a lock only briefly.
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
from client.playback import HeardReply, Playback
from client.wire import FRAME_SAMPLES, FRAME_SECONDS, MIC_SAMPLE_RATE, SPEAKER_SAMPLE_RATE

MIN_DBFS = -90.0
# PortAudio's "low" is 8.7 ms on PulseAudio 16, which does not hold that: 3 underflows in
# 6 s, and none from 40 ms on. A device that does not hold this either gets twice as much.
LATENCY_SECONDS = 0.04
MAX_LATENCY_SECONDS = 0.16
MAX_UNDERFLOWS = 2  # of a stream, before it gets more latency
SPEECH_DBFS = -40.0  # louder audio counts as speech; used only for the displayed latency


def level_dbfs(pcm: bytes) -> float:
    """RMS level of mono int16 PCM relative to full scale, at least MIN_DBFS.

    A constant offset, which cheap sound cards add, does not count.
    """
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    power = float(np.var(samples)) if samples.size else 0.0
    return max(MIN_DBFS, 10 * math.log10(power / 32768**2)) if power else MIN_DBFS


def load_sounddevice() -> Any:
    """Import `sounddevice`. Raises UsageError where it or PortAudio is missing."""
    try:
        import sounddevice  # type: ignore[import-untyped]
    except (ImportError, OSError) as error:
        raise UsageError(
            f"no sound system: {error}. Install PortAudio (Debian: libportaudio2) and the"
            " Python package sounddevice; `say` and `ask` work without them."
        ) from error
    return sounddevice


def find_device(sound: Any, name_or_number: str | None, direction: str) -> int | None:
    """Find a device by its number or a part of its name; None for the default device.

    `direction` is "input" or "output". Raises UsageError if no device or several devices match.
    """
    devices = [
        (number, str(device["name"]))
        for number, device in enumerate(sound.query_devices())
        if device[f"max_{direction}_channels"] > 0
    ]
    if not devices:
        raise UsageError(f"this machine has no sound {direction}; `say` and `ask` work without one")
    if name_or_number is None:
        return None
    exact = [number for number, name in devices if name_or_number in (str(number), name)]
    if len(exact) == 1:
        return exact[0]
    part = name_or_number.lower()
    matches = [(number, name) for number, name in devices if part in name.lower()]
    if len(matches) == 1:
        return matches[0][0]
    if not matches:
        raise UsageError(f"no sound {direction} matches {name_or_number!r}; see `voice devices`")
    listed = ", ".join(f"{number} {name}" for number, name in matches)
    raise UsageError(
        f"several sound {direction}s match {name_or_number!r}: {listed}; see `voice devices`"
    )


class Microphone:
    """Calls `on_frame` with 40 ms frames of 16 kHz mono int16 PCM, on a PortAudio thread.

    overflows  how often audio was lost because this process did not fetch it in time
    """

    def __init__(self, sound: Any, device: str | None, on_frame: Callable[[bytes], None]) -> None:
        number = find_device(sound, device, "input")
        self.overflows = 0
        self._on_frame = on_frame
        self._collected = bytearray()
        rate = _usable_rate(sound.check_input_settings, sound, number, "input", MIC_SAMPLE_RATE)
        self._resampler = new_resampler(rate, MIC_SAMPLE_RATE)
        self._stream = _open_stream(
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

    def _callback(self, data: Any, _frames: int, _time: Any, status: Any) -> None:
        self.overflows += bool(status and status.input_overflow)
        self._collected += resample(self._resampler, bytes(data))
        while len(self._collected) >= 2 * FRAME_SAMPLES:
            frame = bytes(self._collected[: 2 * FRAME_SAMPLES])
            del self._collected[: 2 * FRAME_SAMPLES]
            self._on_frame(frame)


class Speaker:
    """A `Player` on a sound card. All times are from `clock`, which must be monotonic.

    underflows  how often the device ran out of audio, which is heard as a click or a gap
    on_played   called with each block that is played next, mono int16 at `rate`, on PortAudio's
                thread
    """

    def __init__(
        self,
        sound: Any,
        device: str | None,
        prebuffer_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = find_device(sound, device, "output")
        self._rate = _usable_rate(
            sound.check_output_settings, sound, self._device, "output", SPEAKER_SAMPLE_RATE
        )
        self._sound = sound
        self._clock = clock
        self._lock = threading.Lock()
        self._playback = Playback(self._rate, prebuffer_seconds)
        self._resampler = new_resampler(SPEAKER_SAMPLE_RATE, self._rate)
        self.on_played: Callable[[bytes], None] | None = None
        self.underflows = 0
        self._allowed_underflows = MAX_UNDERFLOWS
        self.latency_seconds = LATENCY_SECONDS
        self._stream = self._open()

    @property
    def rate(self) -> int:
        """The sample rate of the device in Hz."""
        return self._rate

    def _open(self) -> Any:
        return _open_stream(
            self._sound,
            "RawOutputStream",
            samplerate=self._rate,
            device=self._device,
            channels=1,
            dtype="int16",
            latency=self.latency_seconds,
            callback=self._callback,
        )

    def start(self) -> None:
        self._stream.start()

    def stop(self) -> None:
        self._stream.close()

    def adapt(self) -> None:
        """Open the device with more latency if it runs out of audio. Call it between replies."""
        if self.underflows <= self._allowed_underflows or not self.drained:
            return
        self._allowed_underflows = self.underflows + MAX_UNDERFLOWS
        if self.latency_seconds >= MAX_LATENCY_SECONDS:
            return
        self.latency_seconds *= 2
        self._stream.close()
        self._stream = self._open()
        self._stream.start()

    @property
    def drained(self) -> bool:
        with self._lock:
            return self._playback.drained

    @property
    def first_audible_at(self) -> float | None:
        with self._lock:
            return self._playback.first_audible_at

    @property
    def audible_since(self) -> float | None:
        with self._lock:
            return self._playback.audible_since

    def push(self, pcm: bytes, now: float) -> None:
        with self._lock:
            self._playback.push(resample(self._resampler, pcm), now)

    def flush(self, now: float) -> float:
        with self._lock:
            if self._resampler is not None:
                self._resampler.clear()
            return self._playback.flush(now)

    def take(self) -> HeardReply:
        with self._lock:
            return self._playback.take()

    def _callback(self, out: Any, frames: int, times: Any, status: Any) -> None:
        self.underflows += bool(status and status.output_underflow)
        output_latency = max(0.0, times.outputBufferDacTime - times.currentTime)
        with self._lock:
            block = self._playback.pull(frames, self._clock() + output_latency)
        out[:] = block
        if self.on_played is not None:
            self.on_played(block)


def _usable_rate(check: Any, sound: Any, device: int | None, direction: str, preferred: int) -> int:
    """Return `preferred` if the device supports it, otherwise the device's default rate."""
    try:
        check(device=device, channels=1, dtype="int16", samplerate=preferred)
        return preferred
    except sound.PortAudioError:
        return round(float(sound.query_devices(device, direction)["default_samplerate"]))


def _open_stream(sound: Any, kind: str, **options: Any) -> Any:
    try:
        return getattr(sound, kind)(**options)
    except (sound.PortAudioError, ValueError) as error:
        raise UsageError(f"the sound device cannot be opened: {error}") from error


def new_resampler(from_rate: int, to_rate: int) -> soxr.ResampleStream | None:
    """Return a streaming resampler of mono int16, or None for equal rates."""
    if from_rate == to_rate:
        return None
    return soxr.ResampleStream(from_rate, to_rate, 1, dtype="int16")


def resample(resampler: soxr.ResampleStream | None, pcm: bytes) -> bytes:
    """Return the next part of the resampled stream."""
    if resampler is None:
        return pcm
    return bytes(resampler.resample_chunk(np.frombuffer(pcm, dtype="<i2")).tobytes())
