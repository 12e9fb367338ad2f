"""Has the tools run that the model asks for, in Pipecat's way, and brings their results back.

Pipecat runs a function in a task of its own and announces its result by frames that pass the
service; here the turn that asked waits for them. What a function may take is bounded, and none
outlives the turn.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from pipecat.frames.frames import (
    Frame,
    FunctionCallCancelFrame,
    FunctionCallFromLLM,
    FunctionCallResultFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import LLMService

from appliance.link.engine import ToolCall

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
