"""The wait for a client that runs a tool of its own."""

from __future__ import annotations

import asyncio

from pipecat.frames.frames import Frame

from appliance.gateway.frames import ClientToolCallFrame
from appliance.gateway.generation.client_tools import ClientTools, WaitHooks
from appliance.gateway.generation.tool_result import TIMED_OUT, ToolResult
from appliance.link.engine import ToolCall

CALL = ToolCall("open_door", '{"number": 1}')


class Wait:
    """A call that is in progress. `events` has what was reported, in order."""

    def __init__(self, seconds: float) -> None:
        self.events: list[str] = []
        self.frames: list[Frame] = []
        hooks = WaitHooks(
            begins=lambda: self.events.append("begins"),
            ends=lambda: self.events.append("ends"),
            timed_out=lambda: self.events.append("timed out"),
        )
        self.tools = ClientTools(seconds, self._push, hooks)
        self.running = asyncio.create_task(self.tools.run(CALL, "c1"))

    async def _push(self, frame: Frame) -> None:
        self.frames.append(frame)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_reply_goes_on_when_the_client_asks_for_it() -> None:
    wait = Wait(3600)
    await settle()
    (frame,) = wait.frames
    assert isinstance(frame, ClientToolCallFrame)
    assert (frame.call_id, frame.tool, frame.arguments) == ("c1", CALL.name, CALL.arguments)
    wait.tools.sent()
    assert not wait.tools.resume()  # without a result
    wait.tools.returned("c0", "of an earlier call")
    assert not wait.tools.resume()
    wait.tools.returned("c1", "open")
    await settle()
    assert not wait.running.done()
    assert wait.tools.resume()
    assert await wait.running == ToolResult("done", "open")
    assert wait.events == ["begins", "ends"]
    assert not wait.tools.resume()


async def test_the_time_counts_from_when_the_client_has_the_call() -> None:
    wait = Wait(0)
    await settle()
    assert not wait.running.done()
    wait.tools.sent()
    assert await wait.running == ToolResult("too_slow", TIMED_OUT)
    assert wait.events == ["begins", "timed out", "ends"]


async def test_a_result_that_nobody_asks_a_reply_to_ends_the_turn() -> None:
    wait = Wait(0)
    await settle()
    wait.tools.returned("c1", "open")
    wait.tools.sent()
    assert await wait.running == ToolResult("done", "open", reply=False)
    assert wait.events == ["begins", "ends"]


async def test_an_interrupted_wait_takes_no_result() -> None:
    wait = Wait(3600)
    await settle()
    wait.running.cancel()
    await asyncio.gather(wait.running, return_exceptions=True)
    wait.tools.returned("c1", "open")
    assert not wait.tools.resume()
    assert wait.events == ["begins", "ends"]
