"""Speculation: the reply is begun at a pause, before it is known whether the turn has ended.

At a pause, the gateway asks the engines privately for the reply and for the audio of its first
phrase. If the turn ends there, both are taken over. Otherwise they are discarded. Until then,
nothing of it is pushed into the pipeline, shown, remembered, or counted as a turn, and no tool is
run. After the first phrase, the language model is held, so that a wrong guess costs little.

`SpeculationState` decides, without I/O. `Speculator` talks to the engines.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from enum import Enum

from appliance.errors import EngineFailed
from appliance.gateway.generation.buffered_stream import BufferedStream
from appliance.gateway.session_set import SessionSet
from appliance.gateway.speech.phrases import PhraseCutter
from appliance.gateway.speech.reply_start import ReplyStart
from appliance.gateway.speech.unsplit_names import UnsplitNames
from appliance.link.client import EngineClient
from appliance.link.engine import Chunk, GenerateRequest
from appliance.link.utterance import Utterance
from appliance.settings import TTSConfig

MAX_TRIES = 3  # in one turn; a user who pauses more often is dictating
MAX_UTTERANCE_SECONDS = 10.0  # a longer utterance is too expensive to process for nothing


@dataclass(frozen=True, slots=True)
class SpeculationKey:
    """What a speculative reply replies to.

    request     conversation and tools; its last message refers to the utterance
    heard_bytes length of the utterance that the engine was given
    """

    request: GenerateRequest
    heard_bytes: int


class Phase(Enum):
    """The phase of the latest speculation of a session."""

    IDLE = "idle"  # none, or the reply that was taken over has ended
    RUNNING = "running"
    TAKEN = "taken"
    DISCARDED = "discarded"


class SpeculationState:
    """When a speculation may begin, and whether it is taken over or discarded. No I/O."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._tries = 0
        self._key: SpeculationKey | None = None
        self.phase = Phase.IDLE

    def may_begin(self, utterance_seconds: float, others_waiting: bool) -> bool:
        """Return whether a speculation may begin.

        `others_waiting`: another user waits for the first phrase of a confirmed turn.
        """
        return (
            self._enabled
            and self.phase not in (Phase.RUNNING, Phase.TAKEN)
            and self._tries < MAX_TRIES
            and utterance_seconds <= MAX_UTTERANCE_SECONDS
            and not others_waiting
        )

    def begin(self, key: SpeculationKey) -> None:
        """Begin a speculation. Call only if `may_begin`."""
        self._tries += 1
        self._key = key
        self.phase = Phase.RUNNING

    def take(self, key: SpeculationKey) -> bool:
        """Take the running speculation over if it replies to `key`. Return whether it does."""
        if self.phase != Phase.RUNNING or key != self._key:
            return False
        self.phase = Phase.TAKEN
        return True

    def discard(self) -> bool:
        """Discard the running speculation. Return whether one was running."""
        if self.phase != Phase.RUNNING:
            return False
        self.phase = Phase.DISCARDED
        return True

    def reply_ended(self) -> None:
        """Note that the reply that was taken over has ended or was cut off."""
        if self.phase == Phase.TAKEN:
            self.phase = Phase.IDLE

    def turn_ended(self) -> None:
        """Allow MAX_TRIES again: the next pause belongs to another turn."""
        self._tries = 0


@dataclass(slots=True)
class _SpeculativeReply:
    """A reply that was begun early.

    phrase   its first phrase, once it is complete
    speech   the audio of that phrase
    held     whether the language model waits for the turn to be confirmed
    """

    utterance: Utterance
    started_at: float
    chunks: BufferedStream[Chunk]
    phrase: str = ""
    speech: BufferedStream[bytes] | None = None
    held: bool = False


