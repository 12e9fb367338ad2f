"""A fake of the `sounddevice` module."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


class FakeSound:
    """The `sounddevice` module with one microphone and two loudspeakers, in real time.

    said    PCM that the microphone will record
    played  PCM that was played
    """

    class PortAudioError(Exception):
        pass

    def __init__(self, rates: Sequence[int] = (16_000, 24_000)) -> None:
        self.rates = rates
        self.said = bytearray()
        self.played = bytearray()
        self.streams: list[FakeStream] = []
        self.broken = False
        self.devices = [
            {"name": "Desk Microphone", "max_input_channels": 1, "max_output_channels": 0},
            {"name": "Desk Speaker", "max_input_channels": 0, "max_output_channels": 2},
            {"name": "Headphones", "max_input_channels": 0, "max_output_channels": 2},
        ]
        for device in self.devices:
            device["default_samplerate"] = 48_000.0

    def query_devices(self, device: int | None = None, kind: str | None = None) -> Any:
        return self.devices if kind is None else self.devices[device or 0]

    def check_input_settings(self, *, samplerate: int, **_options: object) -> None:
        if samplerate not in self.rates:
            raise self.PortAudioError("Invalid sample rate")

    check_output_settings = check_input_settings

    def RawInputStream(self, **options: Any) -> FakeStream:  # noqa: N802, sounddevice's name
        return FakeStream(self, self._listen, **options)

    def RawOutputStream(self, **options: Any) -> FakeStream:  # noqa: N802, sounddevice's name
        return FakeStream(self, self._play, **options)

    def _listen(self, stream: FakeStream, frames: int) -> None:
        recorded = bytes(self.said[: 2 * frames])
        del self.said[: len(recorded)]
        stream.callback(recorded + bytes(2 * frames - len(recorded)), frames, None, None)

    def _play(self, stream: FakeStream, frames: int) -> None:
        out = bytearray(2 * frames)
        times = SimpleNamespace(currentTime=5.0, outputBufferDacTime=5.02)
        stream.callback(memoryview(out), frames, times, None)
        self.played += out


class FakeStream:
    """A PortAudio stream: calls back once per block, from a thread of its own."""

    def __init__(
        self,
        sound: FakeSound,
        step: Callable[[FakeStream, int], None],
        *,
        samplerate: int,
        callback: Callable[..., None],
        device: int | None = None,
        blocksize: int = 0,
        latency: float = 0.0,
        **_options: object,
    ) -> None:
        if sound.broken:
            raise sound.PortAudioError("Device unavailable")
        self.samplerate = samplerate
        self.device = device
        self.latency = latency
        self.callback = callback
        self._blocksize = blocksize or samplerate // 100
        self._step = step
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        sound.streams.append(self)

    def start(self) -> None:
        self._running.set()
        self._thread.start()

    def close(self) -> None:
        self._running.clear()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def closed(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._running.is_set():
            self._step(self, self._blocksize)
            time.sleep(self._blocksize / self.samplerate)
