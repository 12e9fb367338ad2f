"""One answer, from the question to its last word: what the engine says goes on as frames, and what
it asks for is done in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import (
    ControlFrame,
    Frame,
    FunctionCallCancelFrame,
    FunctionCallFromLLM,
    FunctionCallResultFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import LLMService

from appliance.errors import EngineFailed
from appliance.gateway.history import Call, Exchange, History
from appliance.link.client import EngineClient, EngineLost, retry_until_back
from appliance.link.engine import GenerateRequest, Result, Tool, ToolCall
from appliance.settings import LLMConfig

MAX_RESULT_CHARS = 4_000  # about a thousand tokens, which the caller waits for once
TOO_SLOW = "error: it took too long and was stopped"
FAILED = "error: it failed and returned nothing"


class Calling:
    """The calls of one session; at most one is under way, as a turn does one thing at a time."""

    def __init__(self, service: LLMService[Any], context: LLMContext) -> None:
        self._service = service
        self._context = context
        self._number = ""
        self._result: asyncio.Future[tuple[str, str]] | None = None

    def knows(self, call: ToolCall) -> bool:
        """Whether it can be run: the name of a function and a JSON object of arguments."""
        try:
            arguments = json.loads(call.arguments)
        except ValueError:
            return False
        named = bool(call.name) and self._service.has_function(call.name)
        return named and isinstance(arguments, dict)

    async def result(self, call: ToolCall, seconds: float) -> tuple[str, str]:
        """What came of a call: "done", "failed" or "too_slow", and what the model is told of it."""
        self._number = uuid.uuid4().hex
        self._result = asyncio.get_running_loop().create_future()
        asked = FunctionCallFromLLM(
            function_name=call.name,
            tool_call_id=self._number,
            arguments=json.loads(call.arguments),
            context=self._context,
        )
        try:
            async with asyncio.timeout(seconds):
                await self._service.run_function_calls([asked])
                return await self._result
        except TimeoutError:
            await self._service.cancel_function_calls(reason="timeout")
            return "too_slow", TOO_SLOW
        finally:
            self._result = None

    def passed(self, frame: Frame) -> None:
        """Hears of a call's end; each frame passes twice, upstream and downstream."""
        if self._result is None or self._result.done():
            return
        match frame:
            case FunctionCallResultFrame() if frame.tool_call_id == self._number:
                failed = frame.error is not None
                told = ("failed", FAILED) if failed else ("done", written(frame.result))
                self._result.set_result(told)
            case FunctionCallCancelFrame() if frame.tool_call_id == self._number and frame.run_llm:
                # Ran into a limit of its own; what an interruption stopped has nobody waiting.
                self._result.set_result(("too_slow", TOO_SLOW))


def as_asked(call: ToolCall) -> str:
    """The call as Llama 3.1 writes one."""
    return json.dumps(
        {"name": call.name, "parameters": json.loads(call.arguments)}, ensure_ascii=False
    )


def written(result: Any) -> str:
    """A tool's result as text; what is no text is JSON, as far as it can be."""
    text = (
        result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    )
    return text[:MAX_RESULT_CHARS]


@dataclass(frozen=True, slots=True)
class TurnHooks:
    """What the session wants to know of a turn; called on the event loop, must not block.

    speech_started  speech began, so many seconds ago
    speech_ended    speech ended, for now, so many seconds ago
    asked           a turn wants an answer: "spoken" or "typed", seconds of speech
    first_token     the first piece of the answer arrived
    called          the model asked for a tool: "done", "failed", "too_slow" or "unreadable"
    generated       the answer is complete; the engine's measurements
    hang_up         the call is to end once the answer was spoken, if there is one (true)
    understood      what the engine made of the user's speech
    failed          the engine did not do what it was asked
    ended           the turn came to nothing: "nothing_heard", "too_short" or "failed"
    """

    speech_started: Callable[[float], None]
    speech_ended: Callable[[float], None]
    asked: Callable[[str, float], None]
    first_token: Callable[[], None]
    called: Callable[[str], None]
    generated: Callable[[Result], None]
    hang_up: Callable[[bool], None]
    understood: Callable[[str], None]
    failed: Callable[[EngineFailed], None]
    ended: Callable[[str], None]


