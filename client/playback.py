"""The playback buffer: what the user hears, and when. No I/O.

Audio is pushed when it arrives and pulled when it is played. The times are passed in, so the same
code serves a sound card's callback and a simulated loudspeaker (`say`, tests and benchmarks).

Playback starts when `prebuffer_seconds` of audio are buffered, or when the oldest audio has been
buffered for that long. Otherwise, if a server sends its audio just in time, a late packet would
cause a gap within a word. If the buffer runs empty within a reply, this counts as an underrun, and
the buffer is filled again before playback continues.
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
    """The part of a reply that was played. Times are seconds of the clock that was passed in."""

    pcm: bytes = b""  # mono int16, including the silence of underruns
    rate: int = SPEAKER_SAMPLE_RATE  # Hz
    first_audible_at: float | None = None
    ended_at: float | None = None  # when the last sample was played
    underruns: int = 0
    gap_seconds: float = 0.0  # total silence of all underruns
    longest_gap_seconds: float = 0.0
    dropped_seconds: float = 0.0  # audio that arrived, but was dropped by an interruption

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.rate


class Player(Protocol):
    """Something that plays a bot's audio: a sound card, or a simulated one."""

    @property
    def drained(self) -> bool:
        """Whether all audio that arrived has been played."""

    @property
    def first_audible_at(self) -> float | None:
        """When the first audible sample since the last `take` was played."""

    @property
    def audible_since(self) -> float | None:
        """When sound last became audible after silence; None before the first time."""

    def push(self, pcm: bytes, now: float) -> None:
        """Add audio that arrived."""

    def flush(self, now: float) -> float:
        """Drop the buffered audio after an interruption. Returns its duration in seconds."""

    def take(self) -> HeardReply:
        """Return the audio played since the last `take`, and start a new reply."""


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
        self._stopped_at: float | None = None
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

    def pull(self, samples: int, starts_at: float) -> bytes:
        """Play `samples` samples, of which the first is heard at `starts_at`.

        Samples that are not due or not buffered are silence.
        """
        lead = 0 if self._playing else self._samples_until_start(starts_at)
        if lead >= samples:
            return bytes(2 * samples)
        if not self._playing:
            self._start(starts_at + lead / self.rate)
        block = bytes(self._buffer[: 2 * (samples - lead)])
        del self._buffer[: len(block)]
        self._record(block, starts_at + lead / self.rate)
        missing = samples - lead - len(block) // 2
        if missing:
            self._stop(starts_at + (samples - missing) / self.rate)
        return bytes(2 * lead) + block + bytes(2 * missing)

    def flush(self, now: float) -> float:
        """See Player."""
        dropped = self.buffered_seconds
        self._buffer.clear()
        self._dropped_seconds += dropped
        if self._playing:
            self._stop(now)
        self._stopped_at = None  # silence after an interruption is not a gap in the reply
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

    def _samples_until_start(self, now: float) -> int:
        if not self._buffer:
            return 1 << 62  # not before audio arrives
        if self.buffered_seconds >= self.prebuffer_seconds:
            return 0
        due = self._buffered_since + self.prebuffer_seconds
        return max(0, math.ceil((due - now) * self.rate))

    def _start(self, now: float) -> None:
        self._playing = True
        if self._heard and self._stopped_at is not None:
            gap = max(0.0, now - self._stopped_at)
            self._gaps.append(gap)
            self._heard += bytes(2 * round(gap * self.rate))

    def _stop(self, now: float) -> None:
        self._playing = self._audible = False
        self._stopped_at = now

    def _record(self, block: bytes, starts_at: float) -> None:
        if not block:
            return
        is_first = self.first_audible_at is None
        if (is_first or not self._audible) and (index := first_audible(block)) is not None:
            audible_at = starts_at + index / self.rate
            if is_first:
                self.first_audible_at = audible_at
            if not self._audible:
                self._audible, self.audible_since = True, audible_at
        self._heard += block
        self._ended_at = starts_at + len(block) / 2 / self.rate


class SimulatedSpeaker:
    """A Player without a sound card. It plays up to the times that are passed in."""

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
