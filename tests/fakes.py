"""Fakes that obey the same interface tests as the real things (tests/link/contract.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

import numpy as np

from appliance.errors import UnknownVoice
from appliance.link.engine import SPOKEN_RATE, Result, Turn


def echo(conversation: Sequence[Turn], heard: dict[int, bytes]) -> str:
    """Says how many turns there were and how long the last utterance was."""
    last = conversation[-1]
    if last.utterance is None:
        return f"You wrote {last.text}."
    return f"Turn {len(conversation)}, heard {len(heard[last.utterance]) // 32} milliseconds."


class InstantSpeechEngine:
    """Answers at once, word by word, with what `reply` makes of the conversation."""

    name = "ultravox"

    def __init__(
        self,
        reply: Callable[[Sequence[Turn], dict[int, bytes]], str] = echo,
        pause_seconds: float = 0,
    ) -> None:
        self.reply = reply
        self.pause_seconds = pause_seconds
        self.sessions: list[InstantSpeechSession] = []

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def metrics(self) -> bytes:
        return b""

    def open(self) -> InstantSpeechSession:
        session = InstantSpeechSession(self)
        self.sessions.append(session)
        return session


class InstantSpeechSession:
    """See InstantSpeechEngine."""

    def __init__(self, engine: InstantSpeechEngine) -> None:
        self._engine = engine
        self.heard: dict[int, bytes] = {}
        self.running = 0
        self.decoded = 0
        self.closed = False

    def begin(self, utterance: int) -> None:
        self.heard[utterance] = b""

    def hear(self, utterance: int, pcm: bytes) -> None:
        self.heard[utterance] += pcm

    def end(self, utterance: int) -> None:
        pass

    def forget(self, utterance: int) -> None:
        del self.heard[utterance]

    async def generate(
        self, conversation: Sequence[Turn], max_tokens: int, temperature: float
    ) -> AsyncGenerator[str | Result, None]:
        last = conversation[-1].utterance
        if last is not None and not any(self.heard[last]):
            yield Result("nothing_heard")
            return
        self.running += 1
        try:
            words = self._engine.reply(conversation, self.heard).split(" ")
            for number, word in enumerate(words[:max_tokens]):
                await asyncio.sleep(self._engine.pause_seconds)
                self.decoded += 1
                yield word if number == 0 else " " + word
            yield Result("stop" if len(words) <= max_tokens else "length", {"decode_tokens": 1.0})
        finally:
            self.running -= 1

    async def transcribe(self, utterance: int) -> str:
        return f"{len(self.heard[utterance]) // 32} milliseconds"

    async def warm(self, conversation: Sequence[Turn]) -> None:
        pass

    async def close(self) -> None:
        self.closed = True
        self.heard.clear()


class InstantVoiceEngine:
    """Speaks every phrase at once, as a 440 Hz tone of 60 ms a character."""

    name = "kokoro"
    voices = ("af_heart",)

    def __init__(self) -> None:
        self.phrases: list[str] = []
        self.running = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def metrics(self) -> bytes:
        return b""

    def open(self) -> InstantVoiceSession:
        return InstantVoiceSession(self)


class InstantVoiceSession:
    """See InstantVoiceEngine."""

    def __init__(self, engine: InstantVoiceEngine) -> None:
        self._engine = engine

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        if voice and voice not in self._engine.voices:
            raise UnknownVoice(voice=voice, known=", ".join(self._engine.voices))
        if not any(character.isalnum() for character in text):
            return
        self._engine.phrases.append(text)
        self._engine.running += 1
        try:
            chunk = tone(0.2)
            for _ in range(max(1, round(len(text) * 0.06 / 0.2))):
                await asyncio.sleep(0)
                yield chunk
        finally:
            self._engine.running -= 1

    async def close(self) -> None:
        pass


def tone(seconds: float, rate: int = SPOKEN_RATE, hertz: float = 440.0) -> bytes:
    """int16 PCM of a sine at about -12 dBFS."""
    time = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes()