ONE_MOMENT = "One moment, please."
COULD_NOT = "I am sorry, I could not do that."
MAX_CALLS = 4  # of tools in one turn; then the model has to answer with what it has


@dataclass
class AnswerEndFrame(ControlFrame):
    """Follows the last word of an answer, of all its parts; where it passes, nothing more comes.

    Pipecat's frames cannot say so: an answer with a tool in it is two replies, and a voice that
    is silent for some seconds has stopped speaking, whatever it still has to say.
    """


class Speaking:
    """Answers for one session; `push` sends a frame on."""

    def __init__(
        self,
        settings: LLMConfig,
        client: EngineClient,
        history: History,
        hooks: TurnHooks,
        calling: Calling,
        push: Callable[[Frame], Awaitable[None]],
    ) -> None:
        self._knobs = settings
        self._client = client
        self._history = history
        self._hooks = hooks
        self._calling = calling
        self._push = push
        self.spoke = False  # whether the answer ended with words

    async def answer(
        self,
        exchange: Exchange,
        tools: Callable[[], tuple[Tool, ...]],
        first: Callable[[], Awaitable[None]],
    ) -> Result:
        """Answers the last exchange of the history; awaits `first` when there is something of it.

        The measurements are the sums over all that was generated. Raises EngineFailed when the
        engine does not come back in time.
        """
        stats: dict[str, float] = {}
        begun = False

        async def piece_came() -> None:
            nonlocal begun
            if not begun:
                begun = True
                await first()

        for calls_left in range(MAX_CALLS, -1, -1):
            call, result = await self._generate(tools() if calls_left else (), piece_came)
            for name, value in result.stats.items():
                stats[name] = stats.get(name, 0.0) + value
            if call is None:
                break
            if not (calls_left and self._calling.knows(call)):
                self._hooks.called("unreadable")
                await self._say(COULD_NOT)
                break
            done = Call(as_asked(call))
            exchange.calls.append(done)
            outcome, done.result = await self._calling.result(call, self._knobs.tool_seconds)
            self._hooks.called(outcome)
        return Result(result.reason, stats)

    async def _generate(
        self, tools: tuple[Tool, ...], piece_came: Callable[[], Awaitable[None]]
    ) -> tuple[ToolCall | None, Result]:
        """Passes on what the engine says at one go; the call that it ended with, if any."""
        knobs = self._knobs
        call: ToolCall | None = None
        result = Result("stop")
        speaking = self.spoke = False
        request = GenerateRequest(
            tuple(self._history.question()), knobs.reply_tokens, knobs.temperature, tools
        )
        pieces = retry_until_back(lambda: self._client.generate(request), knobs.recover_seconds)
        try:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    match piece:
                        case str():
                            await piece_came()
                            self.spoke |= bool(piece.strip())
                            if not speaking:
                                speaking = True
                                await self._push(LLMFullResponseStartFrame())
                            await self._push(LLMTextFrame(piece))
                        case ToolCall():
                            await piece_came()
                            call = piece
                        case Result():
                            result = piece
                        case EngineLost():
                            if speaking:  # Kokoro plays what is outside of a reply behind it
                                speaking = False
                                await self._push(LLMFullResponseEndFrame())
                            if piece.apologize:  # not again at each attempt
                                self._hooks.failed(piece.problem)
                                await self._push(TTSSpeakFrame(ONE_MOMENT, append_to_context=False))
        finally:
            if speaking:
                await self._push(LLMFullResponseEndFrame())
        return call, result

    async def _say(self, text: str) -> None:
        """Says something in the place of the model, as a part of its answer."""
        self.spoke = True
        for frame in (LLMFullResponseStartFrame(), LLMTextFrame(text), LLMFullResponseEndFrame()):
            await self._push(frame)
