"""The reply to one turn: streamed from the engine into the pipeline, tool calls included."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable

from pipecat.frames.frames import (
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)

from appliance.gateway.generation.history import Exchange, History, ToolCallRecord
from appliance.gateway.generation.tool_executor import ToolExecutor, format_call
from appliance.gateway.generation.turn_callbacks import TurnCallbacks
from appliance.link.engine import ChatMessage, Chunk, GenerateRequest, Result, Tool, ToolCall
from appliance.link.recovery import EngineLost, retry_until_back
from appliance.settings import LLMConfig

HOLD_TEXT = "One moment, please."
TOOL_CALL_FAILED_TEXT = "I am sorry, I could not do that."
MAX_TOOL_CALLS = 4  # in one turn; then no tools are offered, and the model has to reply
RequestReply = Callable[[GenerateRequest], AsyncGenerator[Chunk, None]]
Push = Callable[[Frame], Awaitable[None]]


class ResponseWriter:
    """Pushes streamed text as one Pipecat LLM response: start, texts, end."""

    def __init__(self, push: Push) -> None:
        self._push = push
        self._open = False

    async def write(self, text: str) -> None:
        """Push a chunk of text, starting the response if necessary."""
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
    """Generates the replies of one session.

    `request_reply` asks the engine; see `Speculator.generate`. `push` sends a frame downstream.
    """

    def __init__(
        self,
        config: LLMConfig,
        request_reply: RequestReply,
        history: History,
        callbacks: TurnCallbacks,
        tool_executor: ToolExecutor,
        push: Push,
    ) -> None:
        self._config = config
        self._request_reply = request_reply
        self._history = history
        self._callbacks = callbacks
        self._tool_executor = tool_executor
        self._push = push
        self.ended_with_text = False  # whether there is something to play after the last tool call
        self.text = ""  # of the reply so far, including what was said between tool calls

    def request(
        self, conversation: tuple[ChatMessage, ...], tools: tuple[Tool, ...]
    ) -> GenerateRequest:
        """Return the request for a reply to `conversation`."""
        config = self._config
        return GenerateRequest(conversation, config.reply_tokens, config.temperature, tools)

    async def generate(
        self,
        exchange: Exchange,
        tools: Callable[[], tuple[Tool, ...]],
        on_first_token: Callable[[], Awaitable[None]],
    ) -> Result:
        """Reply to the last exchange of the history.

        Returns the reason of the last generation, and the stats of all generations summed up.
        Raises EngineFailed if the engine fails or does not come back in time.
        """
        stats: dict[str, float] = {}
        started = False
        self.text = ""

        async def on_chunk() -> None:
            nonlocal started
            if not started:
                started = True
                await on_first_token()

        for calls_left in range(MAX_TOOL_CALLS, -1, -1):
            call, result = await self._generate_once(tools() if calls_left else (), on_chunk)
            for name, value in result.stats.items():
                stats[name] = stats.get(name, 0.0) + value
            if call is None:
                break
            if not (calls_left and self._tool_executor.can_run(call)):
                self._callbacks.on_tool_call("malformed")
                await self._say(TOOL_CALL_FAILED_TEXT)
                break
            if not await self._run_tool(exchange, call):
                break
        return Result(result.reason, stats)

    async def _run_tool(self, exchange: Exchange, call: ToolCall) -> bool:
        """Run a call. Return whether the model replies to its result."""
        record = ToolCallRecord(format_call(call), call_id=uuid.uuid4().hex)
        exchange.tool_calls.append(record)  # before it runs, so that an interrupted call is kept
        result = await self._tool_executor.run(call, record.call_id, self._config.tool_seconds)
        record.result = result.text
        self._callbacks.on_tool_call(result.outcome)
        return result.reply

    async def _generate_once(
        self, tools: tuple[Tool, ...], on_chunk: Callable[[], Awaitable[None]]
    ) -> tuple[ToolCall | None, Result]:
        """Stream one generation into the pipeline; return its tool call, if any, and its result."""
        request = self.request(self._history.prompt(), tools)
        call: ToolCall | None = None
        result = Result("stop")
        self.ended_with_text = False
        response = ResponseWriter(self._push)
        chunks = retry_until_back(
            lambda: self._request_reply(request), self._config.recover_seconds
        )
        try:
            async with contextlib.aclosing(chunks):
                async for chunk in chunks:
                    match chunk:
                        case str():
                            await on_chunk()
                            self.ended_with_text |= bool(chunk.strip())
                            self.text += chunk
                            await response.write(chunk)
                        case ToolCall():
                            await on_chunk()
                            call = chunk
                        case Result():
                            result = chunk
                        case EngineLost():
                            # Otherwise the hold message would wait for the end of the response.
                            await response.close()
                            if chunk.play_hold_message:
                                self._callbacks.on_engine_failed(chunk.problem)
                                await self._push(TTSSpeakFrame(HOLD_TEXT, append_to_context=False))
        finally:
            await response.close()
        return call, result

    async def _say(self, text: str) -> None:
        """Speak a fixed text as part of the reply."""
        self.ended_with_text = True
        self.text += f" {text}"
        response = ResponseWriter(self._push)
        await response.write(text)
        await response.close()
