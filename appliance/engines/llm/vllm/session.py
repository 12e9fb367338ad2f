"""One caller of Ultravox: what they said, as audio, and the replies to it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from appliance.engines.llm.metrics import EngineMeters, Request
from appliance.engines.llm.vllm.admission import Displaced, Room, Urgency
from appliance.engines.llm.vllm.answer import Answer
from appliance.engines.llm.vllm.audio import Utterances
from appliance.engines.llm.vllm.probe import Probe
from appliance.engines.llm.vllm.prompt import Llama3Format, Prompt
from appliance.engines.llm.vllm.runtime import Ask, Runtime, Step
from appliance.errors import BadRequest, EngineBusy, EngineFailed
from appliance.link.engine import FinishReason, GenerateRequest, Piece, Result, Tool, Turn
from appliance.settings import LLMConfig

NAME = "llm"


@dataclass(frozen=True, slots=True)
class Shared:
    """One model with all that goes with it.

    context_tokens  the longest prompt and reply
    transcribing    held by the one transcription under way: vLLM has no seat more to spare for any
    """

    runtime: Runtime
    form: Llama3Format
    room: Room
    probe: Probe
    meters: EngineMeters
    settings: LLMConfig
    context_tokens: int
    transcribing: asyncio.Lock = field(default_factory=asyncio.Lock)


TRANSCRIBE = "Transcribe"  # as the model's authors ask it to
TRANSCRIPT_LEAST_TOKENS = 16
TRANSCRIPT_TOKENS_PER_SECOND = 8  # twice what fast speech has
# vLLM's: who comes first when not all can be worked on. Warming is for a caller who speaks now.
PRIORITY = {Urgency.REPLY: 0, Urgency.WARM: 1, Urgency.TRANSCRIPTION: 2}


class VllmSession:
    """`SpeechSession` of one caller."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._settings = shared.settings
        self._utterances = Utterances(shared.settings, NAME)
        self._salt = ""
        self._warming: asyncio.Timeout | None = None
        self._closed = asyncio.Event()
        self._today = shared.settings.today or f"{datetime.date.today():%d %b %Y}"

    def begin(self, utterance: int) -> None:
        """A new utterance begins."""
        self._utterances.begin(utterance)

    def hear(self, utterance: int, pcm: bytes) -> None:
        """More audio of it. Raises BadRequest for audio of an unknown utterance."""
        self._utterances.clip(utterance).add(pcm)

    def end(self, utterance: int) -> None:
        """The utterance is complete."""
        self._utterances.end(utterance)

    def forget(self, utterance: int) -> None:
        """The utterance will not be referred to again."""
        self._utterances.forget(utterance)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Piece, None]:
        """Replies to a conversation. Raises BadRequest, EngineBusy and EngineFailed."""
        self._precede()
        measured = Request(NAME, self._shared.meters)
        answer = self._answer(request, measured)
        async with contextlib.aclosing(measured.counted(answer)) as pieces:
            async for piece in pieces:
                yield piece

    async def transcribe(self, utterance: int) -> str:
        """What was said in a complete utterance, in the model's own words."""
        clip = self._utterances.clip(utterance)
        if clip.verdict() != "speech":
            return ""
        most = TRANSCRIPT_LEAST_TOKENS + int(clip.seconds * TRANSCRIPT_TOKENS_PER_SECOND)
        turns = [Turn("user", TRANSCRIBE, utterance)]
        while True:
            answer, text = Answer((), self._settings.noise_reply), ""
            prompt = self._prompt(turns, (), most)
            try:
                async with (
                    self._shared.transcribing,
                    contextlib.aclosing(
                        self._steps(prompt, most, 0.0, Urgency.TRANSCRIPTION)
                    ) as steps,
                ):
                    async for step in steps:
                        text += answer.add(step.text)
                        if answer.loops:
                            break
            except Displaced:
                continue  # a reply needed the room; it is in line again, behind the replies
            return (text + answer.finish().text).strip()

    async def warm(self, conversation: tuple[Turn, ...], tools: tuple[Tool, ...] = ()) -> None:
        """Works on what is there; a later `warm` or `generate` stops it.

        An utterance that has not ended is left out: with every word more it is another clip, and
        the model hears all of it before the first word of an answer.
        """
        self._precede()
        self._warming = limit = asyncio.timeout(None)
        if conversation and self._utterances.growing(conversation[-1]):
            conversation = conversation[:-1]
        try:
            async with limit:
                prompt = self._prompt(conversation, tools, self._settings.reply_tokens)
                async with contextlib.aclosing(self._steps(prompt, 1, 0.0, Urgency.WARM)) as steps:
                    async for _ in steps:
                        pass
        except (Displaced, EngineBusy):
            return  # others need the room more
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            if self._warming is limit:
                self._warming = None

    async def close(self) -> None:
        """The caller left."""
        self._closed.set()
        self._precede()
        self._utterances.clear()

    async def _answer(
        self, request: GenerateRequest, measured: Request
    ) -> AsyncGenerator[Piece, None]:
        if not self._utterances.speak(_question(request.conversation)):
            measured.heard(spoken=False)
            yield Result("nothing_heard", measured.stats)
            return
        prompt = self._prompt(request.conversation, request.tools, request.max_tokens)
        answer = Answer(request.tools, self._settings.noise_reply)
        reason: FinishReason = "stop"
        steps = self._measured(prompt, request.max_tokens, request.temperature, measured)
        async with contextlib.aclosing(steps):
            async for step in steps:
                reason = "length" if step.ended == "length" else "stop"
                if text := answer.add(step.text):
                    yield text
                if answer.loops:
                    reason = "stop"
                    break
        if self._closed.is_set():
            return
        ending = answer.finish()
        if ending.text:
            yield ending.text
        if ending.noise:
            reason = "nothing_heard"
        if ending.call is not None:
            yield ending.call
            reason = "called"
        yield Result(reason, measured.stats)

    async def _measured(
        self, prompt: Prompt, max_tokens: int, temperature: float, request: Request
    ) -> AsyncGenerator[Step, None]:
        meters, stats = self._shared.meters, request.stats
        request.heard(spoken=bool(prompt.clips))
        stats |= {"prompt_tokens": prompt.length, "cached_tokens": 0, "decode_tokens": 0}
        meters.prompt_tokens.inc(prompt.length)
        steps = self._steps(prompt, max_tokens, temperature, Urgency.REPLY)
        async with contextlib.aclosing(steps):
            async for step in steps:
                if not stats["decode_tokens"]:
                    stats["cached_tokens"] = step.cached
                    request.first_token()
                    meters.cached_tokens.inc(step.cached)
                stats["decode_tokens"] += len(step.tokens)
                yield step

    async def _steps(
        self, prompt: Prompt, max_tokens: int, temperature: float, urgency: Urgency
    ) -> AsyncGenerator[Step, None]:
        shared = self._shared
        ask = Ask(
            prompt.tokens,
            tuple(self._utterances.named(utterance) for utterance in prompt.clips),
            max_tokens,
            temperature,
            shared.form.stops,
            0,
            PRIORITY[urgency],
            self._salt,
        )
        async with shared.room.hold(prompt.length + max_tokens, urgency):
            steps = shared.runtime.ask(ask)
            async with contextlib.aclosing(steps):
                async for step in steps:
                    if self._closed.is_set() or step.ended == "abort":
                        return
                    if not step.sound:
                        self._distrust()
                        raise EngineFailed(engine=NAME)
                    shared.probe.used()
                    yield step

    def _distrust(self) -> None:
        """Numbers were none: is it the model, or what it keeps of this caller?"""
        self._salt = secrets.token_hex(8)  # it is not used again
        self._utterances.rename()
        self._shared.probe.suspect()

    def _prompt(
        self, conversation: Sequence[Turn], tools: Sequence[Tool], max_tokens: int
    ) -> Prompt:
        sizes = self._utterances.sizes(conversation)
        room = self._shared.context_tokens - max_tokens
        return self._shared.form.prompt(conversation, tools, self._today, sizes, room)

    def _precede(self) -> None:
        """What is being warmed gives way to what comes now."""
        if self._warming is not None:
            self._warming.reschedule(asyncio.get_running_loop().time())
        self._warming = None


def _question(conversation: Sequence[Turn]) -> Turn:
    """The last turn. Raises BadRequest when it is none to be answered."""
    if not conversation or conversation[-1].role not in ("user", "tool"):
        raise BadRequest(engine=NAME, what="a conversation that does not end with the user")
    return conversation[-1]