class Speculator:
    """Requests replies and speech of one session, and begins both early where it may.

    waiting      sessions whose user waits for the first phrase of a confirmed turn
    on_outcome   called with one of metrics.SPECULATION_OUTCOMES and the seconds since the
                 speculation began
    reply_start  told when the engines begin to work for this session; nothing is held back if None
    """

    def __init__(
        self,
        enabled: bool,
        config: TTSConfig,
        llm_client: EngineClient,
        tts_client: EngineClient,
        waiting: SessionSet,
        on_outcome: Callable[[str, float], None],
        names: UnsplitNames | None = None,
        reply_start: ReplyStart | None = None,
    ) -> None:
        self._config = config
        self._llm_client = llm_client
        self._tts_client = tts_client
        self._waiting = waiting
        self._on_outcome = on_outcome
        self._names = names
        self._reply_start = reply_start or ReplyStart(0.0, SessionSet())
        self._voice = config.voice
        self._state = SpeculationState(enabled)
        self._reply: _SpeculativeReply | None = None
        self._closing: list[BufferedStream[Chunk] | BufferedStream[bytes]] = []

    def begin(self, request: GenerateRequest, utterance: Utterance) -> bool:
        """Begin a reply to `request`, which ends with `utterance`. Return whether it began."""
        if not self._state.may_begin(utterance.seconds, self.others_waiting()):
            return False
        if self._reply is not None:
            self._stop(self._reply)  # its first phrase may not have been asked for
        self._state.begin(SpeculationKey(request, len(utterance.pcm)))
        cutter = PhraseCutter.of(self._config, self._names)

        async def cut_first_phrase(chunk: Chunk) -> None:
            if reply.phrase or self._state.phase != Phase.RUNNING:
                return  # the pipeline asks for the speech of a reply that was taken over
            phrases = cutter.feed(chunk) if isinstance(chunk, str) else cutter.flush()
            if phrase := "".join(phrases[:1]).strip():
                await self._speak_early(reply, phrase)

        chunks = BufferedStream(
            self._generate_early(request), "speculative reply", cut_first_phrase
        )
        reply = _SpeculativeReply(utterance, asyncio.get_running_loop().time(), chunks)
        self._reply = reply
        return True

    def discard(self, outcome: str) -> None:
        """Discard the running speculation, if any, with one of metrics.SPECULATION_OUTCOMES."""
        if self._state.discard() and self._reply is not None:
            self._report(outcome, self._reply)
            self._stop(self._reply)

    def use_voice(self, voice: str) -> None:
        """Use another voice from the next phrase on."""
        if voice != self._voice:
            self._voice = voice
            self.discard("changed")

    def speech_started(self) -> None:
        """Note that the user starts to speak, or goes on."""
        self.discard("speech_resumed")
        self._reply_start.work_began()

    def speech_dropped(self) -> None:
        """Note that what the user said was too short for a turn."""
        self.discard("changed")
        self._reply_start.work_dropped()

    def interrupted(self, speaking: bool) -> None:
        """Note that the bot is interrupted. `speaking`: the user has started to speak."""
        self.discard("interrupted")
        if not speaking:
            self._reply_start.work_dropped()

    def turn_ended(self) -> None:
        """Note that the user's turn has ended."""
        self._state.turn_ended()

    def reply_waiting(self) -> None:
        """Note that the user waits for a reply to a confirmed turn."""
        self._waiting.add(self)
        self._reply_start.work_began()

    def reply_audible(self) -> None:
        """Note that the reply is audible, or that there will be none."""
        self._waiting.remove(self)

    def others_waiting(self) -> bool:
        """Return whether the user of another session waits for a reply to a confirmed turn."""
        return self._waiting.others(self)

    async def close(self) -> None:
        """Discard and stop everything; the session has ended."""
        self.discard("session_ended")
        self.reply_audible()
        self._reply_start.work_dropped()
        if self._reply is not None:
            self._stop(self._reply)
        await self._wait_closed()

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        """Reply to the request of a confirmed turn: with the speculative reply if it fits.

        Yields and raises the same as `EngineClient.generate`.
        """
        reply = self._take(request)
        if reply is None:
            self.discard("changed")
            await self._wait_closed()  # the client runs one generation at a time
            chunks = self._llm_client.generate(request)
        else:
            chunks = reply.chunks.replay()
        try:
            async with contextlib.aclosing(chunks):
                if reply is not None:
                    await self._confirm(reply)
                async for chunk in chunks:
                    yield chunk
        finally:
            self._state.reply_ended()

    async def speak(self, text: str, urgent: bool) -> AsyncGenerator[bytes, None]:
        """Synthesize a phrase of a confirmed reply: with the audio begun early if it fits.

        Yields and raises the same as `EngineClient.speak`.
        """
        speech = self._take_speech(text) if urgent else None
        chunks = (
            speech.replay()
            if speech is not None
            else self._tts_client.speak(text, self._voice, self._config.speed, urgent)
        )
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def _take(self, request: GenerateRequest) -> _SpeculativeReply | None:
        reply = self._reply
        if reply is None:
            return None
        if reply.chunks.error is not None:
            self.discard("failed")
        if not self._state.take(SpeculationKey(request, len(reply.utterance.pcm))):
            return None
        self._report("taken", reply)
        return reply

    def _take_speech(self, text: str) -> BufferedStream[bytes] | None:
        reply = self._reply
        if reply is None or reply.speech is None or self._state.phase == Phase.RUNNING:
            return None
        speech, reply.speech = reply.speech, None
        if reply.phrase == text and speech.error is None:
            return speech
        speech.stop()
        self._closing.append(speech)
        return None

    async def _confirm(self, reply: _SpeculativeReply) -> None:
        """Let the engine go on as for any confirmed turn."""
        with contextlib.suppress(EngineFailed):  # the stream itself reports the failure
            await self._llm_client.confirm()
            if reply.held:
                await self._llm_client.resume()

    async def _generate_early(self, request: GenerateRequest) -> AsyncGenerator[Chunk, None]:
        await self._wait_closed()
        request = dataclasses.replace(request, speculative=True)
        async with contextlib.aclosing(self._llm_client.generate(request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _speak_early(self, reply: _SpeculativeReply, phrase: str) -> None:
        reply.phrase, reply.held = phrase, True
        reply.speech = BufferedStream(
            self._tts_client.speak(phrase, self._voice, self._config.speed, True),
            "speculative speech",
        )
        with contextlib.suppress(EngineFailed):  # the stream itself reports the failure
            await self._llm_client.hold()

    def _report(self, outcome: str, reply: _SpeculativeReply) -> None:
        self._on_outcome(outcome, asyncio.get_running_loop().time() - reply.started_at)

    def _stop(self, reply: _SpeculativeReply) -> None:
        speech, reply.speech = reply.speech, None
        for stream in (reply.chunks, speech):
            if stream is not None:
                stream.stop()
                self._closing.append(stream)

    async def _wait_closed(self) -> None:
        while self._closing:
            await self._closing.pop().close()
