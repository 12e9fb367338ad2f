"""The phrases that wait for the model: urgent ones first, then the one that is due first."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from appliance.engines.tts.audio import Samples
from appliance.errors import EngineFailed


@dataclass(eq=False)
class Phrase:
    """One synthesis request of a session.

    The worker puts PCM in `output`, then None, or the error that made the phrase fail.
    """

    session: int
    text: str
    voice: str
    speed: float
    urgent: bool
    loop: asyncio.AbstractEventLoop
    arrived_at: float = field(default_factory=time.monotonic)
    output: asyncio.Queue[bytes | EngineFailed | None] = field(default_factory=asyncio.Queue)
    chunks: list[str] | None = None  # phonemes still to be synthesized; None before G2P
    parts: Iterator[Samples] | None = None  # the chunk that is being synthesized
    has_audio: bool = False
    ended: bool = False
    abandoned: bool = False

    def emit(self, item: bytes | EngineFailed | None) -> None:
        """Pass an item to the session's event loop; called on the worker thread."""
        if not self.loop.is_closed():  # it is closed when the process stops
            self.loop.call_soon_threadsafe(self.output.put_nowait, item)


class PhraseQueue:
    """Waiting phrases: urgent ones first, then by the time at which they are due. Thread-safe.

    A phrase is due when it arrives, or later, when the audio before it has been played. Phrases of
    one session keep their order, except that urgent phrases overtake the others. `plays_until`
    returns when the audio of a session will have been played, in seconds of `time.monotonic`.
    """

    def __init__(self, plays_until: Callable[[int], float] = lambda session: 0.0) -> None:
        self._plays_until = plays_until
        self._sessions: OrderedDict[int, deque[Phrase]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._sessions.values()))

    def put(self, phrase: Phrase) -> None:
        """Add a phrase behind the others of its session."""
        with self._changed:
            self._sessions.setdefault(phrase.session, deque()).append(phrase)
            self._changed.notify()

    def put_back(self, phrase: Phrase) -> None:
        """Return an unfinished phrase, ahead of the others of its session."""
        with self._changed:
            self._sessions.setdefault(phrase.session, deque()).appendleft(phrase)
            self._changed.notify()

    def remove(self, phrase: Phrase) -> None:
        """Remove a phrase if it is queued."""
        with self._changed:
            phrases = self._sessions.get(phrase.session, deque())
            if phrase in phrases:
                phrases.remove(phrase)
            if not phrases:
                self._sessions.pop(phrase.session, None)

    def take(self) -> Phrase | None:
        """Wait for the next phrase; None once the queue is closed."""
        with self._changed:
            while not self._sessions and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            session = min(self._sessions, key=self._rank)  # of equals, who waits longest
            phrases = self._sessions.pop(session)
            phrase = _next_of(phrases)
            phrases.remove(phrase)
            if phrases:
                self._sessions[session] = phrases  # at the end: the other sessions come first
            return phrase

    def _rank(self, session: int) -> tuple[bool, float]:
        phrase = _next_of(self._sessions[session])
        if phrase.urgent:
            return False, phrase.arrived_at
        return True, max(phrase.arrived_at, self._plays_until(session))

    def close(self) -> None:
        """Make every current and later `take` return None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _next_of(phrases: deque[Phrase]) -> Phrase:
    """Return the next phrase of a session."""
    return next((phrase for phrase in phrases if phrase.urgent), phrases[0])
