"""The bot's own voice in the caller's microphone. No I/O, no clock.

A caller with a loudspeaker and without echo cancellation sends the bot's voice back. The gateway
knows what it has sent and about when it is played. An echo is a filtered copy of the waveform that
was sent; another utterance, even of the same voice, is not. `EchoDetector` therefore correlates the
waveform of the microphone with what was sent, at every delay up to `MAX_DELAY_SECONDS`. Both are
whitened first: without this, two vowels of equal pitch look alike.

    sent         ─── spectra ──▶ whitened waveform, ──┐
                                 levels of bands      ├─ correlation ──▶ delay ──▶ gains ──▶ echo?
    microphone   ─── spectra ──▶ the same ────────────┘

Before the delay is known, audio is an echo if it correlates well. The delay is known once two
searches have found the same, or once a weak peak has stayed at its place (a room with much
reverberation). From then on, sound that correlates at this delay, or that is not louder than the
expected echo, is echo, and everything else is the caller. A delay at which nothing correlates any
more is searched again, and dropped after a second of such sound.

Over 0.26 s, the echo of speech correlates by 0.5 to 0.75 (5th and 95th percentile, reverberation as
strong as the direct sound), other words of the same voice by at most 0.4. `make voices` has the
recordings. One window of the microphone takes about 0.2 ms while the bot speaks, and nothing
otherwise.

Times are in seconds of a monotonic clock that the caller passes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from appliance.link.engine import INPUT_SAMPLE_RATE, OUTPUT_SAMPLE_RATE

Floats = npt.NDArray[np.float32]
Whitened = npt.NDArray[np.complex64]

ACTIVE_SECONDS = 1.5  # after the bot's last sound, an echo may still arrive
WINDOW_SECONDS = 0.032  # of one spectrum, and of one window of the microphone
HOP_SECONDS = 0.016  # between two spectra
MAX_DELAY_SECONDS = 1.2  # network, buffers of the client, loudspeaker, room
EARLY_SECONDS = 0.1  # the estimate of the time of playback may be this late
GAP_SECONDS = 0.03  # between the end of the sent audio and more of it: less is jitter
RESYNC_SECONDS = 0.5  # the microphone's clock follows the arrival beyond this difference

RATE = 4000  # of whitened audio, which is complex and has only positive frequencies
FRAME, HOP = 128, 64  # samples of whitened audio in a window, in a hop
LOWEST_HZ, HIGHEST_HZ = 150, 3600  # of whitened audio
WHITENING = 0.7  # 0 keeps the spectrum, 1 makes it flat; between them, noise says less
RING = 16_384  # samples of whitened audio that are kept of what was sent, 4 s
BLOCK = 1024  # samples that are correlated at all delays, 0.26 s
SHORT_BLOCK = 256  # samples that are correlated at the known delay, 0.06 s
TRANSFORM = 8192  # samples of the transform: the block, and all delays
SEARCH_WINDOWS = 2  # a search each this many windows of the microphone

FIRST_CORRELATION = 0.42  # before the delay is known, this is an echo
LOCK_CORRELATION = 0.5  # of two searches at the same delay: it is known
SAME_DELAY = 6  # samples, 1.5 ms: between two searches
DRIFT = 2  # samples between two windows: the clocks of gateway and client differ
TYPICAL_STEP = 0.1  # of the difference between typical and heard correlation, per window
ECHO_PART = 0.6  # of the typical correlation, at the known delay: an echo
LOUD_PART = 0.85  # the same, if it is louder than expected by `LOUD_DB`: the volume was changed
LOUD_DB = 12.0
LOST_PART = 0.35  # of it, and below: no echo, or another delay
CHANCE_CORRELATION = 0.2  # at a single delay, this means nothing
SUM_DECAY = 0.9  # of the sum of all searches: about 0.6 s
SUM_SEARCHES = 6  # the fewest that are summed
SUM_LIMIT = 5.0  # of a correlation over its RMS: a single syllable is not enough
LOCK_PROMINENCE = 15.0  # of the peak in the sum, over chance: the delay is known
DROP_WINDOWS = 32  # a delay that was lost for this many loud windows is dropped

BAND_EDGES_HZ = (200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150)
FLOOR_DB = -75.0  # below full scale: quieter sound says nothing
QUIET_DB = -68.0  # of all bands: quieter sound is not voice
DECAY_DB = 3.2  # per hop: reverberation of about 0.3 s
MARGIN_DB = 7.0  # louder than the expected echo by more than this: the caller
CALLER_WINDOWS = 3  # a caller who was heard for this long may also be as soft as the echo ...
HOLD_WINDOWS = 7  # ... for this many windows, less those
GAIN_STEP = 0.06  # of the difference between expected and heard level, per window


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
    """Levels and whitened samples of the sent audio, by the time of its playback."""

    def __init__(self) -> None:
        self._spectra = Spectra(OUTPUT_SAMPLE_RATE)
        bands = len(BAND_EDGES_HZ) - 1
        self._levels = np.full((RING // HOP, bands), FLOOR_DB, dtype=np.float32)
        self._samples = np.zeros(RING, dtype=np.complex64)
        self._next = 0  # number of the next hop
        self._rest = np.zeros(0, dtype=np.float32)
        self.until = -ACTIVE_SECONDS * 10  # time at which the last audio ends

    def add(self, pcm: bytes, plays_at: float) -> None:
        """Add 24 kHz int16 audio that is played from `plays_at` on."""
        goes_on_at = self._next * HOP_SECONDS + len(self._rest) / OUTPUT_SAMPLE_RATE
        if abs(plays_at - goes_on_at) > GAP_SECONDS:
            start = int(plays_at / HOP_SECONDS)
            self._blank(self._next, start)
            rest = round((plays_at - start * HOP_SECONDS) * OUTPUT_SAMPLE_RATE)
            self._next, self._rest = start, np.zeros(rest, dtype=np.float32)
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
        self.until = plays_at + len(samples) / OUTPUT_SAMPLE_RATE
        self._rest = np.concatenate([self._rest, samples])
        if len(self._rest) < self._spectra.size:
            return
        for level, frame in zip(*self._spectra.analyze(self._rest), strict=True):
            hop = self._next % len(self._levels)
            self._levels[hop] = np.maximum(level, self._levels[hop - 1] - DECAY_DB)
            self._overlap(frame)
            self._next += 1
        self._rest = self._rest[(len(self._rest) // self._spectra.hop - 1) * self._spectra.hop :]

    def _overlap(self, frame: Whitened) -> None:
        """Add a whitened window; its second half waits for the next one."""
        start = self._next * HOP % RING
        self._samples[start : start + HOP] += frame[:HOP]
        after = (start + HOP) % RING
        self._samples[after : after + HOP] = frame[HOP:]

    def between(self, first: int, last: int) -> Whitened:
        """Return the whitened samples `first` to `last` - 1; silence where nothing was sent."""
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
        hops = np.arange(hop - 1, hop + 2)
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
        self.history: list[tuple[int, Floats]] = []  # hop and levels of the latest windows
        self.windows = 0  # since the last gap

    def add(self, window: bytes, now: float) -> Floats:
        """Add a window of 32 ms, 16 kHz int16, that arrived at `now`. Return its levels."""
        time = now if self._time is None else self._time + WINDOW_SECONDS
        if abs(time - now) > RESYNC_SECONDS:
            self.forget()
            time = now
        self._time = time
        samples = np.frombuffer(window, dtype="<i2").astype(np.float32)
        levels, frames = self._spectra.analyze(np.concatenate([self._before, samples]))
        self._before = samples[-self._spectra.hop :]
        self._samples[: -2 * HOP] = self._samples[2 * HOP :]
        self._samples[-2 * HOP :] = 0
        self._samples[-3 * HOP : -HOP] += frames[0]
        self._samples[-2 * HOP :] += frames[1]
        self.windows += 1
        self.history = [*self.history[1 - BLOCK // FRAME :], (self.hop, levels[1])]
        return np.asarray(levels[1])

    def forget(self) -> None:
        """Note a gap in the audio."""
        self._time = None
        self.windows = 0
        self.history.clear()
        self._samples[:] = 0

    @property
    def hop(self) -> int:
        """Return the number of the hop at which the latest window begins."""
        assert self._time is not None
        return round((self._time - WINDOW_SECONDS) / HOP_SECONDS)

    def latest(self, size: int) -> tuple[int, Whitened]:
        """Return the latest `size` samples, and the number of the first of them."""
        assert self._time is not None
        end = round(self._time * RATE) - HOP
        return end - size, self._samples[-HOP - size : -HOP]


class EchoDetector:
    """Tells whether a window of the microphone is the bot's own voice. One per session."""

    def __init__(self) -> None:
        self._sent = SentAudio()
        self._microphone = ReceivedAudio()
        self._correlation = 0.0  # of the latest search
        self._prominent = SummedCorrelation()
        self._candidate: int | None = None  # delay that the latest search has found, in samples
        self._delay: int | None = None  # in samples, once it is known
        self._gain = np.zeros(len(BAND_EDGES_HZ) - 1, dtype=np.float32)  # dB
        self._typical = 0.0  # correlation of the echo at the known delay
        self._caller_windows = 0  # more of these than others lately: the caller speaks
        self._lost_windows = 0

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
            self._microphone.forget()
            self._correlation, self._candidate = 0.0, None
            self._prominent = SummedCorrelation()
            return False
        level = self._microphone.add(window, now)
        if self._delay is None:
            if _sum_db(level) < QUIET_DB:
                return False
            self._search()
            if self._delay is None:
                return self._correlation > FIRST_CORRELATION
        return self._explains(level)

    def _explains(self, level: Floats) -> bool:
        """Return whether the echo at the known delay explains a window."""
        expected = self._expected()
        correlation = self._follow()
        if correlation > max(LOST_PART * self._typical, CHANCE_CORRELATION):
            self._lost_windows = 0
        elif _sum_db(level) > QUIET_DB and _sum_db(expected) > QUIET_DB:
            self._lost()
        excess = level - expected
        loud = _sum_db(level) - _sum_db(expected)
        part = LOUD_PART if loud > LOUD_DB else ECHO_PART
        correlates = correlation > max(part * self._typical, CHANCE_CORRELATION)
        if loud > MARGIN_DB and not correlates:
            self._caller_windows = min(self._caller_windows + 1, HOLD_WINDOWS)
        else:
            self._caller_windows = max(self._caller_windows - 1, 0)
        soft = loud < MARGIN_DB and self._caller_windows < CALLER_WINDOWS
        echo = correlates or soft or self._moves
        if correlates:
            if loud < MARGIN_DB:
                self._typical += TYPICAL_STEP * (correlation - self._typical)
            audible = (level > FLOOR_DB + 6) & (expected > FLOOR_DB + 6)
            self._gain += np.where(audible, GAIN_STEP * np.clip(excess, -12, 12), 0)
        return bool(echo)

    def _lost(self) -> None:
        """Search another delay, while nothing correlates at the known one."""
        self._lost_windows += 1
        known = self._delay
        self._search()
        if self._delay != known:
            self._lost_windows = 0
        elif self._lost_windows > DROP_WINDOWS:
            self._delay, self._lost_windows = None, 0

    @property
    def _moves(self) -> bool:
        """Return whether the latest search has found another delay than the known one."""
        if self._candidate is None or self._delay is None:
            return False
        return abs(self._candidate - self._delay) > SAME_DELAY

    def _expected(self) -> Floats:
        """Return the level of the echo that the bot's audio causes in the latest window."""
        assert self._delay is not None
        hop = self._microphone.hop - round(self._delay / HOP)
        return np.asarray(np.maximum(self._sent.levels_near(hop) + self._gain, FLOOR_DB))

    def _follow(self) -> float:
        """Return the correlation at the known delay, which may drift."""
        assert self._delay is not None
        first, heard = self._microphone.latest(SHORT_BLOCK)
        start = first - self._delay - DRIFT
        found = _correlation(heard, self._sent.between(start, start + len(heard) + 2 * DRIFT + 1))
        best, correlation = _peak(found)
        if correlation > max(ECHO_PART * self._typical, CHANCE_CORRELATION):
            self._delay += DRIFT - best
            self._candidate = None
        return correlation

    def _search(self) -> None:
        """Correlate at all delays. Two searches with the same result make it the known delay."""
        if self._microphone.windows % SEARCH_WINDOWS:
            return
        first, heard = self._microphone.latest(BLOCK)
        late, early = round(MAX_DELAY_SECONDS * RATE), round(EARLY_SECONDS * RATE)
        sent = self._sent.between(first - late, first + len(heard) + early)
        found = _correlation(heard, sent)
        best, self._correlation = _peak(found)
        delay, known, self._candidate = late - best, self._candidate, None
        if self._correlation > LOCK_CORRELATION:
            self._candidate = delay  # if a delay is known, this may be the new one
            if known is not None and abs(delay - known) <= SAME_DELAY:
                self._learn(delay, self._correlation)
            return
        prominence = self._prominent.add(found)
        if prominence > LOCK_PROMINENCE and self._prominent.mean > CHANCE_CORRELATION:
            self._learn(late - self._prominent.best, self._prominent.mean)

    def _learn(self, delay: int, correlation: float) -> None:
        """Note the delay, and learn the gain of each band from the latest windows.

        The gains of a delay that is known stay, because a caller may be in the latest windows.
        """
        if self._delay is not None and abs(delay - self._delay) <= SAME_DELAY:
            return
        self._delay = delay
        self._typical = correlation
        hops = round(delay / HOP)
        sent = np.stack([self._sent.levels_near(hop - hops) for hop, _ in self._microphone.history])
        heard = np.stack([levels for _, levels in self._microphone.history])
        audible = sent > np.maximum(sent.max(axis=0) - 15, FLOOR_DB + 6)
        difference = np.where(audible, heard - sent, np.nan)
        with np.errstate(all="ignore"):
            gain = np.array(
                [np.nanmedian(x) if np.isfinite(x).any() else np.nan for x in difference.T]
            )
        typical = float(np.nanmedian(gain)) if np.isfinite(gain).any() else 0.0
        self._gain = np.where(np.isfinite(gain), gain, typical).astype(np.float32)


