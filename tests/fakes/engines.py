"""Engines that answer at once; tests/link/contract.py holds them to the interface of real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from appliance.errors import UnknownVoice
from appliance.link.engine import (
    ChatMessage,
    Chunk,
    GenerateRequest,
    Result,
    Tool,
    ToolCall,
    last_question,
)
from tests.fakes.audio import tone


def echo(conversation: Sequence[ChatMessage], heard: dict[int, bytes]) -> str:
    """Reply with the number of turns and the length of the last utterance."""
    last = conversation[-1]
    if last.utterance is None:
        return f"You wrote {last.text}."
    milliseconds = len(question_audio(conversation, heard)) // 32
    return f"Turn {len(conversation)}, heard {milliseconds} milliseconds."


def question_audio(conversation: Sequence[ChatMessage], heard: dict[int, bytes]) -> bytes:
    """Return the audio of all parts of the last question."""
    parts = [turn.utterance for turn in last_question(conversation)]
    return b"".join(heard[part] for part in parts if part is not None)


Reply = str | ToolCall | tuple[str, ToolCall]  # a call may follow a text


class InstantLLMEngine:
    """Calls `reply` with the conversation. Streams its text word by word, then its tool call.

    pause_seconds  before each word
    transcript     returns the words of an utterance
    offered        the tools of each request
    prefilled         the conversation of each prefill
    prefilled_early   the conversation of each prefill in the background
    """

    name = "llm"

    def __init__(
        self,
        reply: Callable[[Sequence[ChatMessage], dict[int, bytes]], Reply] = echo,
        pause_seconds: float = 0,
    ) -> None:
        self.reply = reply
        self.pause_seconds = pause_seconds
        self.transcript: Callable[[bytes], str] = lambda pcm: f"{len(pcm) // 32} milliseconds"
        self.sessions: list[InstantLLMSession] = []
        self.offered: list[list[Tool]] = []
        self.prefilled: list[list[ChatMessage]] = []
        self.prefilled_early: list[list[ChatMessage]] = []
        self.death = asyncio.Event()
        self.stopped = False

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        self.stopped = True

    async def died(self) -> None:
        await self.death.wait()

    def metrics(self) -> bytes:
        return b""

    def open(self) -> InstantLLMSession:
        session = InstantLLMSession(self)
        self.sessions.append(session)
        return session


class InstantLLMSession:
    """Session of an InstantLLMEngine.

    heard    the audio of each utterance by its id
    running  generations in progress
    decoded  words yielded so far
    confirmed  how often a speculative generation was confirmed
    """

    def __init__(self, engine: InstantLLMEngine) -> None:
        self._engine = engine
        self.heard: dict[int, bytes] = {}
        self.running = 0
        self.decoded = 0
        self.confirmed = 0
        self.closed = False

    def begin(self, utterance: int) -> None:
        self.heard[utterance] = b""

    def add_audio(self, utterance: int, pcm: bytes) -> None:
        self.heard[utterance] += pcm

    def end(self, utterance: int) -> None:
        pass

    def forget(self, utterance: int) -> None:
        del self.heard[utterance]

    def confirm(self) -> None:
        self.confirmed += 1

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        conversation, max_tokens = request.conversation, request.max_tokens
        spoken = conversation[-1].utterance is not None
        if spoken and not any(question_audio(conversation, self.heard)):
            yield Result("nothing_heard")
            return
        self.running += 1
        self._engine.offered.append(list(request.tools))
        try:
            reply = self._engine.reply(conversation, self.heard)
            if isinstance(reply, ToolCall):
                reply = "", reply
            text, call = (reply, None) if isinstance(reply, str) else reply
            words = text.split(" ") if text or call is None else []
            for number, word in enumerate(words[:max_tokens]):
                await asyncio.sleep(self._engine.pause_seconds)
                self.decoded += 1
                yield word if number == 0 else " " + word
            if call is not None:
                yield call
                yield Result("tool_call", {"decode_tokens": 1.0})
                return
            yield Result("stop" if len(words) <= max_tokens else "length", {"decode_tokens": 1.0})
        finally:
            self.running -= 1

    async def transcribe(self, *utterances: int) -> str:
        return self._engine.transcript(b"".join(self.heard[each] for each in utterances))

    async def prefill(
        self,
        conversation: tuple[ChatMessage, ...],
        tools: tuple[Tool, ...] = (),
        background: bool = False,
    ) -> None:
        prefilled = self._engine.prefilled_early if background else self._engine.prefilled
        prefilled.append(list(conversation))

    async def close(self) -> None:
        self.closed = True
        self.heard.clear()


class InstantTTSEngine:
    """Synthesizes a phrase at once, as a 440 Hz tone of 60 ms per character.

    phrases    all texts that were spoken
    spoken_by  the voice of each
    """

    name = "tts"
    voices: tuple[str, ...] = ("af_heart",)

    def __init__(self) -> None:
        self.phrases: list[str] = []
        self.spoken_by: list[str] = []
        self.running = 0

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def died(self) -> None:
        await asyncio.Event().wait()

    def metrics(self) -> bytes:
        return b""

    def open(self) -> InstantTTSSession:
        return InstantTTSSession(self)


class InstantTTSSession:
    """Session of an InstantTTSEngine."""

    def __init__(self, engine: InstantTTSEngine) -> None:
        self._engine = engine

    async def speak(
        self, text: str, voice: str, speed: float, urgent: bool
    ) -> AsyncGenerator[bytes, None]:
        if voice and voice not in self._engine.voices:
            raise UnknownVoice(voice=voice, known=", ".join(self._engine.voices))
        if not any(character.isalnum() for character in text):
            return
        self._engine.phrases.append(text)
        self._engine.spoken_by.append(voice)
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
