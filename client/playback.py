"""What the user hears, and when: the one definition that speaker, WAV writer and bench share.

Audio is pushed as it arrives and pulled as it is played. The time of each is passed in, so the
same code runs under a sound card's callback and under a simulated loudspeaker.

Playing starts once `prebuffer_seconds` of audio wait, or the first of it has waited that long: a
server may pace its audio just in time, and then a late packet would be a hole in a word. Every
time the buffer runs dry within a reply it is filled like that again, and an underrun is counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client.wire import DOWN_RATE

AUDIBLE_DBFS = -50.0  # quieter than this is heard as silence, relative to full scale


def first_audible(pcm: bytes, dbfs: float = AUDIBLE_DBFS) -> int | None:
    """Index of the first sample of mono int16 PCM that is louder than `dbfs`, or None."""
    loud = _loud(pcm, dbfs)
    return int(loud[0]) if loud.size else None


def last_audible(pcm: bytes, dbfs: float = AUDIBLE_DBFS) -> int | None:
    """Index of the last sample louder than `dbfs`, or None."""
    loud = _loud(pcm, dbfs)
    return int(loud[-1]) if loud.size else None


def _loud(pcm: bytes, dbfs: float) -> NDArray[np.intp]:
    threshold = 32768 * 10 ** (dbfs / 20)
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.int32)
    return np.flatnonzero(np.abs(samples) > threshold)


@dataclass(frozen=True, slots=True)
class Heard:
    """What was played of one reply. Times are seconds of the clock that was passed in."""

    pcm: bytes = b""  # mono int16, with the silence of underruns in it
    rate: int = DOWN_RATE  # Hz
    first_audible_at: float | None = None
    ended_at: float | None = None  # when the last sample was played
    underruns: int = 0
    gap_seconds: float = 0.0  # silence of all underruns together
    longest_gap_seconds: float = 0.0
    dropped_seconds: float = 0.0  # received, but void by an interruption

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.rate


class Player(Protocol):
    """Something that plays a bot's audio: a sound card, or the simulation of one."""

    @property
    def drained(self) -> bool:
        """Whether everything received was played."""

    @property
    def first_audible_at(self) -> float | None:
        """When the first audible sample since the last `take` was played."""

    @property
    def sounds_since(self) -> float | None:
        """When something last became audible after silence; None before the first time."""

    def push(self, pcm: bytes, now: float) -> None: ...

    def flush(self, now: float) -> float: ...

    def take(self) -> Heard: ...


class Playback:
    """The playback buffer of one call, mono int16 at `rate` Hz."""

    def __init__(self, rate: int = DOWN_RATE, prebuffer_seconds: float = 0.08) -> None:
        self.rate = rate
        self.prebuffer_seconds = prebuffer_seconds
        self._waiting = bytearray()
        self._waiting_since = 0.0
        self._playing = False
        self._sounds = False
        self.sounds_since: float | None = None
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
        return len(self._waiting) / 2 / self.rate

    @property
    def drained(self) -> bool:
        return not self._waiting

    def push(self, pcm: bytes, now: float) -> None:
        """Audio arrived."""
        if pcm and not self._waiting and not self._playing:
            self._waiting_since = now
        self._waiting += pcm

    def pull(self, samples: int, at: float) -> bytes:
        """The next `samples` samples, the first of which is heard at `at`; silence if none wait."""
        lead = 0 if self._playing else self._samples_until_start(at)
        if lead >= samples:
            return bytes(2 * samples)
        if not self._playing:
            self._start(at + lead / self.rate)
        block = bytes(self._waiting[: 2 * (samples - lead)])
        del self._waiting[: len(block)]
        self._note(block, at + lead / self.rate)
        rest = samples - lead - len(block) // 2
        if rest:
            self._playing = self._sounds = False
            self._dry_at = at + (samples - rest) / self.rate
        return bytes(2 * lead) + block + bytes(2 * rest)

    def flush(self, now: float) -> float:
        """The bot was interrupted: drops what waits at once. Returns the seconds dropped."""
        dropped = self.buffered_seconds
        self._waiting.clear()
        self._dropped_seconds += dropped
        if self._playing:
            self._playing = self._sounds = False
            self._dry_at = now
        return dropped

    def take(self) -> Heard:
        """What was heard since the last call; the next reply starts a fresh account."""
        heard = Heard(
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
        if not self._waiting:
            return 1 << 62
        if self.buffered_seconds >= self.prebuffer_seconds:
            return 0
        due = self._waiting_since + self.prebuffer_seconds
        return max(0, math.ceil((due - at) * self.rate))

    def _start(self, at: float) -> None:
        self._playing = True
        if self._heard and self._dry_at is not None:
            gap = max(0.0, at - self._dry_at)
            self._gaps.append(gap)
            self._heard += bytes(2 * round(gap * self.rate))

    def _note(self, block: bytes, at: float) -> None:
        if not block:
            return
        is_first = self.first_audible_at is None
        if (is_first or not self._sounds) and (index := first_audible(block)) is not None:
            audible_at = at + index / self.rate
            if is_first:
                self.first_audible_at = audible_at
            if not self._sounds:
                self._sounds, self.sounds_since = True, audible_at
        self._heard += block
        self._ended_at = at + len(block) / 2 / self.rate


class SimulatedSpeaker:
    """A loudspeaker without a sound card: plays in step with the clock it is shown."""

    def __init__(self, playback: Playback, now: float) -> None:
        self._playback = playback
        self._at = now

    @property
    def drained(self) -> bool:
        return self._playback.drained

    @property
    def first_audible_at(self) -> float | None:
        return self._playback.first_audible_at

    @property
    def sounds_since(self) -> float | None:
        return self._playback.sounds_since

    def advance(self, now: float) -> None:
        """Plays up to `now`."""
        samples = int((now - self._at) * self._playback.rate)
        if samples > 0:
            self._playback.pull(samples, self._at)
            self._at += samples / self._playback.rate

    def push(self, pcm: bytes, now: float) -> None:
        self.advance(now)
        self._playback.push(pcm, now)

    def flush(self, now: float) -> float:
        self.advance(now)
        return self._playback.flush(now)

    def take(self) -> Heard:
        return self._playback.take()
