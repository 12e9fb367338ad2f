"""The questions of a client for which it has not asked a response yet. No I/O."""

from __future__ import annotations

from appliance.errors import AudioBufferEmpty, AudioBufferFull
from appliance.gateway.realtime.client_events import RefusedEvent, invalid
from appliance.link.engine import INPUT_SAMPLE_RATE, MAX_QUESTION_PARTS

BYTES_PER_SECOND = 2 * INPUT_SAMPLE_RATE
MIN_COMMIT_BYTES = BYTES_PER_SECOND // 10  # OpenAI's service asks for 100 ms, too
MAX_QUESTION_TEXTS = 64
MAX_QUESTION_CHARS = 8_000  # of all texts of a question


class Questions:
    """The input audio buffer of a client that commits its questions itself, and its questions.

    max_seconds  longest audio of a question; more is dropped
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._max_bytes = int(max_seconds * INPUT_SAMPLE_RATE) * 2
        self._buffer = bytearray()
        self._full_reported = False
        self._texts: list[tuple[str, str]] = []  # by item
        self._audio: list[tuple[str, bytes]] = []

    def append(self, pcm: bytes) -> None:
        """Add 16 kHz PCM to the buffer. Raises RefusedEvent once if it is full."""
        free = self._max_bytes - len(self._buffer) - self._audio_bytes()
        self._buffer += pcm[: max(0, free)]
        if len(pcm) > free and not self._full_reported:
            self._full_reported = True
            raise RefusedEvent(AudioBufferFull(limit_seconds=self._max_seconds))

    def clear(self) -> None:
        """Empty the buffer."""
        self._buffer.clear()
        self._full_reported = False

    def commit(self, item_id: str) -> float:
        """Make a part of the question of the buffer, and return its length in seconds.

        Raises RefusedEvent if it is too short.
        """
        if len(self._buffer) < MIN_COMMIT_BYTES:
            raise RefusedEvent(AudioBufferEmpty())
        pcm = bytes(self._buffer)
        self.clear()
        self.add(item_id, "", pcm)
        return len(pcm) / BYTES_PER_SECOND

    def add(self, item_id: str, text: str, pcm: bytes) -> None:
        """Add a part to the question. Raises RefusedEvent if the question is too long."""
        chars = sum(len(each) for _, each in self._texts)
        if len(self._texts) == MAX_QUESTION_TEXTS or chars + len(text) > MAX_QUESTION_CHARS:
            raise invalid("the question has too much text", "item")
        if self._audio_bytes() + len(pcm) > self._max_bytes:
            raise RefusedEvent(AudioBufferFull(limit_seconds=self._max_seconds))
        if pcm and len(self._audio) == MAX_QUESTION_PARTS:
            raise invalid(f"the question has more than {MAX_QUESTION_PARTS} spoken parts", "item")
        if text:
            self._texts.append((item_id, text))
        if pcm:
            self._audio.append((item_id, pcm))

    def drop(self, item_id: str) -> bool:
        """Remove an item from the question. Return whether it was a part of it."""
        before = len(self._texts) + len(self._audio)
        self._texts = [each for each in self._texts if each[0] != item_id]
        self._audio = [each for each in self._audio if each[0] != item_id]
        return len(self._texts) + len(self._audio) < before

    def take(self) -> tuple[str, tuple[bytes, ...]]:
        """Remove and return the question: its texts, and its spoken parts."""
        text = "\n".join(each for _, each in self._texts)
        audio = tuple(pcm for _, pcm in self._audio)
        self._texts.clear()
        self._audio.clear()
        return text, audio

    def __bool__(self) -> bool:
        """Whether there is a question."""
        return bool(self._texts or self._audio)

    def _audio_bytes(self) -> int:
        return sum(len(pcm) for _, pcm in self._audio)
