"""The audio that was sent, kept so that a paused bot can go on from the start of a phrase. No I/O.

Audio is sent ahead of its playback. When the bot pauses, the client drops what it has not played,
so the phrase in which playback stopped may be an earlier one than the phrase being sent.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass

# A phrase is repeated this often. Then the bot goes on where it stopped, so that it gets through
# the phrase even if one sound after the other pauses it.
MAX_REPEATS = 2


@dataclass(frozen=True, slots=True)
class PhraseStart:
    """The start of a phrase. `text` is empty if it does not belong to the conversation."""

    text: str
    repeats: int = 0  # how often it was sent again


@dataclass(frozen=True, slots=True)
class PhraseEnd:
    """The end of a phrase: all of its audio was sent."""


Item = PhraseStart | PhraseEnd | bytes  # bytes: a chunk of mono int16 PCM


@dataclass(frozen=True, slots=True)
class Rewind:
    """Where the bot goes on after a pause.

    phrases         texts from the phrase in which playback stopped to the latest one sent
    played_seconds  how much of the first of them is not sent again; 0 if it is repeated
    heard_seconds   how much of the first of them was played before the pause
    """

    phrases: tuple[str, ...]
    played_seconds: float
    heard_seconds: float


class Playout:
    """The latest phrases sent to one client, and what has to be sent again.

    lead_seconds      audio is sent at most this long before it is played
    bytes_per_second  of the PCM
    """

    def __init__(self, lead_seconds: float, bytes_per_second: int) -> None:
        self._lead_bytes = int(lead_seconds * bytes_per_second)
        self._bytes_per_second = bytes_per_second
        self._sent: list[Item] = []
        self._pending: deque[Item] = deque()

    def sent(self, item: Item) -> None:
        """Note what was sent. A chunk belongs to the phrase that was started last."""
        self._sent.append(item)
        self._drop_played()

    def forget_text(self) -> None:
        """Note that the phrase started last does not belong to the conversation."""
        for index in range(len(self._sent) - 1, -1, -1):
            item = self._sent[index]
            if isinstance(item, PhraseStart):
                self._sent[index] = dataclasses.replace(item, text="")
                return

    def next_pending(self) -> Item | None:
        """Remove and return the next item to send again. The caller notes it with `sent`."""
        return self._pending.popleft() if self._pending else None

    def clear(self) -> None:
        """Forget everything: the bot was interrupted."""
        self._sent.clear()
        self._pending.clear()

    def misses(self, unplayed_seconds: float) -> bool:
        """Return whether `rewind` has something to send again."""
        return self._phrase_index(self._stop_index(self._bytes(unplayed_seconds))) is not None

    def rewind(self, unplayed_seconds: float) -> Rewind | None:
        """Prepare to go on after a pause. Return where, or None if nothing was missed.

        `unplayed_seconds`: how much of the audio sent was not played before the pause.
        """
        stop = self._stop_index(self._bytes(unplayed_seconds))
        start = self._phrase_index(stop)
        if start is None:
            return None
        first, played_seconds = self._sent[start], 0.0
        heard = sum(len(i) for i in self._sent[start:stop] if isinstance(i, bytes))
        heard_seconds = heard / self._bytes_per_second
        phrases = tuple(i.text for i in self._sent[start:] if isinstance(i, PhraseStart))
        if isinstance(first, PhraseStart) and first.repeats < MAX_REPEATS:
            self._sent[start] = dataclasses.replace(first, repeats=first.repeats + 1)
        else:
            start, played_seconds = stop, heard_seconds
        self._pending.extendleft(reversed(self._sent[start:]))
        del self._sent[start:]
        return Rewind(phrases, played_seconds, heard_seconds)

    def _bytes(self, seconds: float) -> int:
        return int(seconds * self._bytes_per_second)

    def _stop_index(self, unplayed_bytes: int) -> int:
        """Return the index of the first item that was not played."""
        index = len(self._sent)
        while index and unplayed_bytes > 0:
            index -= 1
            item = self._sent[index]
            unplayed_bytes -= len(item) if isinstance(item, bytes) else 0
        return index

    def _phrase_index(self, stop: int) -> int | None:
        """Return the index at which the phrase begins whose playback stopped before `stop`.

        None if the phrases sent were played to their end.
        """
        if stop == len(self._sent):
            if not self._sent or not isinstance(self._sent[-1], bytes):
                return None
            stop -= 1
        return next((i for i in range(stop, -1, -1) if isinstance(self._sent[i], PhraseStart)), 0)

    def _drop_played(self) -> None:
        """Drop the oldest phrase if the audio after it is longer than the lead."""
        starts = [i for i, item in enumerate(self._sent) if isinstance(item, PhraseStart) and i]
        if starts:
            later = sum(len(item) for item in self._sent[starts[0] :] if isinstance(item, bytes))
            if later > self._lead_bytes:
                del self._sent[: starts[0]]
