"""The audio that the echo detector compares: whitened samples, and levels of bands. No I/O.

`SentAudio` keeps what was sent, by the time of its playback; `ReceivedAudio` the latest windows of
the microphone. Times are in seconds of a monotonic clock that the caller passes.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE

Floats = npt.NDArray[np.float32]
Whitened = npt.NDArray[np.complex64]
ACTIVE_SECONDS = 1.5  # after the bot's last sound, an echo may still arrive
WINDOW_SECONDS = 0.032  # of one spectrum, and of one window of the microphone
HOP_SECONDS = 0.016  # between two spectra
GAP_SECONDS = 0.03  # between the end of the sent audio and more of it: less is jitter
UNDERRUN_SECONDS = 0.6  # a longer gap is a pause between two replies, a shorter one an underrun
RESYNC_SECONDS = 0.5  # the microphone's clock follows the arrival beyond this difference
RATE = 4000  # of whitened audio, which is complex and has only positive frequencies
FRAME, HOP = 128, 64  # samples of whitened audio in a window, in a hop
LOWEST_HZ, HIGHEST_HZ = 150, 3600  # of whitened audio
WHITENING = 0.7  # 0 keeps the spectrum, 1 makes it flat; between them, noise says less
RING = 16_384  # samples of whitened audio that are kept of what was sent, 4 s
BATCH = OUTPUT_SAMPLE_RATE // 2  # samples that are analyzed at once; more would need much memory
RING_BYTES = 2 * OUTPUT_SAMPLE_RATE * RING // RATE  # the same, of the PCM that was sent
BLOCK = 1024  # samples that are correlated at all delays, 0.26 s
KEPT_WINDOWS = BLOCK // FRAME + 2  # of the microphone: the block, and those that overlap its ends
BAND_EDGES_HZ = (200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150)
FLOOR_DB = -75.0  # below full scale: quieter sound says nothing
DECAY_DB = 3.2  # per hop: reverberation of about 0.3 s


class Spectra:
    """Computes levels of bands and whitened audio for windows of one sample rate."""

    def __init__(self, sample_rate: int) -> None:
        self.size = round(WINDOW_SECONDS * sample_rate)
        self.hop = self.size // 2
        self._window = np.hanning(self.size + 1)[:-1].astype(np.float32)
        self._scale = np.float32(2.0 / (self._window.sum() * 32768))
        edges = [round(hz * WINDOW_SECONDS) for hz in BAND_EDGES_HZ]
        self._starts, self._stop = edges[:-1], edges[-1]
        self._low, self._high = (
            round(LOWEST_HZ * WINDOW_SECONDS),
            round(HIGHEST_HZ * WINDOW_SECONDS),
        )

    def analyze(self, samples: Floats) -> tuple[Floats, Whitened]:
        """Analyze windows at each hop of int16 samples.

        Returns the levels in dBFS, shape (windows, bands), and the windows of whitened audio, shape
        (windows, `FRAME`), which overlap by half.
        """
        windows = np.lib.stride_tricks.sliding_window_view(samples, self.size)[:: self.hop]
        spectrum = np.fft.rfft(windows * self._window, axis=1)[:, : self._high] * self._scale
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) + np.float32(1e-12)
        energy = np.add.reduceat(power[:, : self._stop], self._starts, axis=1)
        levels = np.maximum(10 * np.log10(energy), FLOOR_DB).astype(np.float32)
        flat = np.zeros((len(windows), FRAME), dtype=np.complex64)
        part = slice(self._low, self._high)
        flat[:, part] = spectrum[:, part] / power[:, part] ** (WHITENING / 2)
        return levels, np.fft.ifft(flat, axis=1).astype(np.complex64)


class SentAudio:
    """Levels and whitened samples of the sent audio, by the time of its playback.

    Audio is only kept when it is added, and analyzed when somebody asks for it: most callers have
    no echo and are silent while the bot speaks.
    """

    def __init__(self) -> None:
        self._spectra = Spectra(OUTPUT_SAMPLE_RATE)
        bands = len(BAND_EDGES_HZ) - 1
        self._levels = np.full((RING // HOP, bands), FLOOR_DB, dtype=np.float32)
        self._samples = np.zeros(RING, dtype=np.complex64)
        self._next = 0  # number of the next hop
        self._rest: list[Floats] = []  # samples that have yet to be analyzed
        self._rest_size = 0
        self._pending: deque[tuple[bytes, float]] = deque()  # as passed to `add`
        self._pending_size = 0
        self.until = -ACTIVE_SECONDS * 10  # time at which the last audio ends
        self._unsteady_until = self.until

    def add(self, pcm: bytes, plays_at: float) -> None:
        """Add 24 kHz int16 audio that is played from `plays_at` on."""
        self.until = plays_at + len(pcm) / 2 / OUTPUT_SAMPLE_RATE
        self._pending.append((pcm, plays_at))
        self._pending_size += len(pcm)
        while self._pending_size - len(self._pending[0][0]) > RING_BYTES:
            self._pending_size -= len(self._pending.popleft()[0])

    @property
    def unsteady_until(self) -> float:
        """Time until which playback may be at any delay, because there was an underrun."""
        self._catch_up()
        return self._unsteady_until

    def _catch_up(self) -> None:
        """Analyze the audio that was added since the last time."""
        if not self._pending:
            return
        for pcm, plays_at in self._pending:
            goes_on_at = self._next * HOP_SECONDS + self._rest_size / OUTPUT_SAMPLE_RATE
            if abs(plays_at - goes_on_at) > GAP_SECONDS:
                self._analyze()
                self._go_to(plays_at, plays_at - goes_on_at)
            samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
            self._rest.append(samples)
            self._rest_size += len(samples)
            if self._rest_size > BATCH:
                self._analyze()
        self._pending.clear()
        self._pending_size = 0
        self._analyze()

    def _go_to(self, plays_at: float, gap_seconds: float) -> None:
        """Leave a gap before the audio that is played from `plays_at` on."""
        if 0 < gap_seconds < UNDERRUN_SECONDS:
            self._unsteady_until = plays_at + ACTIVE_SECONDS
        start = int(plays_at / HOP_SECONDS)
        self._blank(self._next, start)
        rest = round((plays_at - start * HOP_SECONDS) * OUTPUT_SAMPLE_RATE)
        self._next, self._rest = start, [np.zeros(rest, dtype=np.float32)]
        self._rest_size = rest

    def _analyze(self) -> None:
        if self._rest_size < self._spectra.size:
            return
        samples = np.concatenate(self._rest)
        for level, frame in zip(*self._spectra.analyze(samples), strict=True):
            hop = self._next % len(self._levels)
            self._levels[hop] = np.maximum(level, self._levels[hop - 1] - DECAY_DB)
            self._overlap(frame)
            self._next += 1
        rest = samples[(len(samples) // self._spectra.hop - 1) * self._spectra.hop :]
        self._rest, self._rest_size = [rest], len(rest)

    def _overlap(self, frame: Whitened) -> None:
        """Add a whitened window; its second half waits for the next one."""
        start = self._next * HOP % RING
        self._samples[start : start + HOP] += frame[:HOP]
        after = (start + HOP) % RING
        self._samples[after : after + HOP] = frame[HOP:]

    def between(self, first: int, last: int) -> Whitened:
        """Return the whitened samples `first` to `last` - 1; silence where nothing was sent."""
        self._catch_up()
        start, stop = first % RING, last % RING
        parts = [self._samples[start:stop]]
        if stop <= start:
            parts = [self._samples[start:], self._samples[:stop]]
        samples = np.concatenate(parts)
        known = self._next * HOP
        samples[max(0, known - first) :] = 0
        samples[: max(0, known - RING + FRAME - first)] = 0
        return samples

    def levels_near(self, hop: int) -> Floats:
        """Return the highest level of each band within a hop of `hop`."""
        return self.levels_between(hop - 1, hop + 1)

    def levels_between(self, first: int, last: int) -> Floats:
        """Return the highest level of each band from hop `first` to `last`."""
        self._catch_up()
        hops = np.arange(first, last + 1)
        levels = self._levels[hops % len(self._levels)]
        levels[(hops >= self._next) | (hops <= self._next - len(self._levels))] = FLOOR_DB
        return np.asarray(levels.max(axis=0))

    def _blank(self, first: int, last: int) -> None:
        """Make silence from hop `first`, at which the audio ended, to hop `last`.

        After an interruption, `last` is before `first`: the audio from there on is not played.
        """
        if last - first > len(self._levels):
            self._levels[:], self._samples[:] = FLOOR_DB, 0
            return
        for hop in range(min(first + 1, last), max(first, last) + 1):
            index = hop % len(self._levels)
            self._samples[index * HOP : (index + 1) * HOP] = 0
        for hop in range(first, last):
            index = hop % len(self._levels)
            self._levels[index] = np.maximum(self._levels[index - 1] - DECAY_DB, FLOOR_DB)


class ReceivedAudio:
    """The latest whitened samples of the microphone."""

    def __init__(self) -> None:
        self._spectra = Spectra(INPUT_SAMPLE_RATE)
        self._before = np.zeros(self._spectra.hop, dtype=np.float32)
        self._samples = np.zeros(BLOCK + HOP, dtype=np.complex64)  # the last HOP are half done
        self._time: float | None = None  # of the end of the latest window, by the samples
        self._history: list[tuple[int, Floats]] = []  # hop and levels of the latest windows
        self._pending: deque[tuple[int, bytes]] = deque(maxlen=KEPT_WINDOWS)  # hop, not analyzed
        self.windows = 0  # since the last gap

    def add(self, window: bytes, now: float) -> None:
        """Add a window of 32 ms, 16 kHz int16, that arrived at `now`."""
        time = now if self._time is None else self._time + WINDOW_SECONDS
        if abs(time - now) > RESYNC_SECONDS:
            self.forget()
            time = now
        self._time = time
        self.windows += 1
        self._pending.append((self.hop, window))

    @property
    def history(self) -> list[tuple[int, Floats]]:
        """Hop and levels of the latest windows, the latest last."""
        while self._pending:
            self._analyze(*self._pending.popleft())
        return self._history

    def _analyze(self, hop: int, window: bytes) -> None:
        samples = np.frombuffer(window, dtype="<i2").astype(np.float32)
        levels, frames = self._spectra.analyze(np.concatenate([self._before, samples]))
        self._before = samples[-self._spectra.hop :]
        self._samples[: -2 * HOP] = self._samples[2 * HOP :]
        self._samples[-2 * HOP :] = 0
        self._samples[-3 * HOP : -HOP] += frames[0]
        self._samples[-2 * HOP :] += frames[1]
        self._history = [*self._history[1 - BLOCK // FRAME :], (hop, levels[1])]

    def forget(self) -> None:
        """Note a gap in the audio."""
        self._time = None
        self.windows = 0
        self._history.clear()
        self._pending.clear()
        self._samples[:] = 0

    @property
    def hop(self) -> int:
        """Return the number of the hop at which the latest window begins."""
        assert self._time is not None
        return round((self._time - WINDOW_SECONDS) / HOP_SECONDS)

    def latest(self, size: int) -> tuple[int, Whitened]:
        """Return the latest `size` samples, and the number of the first of them."""
        assert self._time is not None and self.history
        end = round(self._time * RATE) - HOP
        return end - size, self._samples[-HOP - size : -HOP]
