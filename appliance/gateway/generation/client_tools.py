"""The tools of a client, which the client runs itself.

The model sees them beside the appliance's own. A call goes to the client as a frame, in order with
the audio. The turn then waits until the client asks for the reply to go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipecat.frames.frames import Frame

from appliance.gateway.frames import ClientToolCallFrame
from appliance.gateway.generation.tool_result import TIMED_OUT, ToolResult
from appliance.link.engine import Tool, ToolCall


@dataclass(frozen=True, slots=True)
class WaitHooks:
    """What happens around the wait for a client.

    begins     the turn waits for the client, and not for an engine
    ends       the reply goes on
    timed_out  it goes on although the client has not answered
    """

    begins: Callable[[], None]
    ends: Callable[[], None]
    timed_out: Callable[[], None]


class ClientTools:
    """The tools of the client of one session. `push` sends a frame downstream.

    seconds  how long a call waits for the client, from when the client gets it
    """

    def __init__(
        self, seconds: float, push: Callable[[Frame], Awaitable[None]], hooks: WaitHooks
    ) -> None:
        self.offered: tuple[Tool, ...] = ()
        self._seconds = seconds
        self._push = push
        self._hooks = hooks
        self._call_id = ""  # of the call in progress
        self._sent = asyncio.Event()  # to the client
        self._resumed = asyncio.Event()
        self._result: str | None = None

    def offer(self, tools: tuple[Tool, ...]) -> None:
        """Offer these tools from the next request to the model on."""
        self.offered = tools

    def has(self, name: str) -> bool:
        """Whether the client has a tool of this name."""
        return any(tool.name == name for tool in self.offered)

    async def run(self, call: ToolCall, call_id: str) -> ToolResult:
        """Let the client run a call, and wait until it asks for the reply to go on.

        A client that returns a result and then asks for nothing gets no reply.
        """
        self._call_id, self._result = call_id, None
        self._sent.clear()
        self._resumed.clear()
        self._hooks.begins()
        try:
            await self._push(ClientToolCallFrame(call_id, call.name, call.arguments))
            await self._sent.wait()  # what was said before the call is played first
            async with asyncio.timeout(self._seconds):
                await self._resumed.wait()
        except TimeoutError:
            if self._result is not None:
                return ToolResult("done", self._result, reply=False)
            self._hooks.timed_out()
            return ToolResult("too_slow", TIMED_OUT)
        else:
            return ToolResult("done", self._result or "")
        finally:
            self._call_id = ""
            self._hooks.ends()

    def sent(self) -> None:
        """Note that the client has got the call."""
        self._sent.set()

    def returned(self, call_id: str, text: str) -> None:
        """Note the result of a call."""
        if call_id == self._call_id:
            self._result = text

    def resume(self) -> bool:
        """Let the reply go on. Return whether it waits for that, and its result is known."""
        if not self._call_id or self._result is None:
            return False
        self._resumed.set()
        return True
