"""The bot's own voice in the caller's microphone. No I/O, no clock.

A caller with a loudspeaker and without echo cancellation sends the bot's voice back. The gateway
knows what it has sent and about when it is played. `EchoDetector` compares the levels in frequency
bands of the microphone with those of the sent audio, at every delay up to `MAX_DELAY_SECONDS`.
Where both move together, it learns the delay and the gain of each band. From then on, sound that is
not louder than the expected echo is echo, and everything louder is the caller.

    sent         ─── levels of bands ──▶ ring of 4 s ──┐
    microphone   ─── levels of bands ──▶ last second ──┴─ correlation ─▶ delay, gains ─▶ echo?

Times are in seconds of a monotonic clock that the caller passes. One window of the microphone takes
about 0.2 ms while the bot speaks (0.7 % of a core), and nothing otherwise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE

Floats = npt.NDArray[np.float32]

ACTIVE_SECONDS = 1.5  # after the bot's last sound, an echo may still arrive
HOP_SECONDS = 0.008  # between two columns of the sent audio
WINDOW_SECONDS = 0.032  # of one spectrum, and of one window of the microphone
HOPS_PER_WINDOW = 4
MAX_DELAY_SECONDS = 1.2  # network, buffers of the client, loudspeaker, room
EARLY_SECONDS = 0.1  # the estimate of the time of playback may be this late
RING_HOPS = 512
BAND_EDGES_HZ = (200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150)
FLOOR_DB = -75.0  # below full scale: quieter sound says nothing
HISTORY_WINDOWS = 28  # of the microphone, 0.9 s
FIRST_WINDOWS = 5  # the fewest that are compared, before the delay is known
LOCK_CORRELATION = 0.72  # over all of the history: the delay is known
FIRST_CORRELATION = 0.6  # before the delay is known, this looks like an echo
DECAY_DB = 1.6  # per hop: reverberation of about 0.3 s
MARGIN_DB = 7.0  # louder than the expected echo by more than this: the caller
GAIN_STEP = 0.06  # of the difference between expected and heard level, per window
RESYNC_SECONDS = 0.5  # the microphone's clock follows the arrival beyond this difference


class Bands:
    """Computes the level of each band, in dBFS, for windows of one sample rate."""

    def __init__(self, sample_rate: int) -> None:
        size = round(WINDOW_SECONDS * sample_rate)
        self._window = np.hanning(size).astype(np.float32)
        self._scale = np.float32(2.0 / (self._window.sum() * 32768))
        edges = [round(hz * size / sample_rate) for hz in BAND_EDGES_HZ]
        self._starts, self._stop = edges[:-1], edges[-1]
        self.size = size

    def levels(self, windows: Floats) -> Floats:
        """Return dBFS, shape (windows, bands), of int16 samples, shape (windows, `size`)."""
        spectrum = np.fft.rfft(windows * self._window, axis=1)[:, : self._stop] * self._scale
        power = spectrum.real**2 + spectrum.imag**2
        energy = np.add.reduceat(power, self._starts, axis=1)
        levels: Floats = np.maximum(10 * np.log10(energy + 1e-12), FLOOR_DB).astype(np.float32)
        return levels


class SentAudio:
    """Band levels of the sent audio by the time of its playback, a column each `HOP_SECONDS`."""

    def __init__(self) -> None:
        self._bands = Bands(OUTPUT_SAMPLE_RATE)
        self._hop = round(HOP_SECONDS * OUTPUT_SAMPLE_RATE)
        self._levels = np.full((RING_HOPS, len(BAND_EDGES_HZ) - 1), FLOOR_DB, dtype=np.float32)
        self._next = 0  # hop number of the next column
        self._rest = np.zeros(0, dtype=np.float32)
        self.until = -ACTIVE_SECONDS * 10  # time at which the last audio ends

    def add(self, pcm: bytes, plays_at: float) -> None:
        """Add 24 kHz int16 audio that is played from `plays_at` on."""
        start = round(plays_at / HOP_SECONDS)
        if abs(start - self._next - len(self._rest) // self._hop) > HOPS_PER_WINDOW:
            self._blank(self._next, start)
            self._next, self._rest = start, np.zeros(0, dtype=np.float32)
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
        self.until = plays_at + len(samples) / OUTPUT_SAMPLE_RATE
        self._rest = np.concatenate([self._rest, samples])
        hops = (len(self._rest) - self._bands.size) // self._hop + 1
        if hops <= 0:
            return
        shape = (hops, self._bands.size)
        steps = self._rest.strides[0]
        windows = np.lib.stride_tricks.as_strided(self._rest, shape, (self._hop * steps, steps))
        levels = self._bands.levels(windows)
        for level in levels:
            before = self._levels[(self._next - 1) % RING_HOPS] - DECAY_DB
            self._levels[self._next % RING_HOPS] = np.maximum(level, before)
            self._next += 1
        self._rest = self._rest[hops * self._hop :]

    def between(self, first: int, last: int) -> Floats:
        """Return the columns of hops `first` to `last` - 1; silence where nothing was sent."""
        hops = np.arange(first, last)
        columns = self._levels[hops % RING_HOPS]
        columns[(hops >= self._next) | (hops < self._next - RING_HOPS)] = FLOOR_DB
        return columns

    def _blank(self, first: int, last: int) -> None:
        """Fill a pause between two replies with the decay of the room, then with silence."""
        for hop in range(first, min(last, first + RING_HOPS)):
            before = self._levels[(hop - 1) % RING_HOPS] - DECAY_DB
            self._levels[hop % RING_HOPS] = np.maximum(before, FLOOR_DB)
        if last - first > RING_HOPS:
            self._levels[:] = FLOOR_DB


class EchoDetector:
    """Tells whether a window of the microphone is the bot's own voice. One per session."""

    def __init__(self) -> None:
        self._sent = SentAudio()
        self._bands = Bands(INPUT_SAMPLE_RATE)
        self._history = np.full(
            (HISTORY_WINDOWS, len(BAND_EDGES_HZ) - 1), FLOOR_DB, dtype=np.float32
        )
        self._windows = 0  # in the history
        self._time: float | None = None  # of the end of the latest window, by the samples
        self._delay: int | None = None  # in hops
        self._gain = np.zeros(len(BAND_EDGES_HZ) - 1, dtype=np.float32)  # dB

    def sent(self, pcm: bytes, plays_at: float) -> None:
        """Note 24 kHz int16 audio that was sent and will be played from `plays_at` on."""
        self._sent.add(pcm, plays_at)

    def active(self, now: float) -> bool:
        """Return whether an echo is possible at `now`."""
        return now < self._sent.until + ACTIVE_SECONDS

    def is_echo(self, window: bytes, now: float) -> bool:
        """Return whether the bot explains a window of 32 ms, 16 kHz int16, that arrived at `now`.

        It has to be called for every window, voice or not.
        """
        if not self.active(now):
            self._time, self._windows = None, 0
            return False
        samples = np.frombuffer(window, dtype="<i2").astype(np.float32)[None, :]
        level = self._bands.levels(samples)[0]
        self._remember(level, now)
        correlation = self._correlate()
        if self._delay is None:
            return correlation > FIRST_CORRELATION
        expected = self._expected()
        excess = level - expected
        loud = _sum_db(level) - _sum_db(expected)
        echo = bool(loud < MARGIN_DB) or correlation > LOCK_CORRELATION
        if echo:
            audible = (level > FLOOR_DB + 6) & (expected > FLOOR_DB + 6)
            self._gain += np.where(audible, GAIN_STEP * np.clip(excess, -12, 12), 0)
        return echo

    def _remember(self, level: Floats, now: float) -> None:
        time = now if self._time is None else self._time + WINDOW_SECONDS
        if abs(time - now) > RESYNC_SECONDS:
            time, self._windows = now, 0
        self._time = time
        self._history[:-1] = self._history[1:]
        self._history[-1] = level
        self._windows = min(self._windows + 1, HISTORY_WINDOWS)

    def _newest_hop(self) -> int:
        assert self._time is not None
        return round((self._time - WINDOW_SECONDS) / HOP_SECONDS)

    def _expected(self) -> Floats:
        """Return the level of the echo that the bot's audio causes in the latest window."""
        assert self._delay is not None
        hop = self._newest_hop() - self._delay
        expected = self._sent.between(hop - 2, hop + 3).max(axis=0) + self._gain
        return np.asarray(np.maximum(expected, FLOOR_DB))

    def _correlate(self) -> float:
        """Compare the history with the sent audio. Learn the delay if they move together.

        Returns the correlation at the best delay, or at the known one.
        """
        count = self._windows
        if count < FIRST_WINDOWS:
            return 0.0
        heard = _centered(self._history[-count:])
        newest, span = self._newest_hop(), (count - 1) * HOPS_PER_WINDOW
        late, early = round(MAX_DELAY_SECONDS / HOP_SECONDS), round(EARLY_SECONDS / HOP_SECONDS)
        if self._delay is not None and self._windows % 8:
            late, early = self._delay + 2, 2 - self._delay
        sent = self._sent.between(newest - late - span, newest + early + 1)
        candidates = late + early + 1
        steps = sent.strides
        shape = (candidates, count, sent.shape[1])
        windows = np.lib.stride_tricks.as_strided(
            sent, shape, (steps[0], steps[0] * HOPS_PER_WINDOW, steps[1])
        )
        products = np.tensordot(windows, heard, axes=2)
        deviation = np.sqrt(
            np.maximum((windows**2).sum((1, 2)) - count * (windows.mean(1) ** 2).sum(1), 1e-3)
        )
        norm = float(np.sqrt((heard**2).sum()))
        enough = np.sqrt(count * sent.shape[1]) * 2.0  # 2 dB of movement
        if norm < enough:
            return 0.0
        correlation = np.where(deviation > enough, products / (deviation * norm), 0.0)
        best = int(correlation.argmax())
        if count == HISTORY_WINDOWS and correlation[best] > LOCK_CORRELATION:
            self._learn(late - best, windows[best])
        return float(correlation[best])

    def _learn(self, delay: int, sent: Floats) -> None:
        if self._delay is not None and abs(delay - self._delay) <= 2:
            return
        self._delay = delay
        audible = sent > sent.max(axis=0) - 15
        difference = np.where(audible, self._history - sent, np.nan)
        self._gain = np.nanmedian(difference, axis=0).astype(np.float32)


def _centered(levels: Floats) -> Floats:
    return np.asarray(levels - levels.mean(axis=0))


def _sum_db(levels: Floats) -> float:
    return float(10 * np.log10(np.sum(10 ** (levels / 10))))
