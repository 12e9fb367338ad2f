"""Which audio belongs to what the user is saying; pure, fed by frames.

Before speech is noticed a ring of audio is kept, since the detector confirms late. From a pause on
audio is held back: if the user goes on it belongs to the utterance, if the turn ends it is only
silence. So the engine has heard everything at the moment of the pause, and whatever it made of it
while the end of the turn was still being decided stays valid.
"""

from __future__ import annotations

from collections import deque

from appliance.link.engine import Utterance

BYTES_PER_SECOND = 32_000  # 16 kHz mono int16


class Listening:
    """Collects utterances from 16 kHz mono int16 audio and the detector's events."""

    def __init__(self, pre_roll_seconds: float, max_seconds: float) -> None:
        self._pre_roll_bytes = int(pre_roll_seconds * BYTES_PER_SECOND)
        self._max_bytes = int(max_seconds * BYTES_PER_SECOND)
        self._before: deque[bytes] = deque()
        self._before_bytes = 0
        self._held: list[bytes] = []
        self._count = 0
        self._in_turn = False
        self._lead_seconds = 0.0
        self._tail_seconds = 0.0
        self.utterance: Utterance | None = None
        self.speaking = False

    def audio(self, pcm: bytes) -> bool:
        """Takes audio; true when the current utterance has grown."""
        if self.utterance is None:
            self._before.append(pcm)
            self._before_bytes += len(pcm)
            while self._before_bytes - len(self._before[0]) >= self._pre_roll_bytes:
                self._before_bytes -= len(self._before.popleft())
            return False
        if not self.speaking:
            self._held.append(pcm)
            return False
        return self._grow(self.utterance, pcm)

    @property
    def speech_seconds(self) -> float:
        """Of the current utterance, from where speech began to where it last ended."""
        if self.utterance is None:
            return 0.0
        return max(0.0, self.utterance.seconds - self._lead_seconds - self._tail_seconds)

    def speech_started(self, seconds_ago: float = 0.0) -> Utterance:
        """Speech was noticed: begins an utterance, or goes on with the one that paused."""
        self.speaking = True
        self._tail_seconds = 0.0
        if self.utterance is None:
            self._count += 1
            self.utterance = Utterance(self._count)
            self._grow(self.utterance, b"".join(self._before))
            self._before.clear()
            self._before_bytes = 0
            self._lead_seconds = max(0.0, self.utterance.seconds - seconds_ago)
        else:
            self._grow(self.utterance, b"".join(self._held))
        self._held.clear()
        return self.utterance

    def turn_started(self) -> Utterance:
        """The user's turn began, which may be known before or after its speech."""
        self._in_turn = True
        return self.utterance if self.utterance is not None else self.speech_started()

    def speech_paused(self, seconds_ago: float = 0.0) -> Utterance | None:
        """Silence was noticed; None when what was heard belongs to no turn and is dropped."""
        self.speaking = False
        self._tail_seconds = seconds_ago
        if not self._in_turn:
            self.utterance = None
            self._held.clear()
        return self.utterance

    def turn_ended(self) -> Utterance | None:
        """The turn is over: the complete utterance, with no silence behind it.

        What was held back comes before the next one: speech may have begun in it already.
        """
        said = self.utterance
        if said is not None:
            said.complete = True
        self.utterance = None
        self.speaking = False
        self._in_turn = False
        held, self._held = self._held, []
        for pcm in held:
            self.audio(pcm)
        return said

    def joined(self, first: Utterance, second: Utterance) -> Utterance:
        """One complete utterance of two that were never answered in between."""
        self._count += 1
        both = Utterance(self._count)
        both.pcm += first.pcm + bytes(BYTES_PER_SECOND // 4) + second.pcm
        del both.pcm[: max(0, len(both.pcm) - self._max_bytes)]
        both.complete = True
        return both

    def _grow(self, utterance: Utterance, pcm: bytes) -> bool:
        room = self._max_bytes - len(utterance.pcm)
        utterance.pcm += pcm[:room]
        return room > 0
