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
recordings. While the bot speaks, a window of the microphone in which the detector hears a voice
takes about 0.2 ms. Other windows are only kept, because most callers have no echo and are silent
then: nothing is computed for them unless a voice follows, or the delay is known and has to be
followed.

Times are in seconds of a monotonic clock that the caller passes.
"""

from __future__ import annotations

import numpy as np

from appliance.gateway.turns.echo_audio import (
    ACTIVE_SECONDS,
    BAND_EDGES_HZ,
    BLOCK,
    FLOOR_DB,
    HOP,
    HOP_SECONDS,
    RATE,
    Floats,
    ReceivedAudio,
    SentAudio,
    Whitened,
)

MAX_DELAY_SECONDS = 1.2  # network, buffers of the client, loudspeaker, room
EARLY_SECONDS = 0.1  # an echo may come this much before the estimated time of playback
UNSTEADY_SECONDS = 0.3  # after an underrun, the delay may differ this much from the known one
SHORT_BLOCK = 256  # samples that are correlated at the known delay, 0.06 s
TRANSFORM = 6400  # samples of the transform: the block, and all delays; 2 ** 8 * 5 ** 2 is fast
SEARCH_WINDOWS = 2  # windows of the microphone between two searches

FIRST_CORRELATION = 0.42  # while the delay is not known, audio above this is an echo
LOCK_CORRELATION = 0.5  # two searches above this at the same delay make it the known delay
SAME_DELAY = 6  # samples, 1.5 ms: a smaller difference of two searches is the same delay
DRIFT = 2  # samples between two windows: the clocks of gateway and client differ
TYPICAL_STEP = 0.1  # share of the difference by which the typical correlation follows, per window
ECHO_PART = 0.6  # at the known delay, this part of the typical correlation is an echo
LOUD_PART = 0.85  # the same, if it is louder than expected by `LOUD_DB`: the volume was changed
LOUD_DB = 12.0
LOST_PART = 0.35  # below this part, there is no echo, or another delay
CHANCE_CORRELATION = 0.2  # at a single delay, chance gives as much
SUM_DECAY = 0.9  # of the sum of all searches: about 0.6 s
SUM_SEARCHES = 6  # fewest searches that are summed
SUM_LIMIT = 5.0  # largest weight of one correlation over its RMS: one syllable is not enough
LOCK_PROMINENCE = 15.0  # a peak in the sum that is this far above chance is the known delay
DROP_WINDOWS = 32  # a delay that was lost for this many loud windows is dropped

QUIET_DB = -68.0  # of all bands: quieter sound is not voice
MARGIN_DB = 7.0  # sound that exceeds the expected echo by more than this is the caller
CALLER_WINDOWS = 3  # windows after which a caller may also be as soft as the echo
HOLD_WINDOWS = 7  # most windows that count for that
GAIN_STEP = 0.06  # of the difference between expected and heard level, per window


class EchoDetector:
    """Tells whether a window of the microphone is the bot's own voice. One per session."""

    def __init__(self) -> None:
        self._sent = SentAudio()
        self._microphone = ReceivedAudio()
        self._correlation = 0.0  # of the latest search
        self._prominent = SummedCorrelation()
        self._candidate: int | None = None  # delay that the latest search has found, in samples
        self._delay: int | None = None  # in samples, once it is known
        self._latest_delay = 0  # the same, also after it was lost
        self._gain = np.zeros(len(BAND_EDGES_HZ) - 1, dtype=np.float32)  # dB
        self._typical = 0.0  # correlation of the echo at the known delay
        self._caller_windows = 0  # more of these than others lately: the caller speaks
        self._lost_windows = 0
        self.detected = False
        """Whether an echo was detected at any time, so that the caller has a loudspeaker."""

    def sent(self, pcm: bytes, plays_at: float) -> None:
        """Note 24 kHz int16 audio that was sent and will be played from `plays_at` on."""
        self._sent.add(pcm, plays_at)

    def active(self, now: float) -> bool:
        """Return whether an echo is possible at `now`."""
        return now < self._sent.until + ACTIVE_SECONDS

    def is_echo(self, window: bytes, now: float, voice: bool = True) -> bool:
        """Return whether the bot explains a window of 32 ms, 16 kHz int16, that arrived at `now`.

        It has to be called for every window. `voice`: whether a detector hears a voice in it;
        otherwise the answer is of no interest, and False while the delay is not known.
        """
        if not self.active(now):
            self._microphone.forget()
            self._correlation, self._candidate = 0.0, None
            self._prominent = SummedCorrelation()
            return False
        self._microphone.add(window, now)
        if self._delay is None and not voice:
            return False
        _, level = self._microphone.history[-1]
        unsteady = self.detected and now < self._sent.unsteady_until
        if self._delay is None:
            if _sum_db(level) < QUIET_DB:
                return False
            self._search()
            if self._delay is None:
                return self._correlation > FIRST_CORRELATION or (unsteady and self._is_soft(level))
        return self._explains(level) or (unsteady and self._is_soft(level))

    def _is_soft(self, level: Floats) -> bool:
        """Return whether a window is not louder than an echo near the latest known delay.

        The client's buffer ran dry, so each piece of the audio is played with a delay of its own.
        """
        hop = self._microphone.hop - round(self._latest_delay / HOP)
        spread = round(UNSTEADY_SECONDS / HOP_SECONDS)
        loudest = self._sent.levels_between(hop - spread, hop + spread) + self._gain
        return _sum_db(level) - _sum_db(loudest) < MARGIN_DB

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
        correlations = _correlation(
            heard, self._sent.between(start, start + len(heard) + 2 * DRIFT + 1)
        )
        best, correlation = _peak(correlations)
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
        correlations = _correlation(heard, sent)
        best, self._correlation = _peak(correlations)
        delay, known, self._candidate = late - best, self._candidate, None
        if self._correlation > LOCK_CORRELATION:
            self._candidate = delay  # if a delay is known, this may be the new one
            if known is not None and abs(delay - known) <= SAME_DELAY:
                self._learn(delay, self._correlation)
            return
        prominence = self._prominent.add(correlations)
        if prominence > LOCK_PROMINENCE and self._prominent.mean > CHANCE_CORRELATION:
            self._learn(late - self._prominent.best, self._prominent.mean)

    def _learn(self, delay: int, correlation: float) -> None:
        """Note the delay, and learn the gain of each band from the latest windows.

        The gains of a delay that is known stay, because a caller may be in the latest windows.
        """
        if self._delay is not None and abs(delay - self._delay) <= SAME_DELAY:
            return
        self._delay, self.detected = delay, True
        self._latest_delay = delay
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