class SummedCorrelation:
    """The sum of the latest correlations: a weak peak that stays at its place rises above chance.

    best  place of the peak
    mean  height of the peak in a single correlation
    """

    def __init__(self) -> None:
        self.best = 0
        self.mean = 0.0
        self._sum: Whitened = np.zeros(1, dtype=np.complex64)
        self._power = 0.0  # expected of the sum, if there is no echo
        self._weight = 0.0
        self._count = 0

    def add(self, correlation: Whitened) -> float:
        """Add a correlation. Return the height of the peak over what chance gives."""
        height = np.abs(correlation)
        known = height[height > 0]
        if len(known) < len(correlation) // 4:
            return 0.0
        typical = float(np.sqrt(np.mean(known**2)))
        limited = np.minimum(1.0, SUM_LIMIT * typical / np.maximum(height, 1e-9))
        self._sum = correlation * limited.astype(np.float32) + SUM_DECAY * self._sum
        self._power = typical**2 + SUM_DECAY**2 * self._power
        self._weight = 1 + SUM_DECAY * self._weight
        self._count += 1
        self.best, peak = _peak(self._sum)
        self.mean = peak / self._weight
        return peak / float(np.sqrt(self._power)) if self._count >= SUM_SEARCHES else 0.0


def _correlation(heard: Whitened, sent: Whitened) -> Whitened:
    """Return the normalized correlation of `heard` with each part of `sent` of the same size."""
    size, places = len(heard), len(sent) - len(heard) + 1
    if places > 64:
        spectrum = np.fft.fft(sent, TRANSFORM) * np.conj(np.fft.fft(heard, TRANSFORM))
        products = np.fft.ifft(spectrum)[:places]
    else:
        products = np.correlate(sent, heard, "valid")
    power = sent.real.astype(np.float64) ** 2 + sent.imag**2
    total = np.concatenate([[0.0], np.cumsum(power)])
    energy = total[size:] - total[:-size]
    floor = max(0.05 * float(energy.max()), 1e-9)  # where little was sent, nothing is known
    norm = np.sqrt(np.maximum(energy, floor) * max(float(np.vdot(heard, heard).real), 1e-12))
    return np.asarray(np.where(energy > floor, products / norm, 0.0), dtype=np.complex64)


def _peak(correlation: Whitened) -> tuple[int, float]:
    """Return the place and height of the peak. A peak between two places is in both."""
    power = correlation.real**2 + correlation.imag**2
    best = int((power[:-1] + power[1:]).argmax())
    height = float(np.sqrt(power[best] + power[best + 1]))
    return best + int(power[best + 1] > power[best]), height


def _sum_db(levels: Floats) -> float:
    return float(10 * np.log10(np.sum(10 ** (levels / 10))))
