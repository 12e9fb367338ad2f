"""Runs the model's tool calls: Pipecat calls the function, `ToolExecutor` awaits its result."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any, Literal, NamedTuple

from pipecat.frames.frames import (
    Frame,
    FunctionCallCancelFrame,
    FunctionCallFromLLM,
    FunctionCallResultFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import LLMService

from appliance.link.engine import ToolCall

MAX_RESULT_CHARS = 4_000  # about 1,000 tokens, which the model reads while the user waits
TIMED_OUT = "error: it took too long and was stopped"
FAILED = "error: it failed and returned nothing"


class ToolResult(NamedTuple):
    """The outcome for the metrics ("too_slow" is a timeout), and the text for the model."""

    outcome: Literal["done", "failed", "too_slow"]
    text: str


class ToolExecutor:
    """Runs the tool calls of one session, one at a time."""

    def __init__(self, service: LLMService[Any], context: LLMContext) -> None:
        self._service = service
        self._context = context
        self._call_id = ""
        self._result: asyncio.Future[ToolResult] | None = None

    def can_run(self, call: ToolCall) -> bool:
        """Whether the call names a registered function and its arguments are a JSON object."""
        try:
            arguments = json.loads(call.arguments)
        except ValueError:
            return False
        registered = bool(call.name) and self._service.has_function(call.name)
        return registered and isinstance(arguments, dict)

    async def run(self, call: ToolCall, timeout_seconds: float) -> ToolResult:
        """Run a call and return its result. Failures and timeouts are results, too."""
        self._call_id = uuid.uuid4().hex
        self._result = asyncio.get_running_loop().create_future()
        function_call = FunctionCallFromLLM(
            function_name=call.name,
            tool_call_id=self._call_id,
            arguments=json.loads(call.arguments),
            context=self._context,
        )
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._service.run_function_calls([function_call])
                return await self._result
        except TimeoutError:
            await self._service.cancel_function_calls(reason="timeout")
            return ToolResult("too_slow", TIMED_OUT)
        finally:
            self._result = None

    def observe(self, frame: Frame) -> None:
        """Take the result of the running call from the frames that the service pushes.

        Pipecat pushes each result twice, upstream and downstream.
        """
        if self._result is None or self._result.done():
            return
        match frame:
            case FunctionCallResultFrame() if frame.tool_call_id == self._call_id:
                if frame.error is not None:
                    self._result.set_result(ToolResult("failed", FAILED))
                else:
                    self._result.set_result(ToolResult("done", format_result(frame.result)))
            case FunctionCallCancelFrame() if frame.tool_call_id == self._call_id and frame.run_llm:
                # Pipecat's own timeout. run_llm is false after an interruption: no turn waits.
                self._result.set_result(ToolResult("too_slow", TIMED_OUT))


def format_call(call: ToolCall) -> str:
    """Return the call in the format of Llama 3.1."""
    return json.dumps(
        {"name": call.name, "parameters": json.loads(call.arguments)}, ensure_ascii=False
    )


def format_result(result: Any) -> str:
    """Return a tool's result as text, at most MAX_RESULT_CHARS: JSON unless it is a string."""
    text = (
        result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    )
    return text[:MAX_RESULT_CHARS]
