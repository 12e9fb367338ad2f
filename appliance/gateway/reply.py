"""The reply to one turn: streamed from the engine into the pipeline, tool calls included."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipecat.frames.frames import (
    ControlFrame,
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)

from appliance.errors import EngineFailed
from appliance.gateway.history import Exchange, History, ToolCallRecord
from appliance.gateway.tool_executor import ToolExecutor, format_call
from appliance.link.client import EngineClient, EngineLost, retry_until_back
from appliance.link.engine import GenerateRequest, Result, Tool, ToolCall
from appliance.settings import LLMConfig

ONE_MOMENT = "One moment, please."
COULD_NOT = "I am sorry, I could not do that."
MAX_TOOL_CALLS = 4  # in one turn; then no tools are offered, and the model has to reply
Push = Callable[[Frame], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class TurnCallbacks:
    """Events of a turn, for the session. Called on the event loop; must not block.

    on_speech_started  the user started to speak, these seconds ago
    on_speech_stopped  the user stopped, these seconds ago; the turn may go on
    on_turn_submitted  a turn needs a reply: "spoken" or "typed", and the seconds of speech
    on_first_token     the first piece of the reply arrived
    on_tool_call       a tool call ended: "done", "failed", "too_slow" or "unreadable"
    on_generated       the text of the reply is complete, with the engine's measurements
    on_hang_up         the session is to end, after the reply if there is one to play (true)
    on_transcript      the user's speech was transcribed
    on_engine_failed   a request to the engine failed
    on_turn_dropped    the turn gets no reply: "nothing_heard", "too_short" or "failed"
    """

    on_speech_started: Callable[[float], None]
    on_speech_stopped: Callable[[float], None]
    on_turn_submitted: Callable[[str, float], None]
    on_first_token: Callable[[], None]
    on_tool_call: Callable[[str], None]
    on_generated: Callable[[Result], None]
    on_hang_up: Callable[[bool], None]
    on_transcript: Callable[[str], None]
    on_engine_failed: Callable[[EngineFailed], None]
    on_turn_dropped: Callable[[str], None]


@dataclass
class ReplyEndFrame(ControlFrame):
    """Follows the last frame of a reply, after all of its parts.

    Pipecat has no such frame: it makes two responses of a reply with a tool call, and it takes a
    few seconds without audio for the end of speech.
    """


class ResponseWriter:
    """Pushes streamed text as one Pipecat LLM response: start, texts, end."""

    def __init__(self, push: Push) -> None:
        self._push = push
        self._open = False

    async def write(self, text: str) -> None:
        """Push a piece of text, after the start of the response if it is the first."""
        if not self._open:
            self._open = True
            await self._push(LLMFullResponseStartFrame())
        await self._push(LLMTextFrame(text))

    async def close(self) -> None:
        """End the response, if it was started."""
        if self._open:
            self._open = False
            await self._push(LLMFullResponseEndFrame())


class ReplyGenerator:
    """Generates the replies of one session; `push` sends a frame downstream."""

    def __init__(
        self,
        config: LLMConfig,
        client: EngineClient,
        history: History,
        callbacks: TurnCallbacks,
        tool_executor: ToolExecutor,
        push: Push,
    ) -> None:
        self._config = config
        self._client = client
        self._history = history
        self._callbacks = callbacks
        self._tool_executor = tool_executor
        self._push = push
        self.ended_with_text = False  # whether there is something to play after the last tool call

    async def generate(
        self,
        exchange: Exchange,
        tools: Callable[[], tuple[Tool, ...]],
        on_first_token: Callable[[], Awaitable[None]],
    ) -> Result:
        """Reply to the last exchange of the history.

        Returns the last generation's reason and the summed stats of all. Raises EngineFailed when
        the engine fails or does not come back in time.
        """
        stats: dict[str, float] = {}
        started = False

        async def on_piece() -> None:
            nonlocal started
            if not started:
                started = True
                await on_first_token()

        for calls_left in range(MAX_TOOL_CALLS, -1, -1):
            call, result = await self._generate_once(tools() if calls_left else (), on_piece)
            for name, value in result.stats.items():
                stats[name] = stats.get(name, 0.0) + value
            if call is None:
                break
            if not (calls_left and self._tool_executor.can_run(call)):
                self._callbacks.on_tool_call("unreadable")
                await self._say(COULD_NOT)
                break
            await self._run_tool(exchange, call)
        return Result(result.reason, stats)

    async def _run_tool(self, exchange: Exchange, call: ToolCall) -> None:
        record = ToolCallRecord(format_call(call))
        exchange.tool_calls.append(record)  # before it runs, so that an interrupted call is kept
        result = await self._tool_executor.run(call, self._config.tool_seconds)
        record.result = result.text
        self._callbacks.on_tool_call(result.outcome)

    async def _generate_once(
        self, tools: tuple[Tool, ...], on_piece: Callable[[], Awaitable[None]]
    ) -> tuple[ToolCall | None, Result]:
        """Stream one generation into the pipeline; return its tool call, if any, and its result."""
        config = self._config
        request = GenerateRequest(
            self._history.prompt(), config.reply_tokens, config.temperature, tools
        )
        call: ToolCall | None = None
        result = Result("stop")
        self.ended_with_text = False
        response = ResponseWriter(self._push)
        pieces = retry_until_back(lambda: self._client.generate(request), config.recover_seconds)
        try:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    match piece:
                        case str():
                            await on_piece()
                            self.ended_with_text |= bool(piece.strip())
                            await response.write(piece)
                        case ToolCall():
                            await on_piece()
                            call = piece
                        case Result():
                            result = piece
                        case EngineLost():
                            await response.close()  # what follows a response is played after it
                            if piece.apologize:
                                self._callbacks.on_engine_failed(piece.problem)
                                await self._push(TTSSpeakFrame(ONE_MOMENT, append_to_context=False))
        finally:
            await response.close()
        return call, result

    async def _say(self, text: str) -> None:
        """Say something in place of the model, as a part of its reply."""
        self.ended_with_text = True
        response = ResponseWriter(self._push)
        await response.write(text)
        await response.close()
