"""Cutting the microphone's audio into utterances. No I/O: audio and detector events are passed in.

The detector confirms speech late, so the audio just before is kept and becomes the start of the
utterance. After a pause, audio is held back. If the user continues, it is added to the utterance;
if the turn ends, it was only silence. So the engine has the whole utterance at the pause, and its
prefill stays valid if the turn ends there.
"""

from __future__ import annotations

from collections import deque

from appliance.link.engine import INPUT_SAMPLE_RATE, MAX_QUESTION_PARTS
from appliance.link.utterance import Utterance

BYTES_PER_SECOND = 2 * INPUT_SAMPLE_RATE  # mono int16


class UtteranceCollector:
    """Collects the utterances of one session.

    pre_roll_seconds  audio kept from before the detected start of speech
    max_seconds       longest utterance; audio beyond it is dropped
    """

    def __init__(self, pre_roll_seconds: float, max_seconds: float) -> None:
        self._pre_roll_bytes = int(pre_roll_seconds * BYTES_PER_SECOND)
        self._max_bytes = int(max_seconds * BYTES_PER_SECOND)
        self._pre_roll: deque[bytes] = deque()
        self._pre_roll_size = 0
        self._held_back: list[bytes] = []  # audio since the pause
        self._last_id = 0
        self._in_turn = False
        self._lead_seconds = 0.0
        self._tail_seconds = 0.0
        self.current: Utterance | None = None
        self.speaking = False

    def add_audio(self, pcm: bytes) -> bool:
        """Add audio. Return whether the current utterance has grown."""
        if self.current is None:
            self._pre_roll.append(pcm)
            self._pre_roll_size += len(pcm)
            while self._pre_roll_size - len(self._pre_roll[0]) >= self._pre_roll_bytes:
                self._pre_roll_size -= len(self._pre_roll.popleft())
            return False
        if not self.speaking:
            self._held_back.append(pcm)
            return False
        return self._grow(self.current, pcm)

    @property
    def speech_seconds(self) -> float:
        """Length of the current utterance from the start to the latest end of speech."""
        if self.current is None:
            return 0.0
        return max(0.0, self.current.seconds - self._lead_seconds - self._tail_seconds)

    def speech_started(self, seconds_ago: float = 0.0) -> Utterance:
        """Begin an utterance, or continue the one that has paused, and return it."""
        self.speaking = True
        self._tail_seconds = 0.0
        if self.current is None:
            self.current = self._new()
            self._grow(self.current, b"".join(self._pre_roll))
            self._pre_roll.clear()
            self._pre_roll_size = 0
            self._lead_seconds = max(0.0, self.current.seconds - seconds_ago)
        else:
            self._grow(self.current, b"".join(self._held_back))
        self._held_back.clear()
        return self.current

    def turn_started(self) -> Utterance:
        """Note that the user's turn has started, before or after its speech was detected."""
        self._in_turn = True
        return self.current if self.current is not None else self.speech_started()

    def speech_paused(self, seconds_ago: float = 0.0) -> None:
        """Note a pause. The audio after it is held back."""
        self.speaking = False
        self._tail_seconds = seconds_ago

    def speech_stopped(self) -> Utterance | None:
        """Note the end of speech. Drop and return the utterance if no turn has started with it."""
        return None if self._in_turn else self.turn_ended()

    @property
    def in_turn(self) -> bool:
        """Whether the user's turn has started."""
        return self._in_turn

    def turn_ended(self) -> Utterance | None:
        """End the turn. Return its complete utterance without trailing silence, or None.

        The held-back audio becomes pre-roll: the next utterance may have started in it.
        """
        utterance = self.current
        if utterance is not None:
            utterance.complete = True
        self.current = None
        self.speaking = False
        self._in_turn = False
        held_back, self._held_back = self._held_back, []
        for pcm in held_back:
            self.add_audio(pcm)
        return utterance

    def whole(self, pcm: bytes) -> Utterance:
        """Return a complete utterance that was recorded elsewhere."""
        utterance = self._new()
        self._grow(utterance, pcm)
        utterance.complete = True
        return utterance

    def _new(self) -> Utterance:
        self._last_id += 1
        return Utterance(self._last_id)

    def _grow(self, utterance: Utterance, pcm: bytes) -> bool:
        free_bytes = self._max_bytes - len(utterance.pcm)
        utterance.pcm += pcm[:free_bytes]
        return free_bytes > 0


def latest_parts(
    parts: tuple[Utterance, ...], max_seconds: float, max_parts: int = MAX_QUESTION_PARTS
) -> tuple[Utterance, ...]:
    """Return the parts of a question that fit into `max_seconds`; the last one always does."""
    kept: list[Utterance] = []
    seconds = 0.0
    for part in reversed(parts[-max_parts:]):
        seconds += part.seconds
        if kept and seconds > max_seconds:
            break
        kept.insert(0, part)
    return tuple(kept)
