"""Runs the model's tool calls: Pipecat calls the function, `ToolExecutor` awaits its result.

Calls of the client's tools go to `ClientTools`.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pipecat.frames.frames import (
    Frame,
    FunctionCallCancelFrame,
    FunctionCallFromLLM,
    FunctionCallResultFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import LLMService

from appliance.gateway.generation.client_tools import ClientTools
from appliance.gateway.generation.tool_result import FAILED, TIMED_OUT, ToolResult, format_result
from appliance.link.engine import ToolCall


class ToolExecutor:
    """Runs the tool calls of one session, one at a time."""

    def __init__(
        self, service: LLMService[Any], context: LLMContext, client_tools: ClientTools
    ) -> None:
        self._service = service
        self._context = context
        self._client_tools = client_tools
        self._call_id = ""
        self._result: asyncio.Future[ToolResult] | None = None

    def can_run(self, call: ToolCall) -> bool:
        """Whether the call names a known function and its arguments are a JSON object."""
        try:
            arguments = json.loads(call.arguments)
        except ValueError:
            return False
        known = bool(call.name) and (
            self._service.has_function(call.name) or self._client_tools.has(call.name)
        )
        return known and isinstance(arguments, dict)

    async def run(self, call: ToolCall, call_id: str, timeout_seconds: float) -> ToolResult:
        """Run a call and return its result. Failures and timeouts are results, too.

        `call_id` is unique. `timeout_seconds` is for the appliance's own tools.
        """
        if self._client_tools.has(call.name):
            return await self._client_tools.run(call, call_id)
        self._call_id = call_id
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
