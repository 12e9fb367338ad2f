"""What the user hears, and when, for the loudspeaker, the WAV files and the benchmarks. No I/O.

Audio is pushed as it arrives and pulled as it is played. The times are passed in, so the same code
runs under a sound card's callback and under a simulated loudspeaker.

Playback starts once `prebuffer_seconds` of audio are buffered, or the first of it has been buffered
for that long: a server may pace its audio just in time, and then a late packet would be a gap in a
word. Every time the buffer runs dry within a reply, an underrun is counted and it is filled again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client.wire import SPEAKER_SAMPLE_RATE

AUDIBLE_DBFS = -50.0  # samples below this level count as silence


def first_audible(pcm: bytes, dbfs: float = AUDIBLE_DBFS) -> int | None:
    """Index of the first sample of mono int16 PCM that is louder than `dbfs`, or None."""
    audible = _audible_samples(pcm, dbfs)
    return int(audible[0]) if audible.size else None


def last_audible(pcm: bytes, dbfs: float = AUDIBLE_DBFS) -> int | None:
    """Index of the last sample that is louder than `dbfs`, or None."""
    audible = _audible_samples(pcm, dbfs)
    return int(audible[-1]) if audible.size else None


def _audible_samples(pcm: bytes, dbfs: float) -> NDArray[np.intp]:
    threshold = 32768 * 10 ** (dbfs / 20)
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.int32)
    return np.flatnonzero(np.abs(samples) > threshold)


@dataclass(frozen=True, slots=True)
class HeardReply:
    """What was played of one reply. Times are seconds of the clock that was passed in."""

    pcm: bytes = b""  # mono int16, including the silence of underruns
    rate: int = SPEAKER_SAMPLE_RATE  # Hz
    first_audible_at: float | None = None
    ended_at: float | None = None  # when the last sample was played
    underruns: int = 0
    gap_seconds: float = 0.0  # silence of all underruns together
    longest_gap_seconds: float = 0.0
    dropped_seconds: float = 0.0  # received and dropped by an interruption

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.rate


class Player(Protocol):
    """Something that plays a bot's audio: a sound card, or a simulated one."""

    @property
    def drained(self) -> bool:
        """Whether all received audio was played."""

    @property
    def first_audible_at(self) -> float | None:
        """When the first audible sample since the last `take` was played."""

    @property
    def audible_since(self) -> float | None:
        """When sound last became audible after silence; None before the first time."""

    def push(self, pcm: bytes, now: float) -> None:
        """Add audio that arrived."""

    def flush(self, now: float) -> float:
        """Drop buffered audio after an interruption; returns the seconds dropped."""

    def take(self) -> HeardReply:
        """Return what was heard since the last call, and start a new reply."""


class Playback:
    """The playback buffer of one call, mono int16 at `rate` Hz."""

    def __init__(self, rate: int = SPEAKER_SAMPLE_RATE, prebuffer_seconds: float = 0.08) -> None:
        self.rate = rate
        self.prebuffer_seconds = prebuffer_seconds
        self._buffer = bytearray()
        self._buffered_since = 0.0
        self._playing = False
        self._audible = False
        self.audible_since: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._heard = bytearray()
        self._dry_at: float | None = None
        self._ended_at: float | None = None
        self._gaps: list[float] = []
        self._dropped_seconds = 0.0
        self.first_audible_at: float | None = None

    @property
    def buffered_seconds(self) -> float:
        return len(self._buffer) / 2 / self.rate

    @property
    def drained(self) -> bool:
        return not self._buffer

    def push(self, pcm: bytes, now: float) -> None:
        """See Player."""
        if pcm and not self._buffer and not self._playing:
            self._buffered_since = now
        self._buffer += pcm

    def pull(self, samples: int, at: float) -> bytes:
        """Play `samples` samples, the first of which is heard at `at`; silence if none are due."""
        lead = 0 if self._playing else self._samples_until_start(at)
        if lead >= samples:
            return bytes(2 * samples)
        if not self._playing:
            self._start(at + lead / self.rate)
        block = bytes(self._buffer[: 2 * (samples - lead)])
        del self._buffer[: len(block)]
        self._record(block, at + lead / self.rate)
        rest = samples - lead - len(block) // 2
        if rest:
            self._stop(at + (samples - rest) / self.rate)
        return bytes(2 * lead) + block + bytes(2 * rest)

    def flush(self, now: float) -> float:
        """See Player."""
        dropped = self.buffered_seconds
        self._buffer.clear()
        self._dropped_seconds += dropped
        if self._playing:
            self._stop(now)
        return dropped

    def take(self) -> HeardReply:
        """See Player."""
        heard = HeardReply(
            pcm=bytes(self._heard),
            rate=self.rate,
            first_audible_at=self.first_audible_at,
            ended_at=self._ended_at,
            underruns=len(self._gaps),
            gap_seconds=sum(self._gaps),
            longest_gap_seconds=max(self._gaps, default=0.0),
            dropped_seconds=self._dropped_seconds,
        )
        self._reset()
        return heard

    def _samples_until_start(self, at: float) -> int:
        if not self._buffer:
            return 1 << 62
        if self.buffered_seconds >= self.prebuffer_seconds:
            return 0
        due = self._buffered_since + self.prebuffer_seconds
        return max(0, math.ceil((due - at) * self.rate))

    def _start(self, at: float) -> None:
        self._playing = True
        if self._heard and self._dry_at is not None:
            gap = max(0.0, at - self._dry_at)
            self._gaps.append(gap)
            self._heard += bytes(2 * round(gap * self.rate))

    def _stop(self, at: float) -> None:
        self._playing = self._audible = False
        self._dry_at = at

    def _record(self, block: bytes, at: float) -> None:
        if not block:
            return
        is_first = self.first_audible_at is None
        if (is_first or not self._audible) and (index := first_audible(block)) is not None:
            audible_at = at + index / self.rate
            if is_first:
                self.first_audible_at = audible_at
            if not self._audible:
                self._audible, self.audible_since = True, audible_at
        self._heard += block
        self._ended_at = at + len(block) / 2 / self.rate


class SimulatedSpeaker:
    """A Player without a sound card, which plays in step with the times that it is passed."""

    def __init__(self, playback: Playback, now: float) -> None:
        self._playback = playback
        self._played_until = now

    @property
    def drained(self) -> bool:
        return self._playback.drained

    @property
    def first_audible_at(self) -> float | None:
        return self._playback.first_audible_at

    @property
    def audible_since(self) -> float | None:
        return self._playback.audible_since

    def advance(self, now: float) -> None:
        """Play up to `now`."""
        samples = int((now - self._played_until) * self._playback.rate)
        if samples > 0:
            self._playback.pull(samples, self._played_until)
            self._played_until += samples / self._playback.rate

    def push(self, pcm: bytes, now: float) -> None:
        self.advance(now)
        self._playback.push(pcm, now)

    def flush(self, now: float) -> float:
        self.advance(now)
        return self._playback.flush(now)

    def take(self) -> HeardReply:
        return self._playback.take()
