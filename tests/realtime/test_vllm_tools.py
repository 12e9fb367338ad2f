"""A function of a Realtime client reaches Ultravox's prompt, and the model's call the client.

All but the model is real: the SDK, the gateway, the link, the session of the vLLM engine with its
prompt, and the parser of its replies. What vLLM would decode is scripted, because the checkpoint of
the tests (tests/torch) is random and calls nothing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.llm.vllm.admission import KVAdmission, KVBudget
from appliance.engines.llm.vllm.probe import ModelProbe
from appliance.engines.llm.vllm.prompt import Llama3Format
from appliance.engines.llm.vllm.runtime import DecodeRequest, DecodeStep, VllmRuntime
from appliance.engines.llm.vllm.session import SharedResources, VllmSession
from appliance.settings import Settings
from tests.engines.llm.vllm.texts import vocabulary
from tests.fakes import InstantLLMEngine
from tests.gateway.fake_engines import EngineProcess
from tests.gateway.running_gateway import MakeGateway
from tests.realtime.test_openai_python import call

TOKENS = 100_000  # of the cache and of a conversation
PARAMETERS = {"type": "object", "properties": {"number": {"type": "integer"}}}
DOOR = {
    "type": "function",
    "name": "open_door",
    "description": "Opens a door of the ward.",
    "parameters": PARAMETERS,
}


class ScriptedRuntime(VllmRuntime):
    """Decodes the given replies, in pieces, and keeps the text of each prompt."""

    def __init__(self, *replies: str) -> None:
        super().__init__()
        self._replies = list(replies)
        self.prompts: list[str] = []

    async def generate(self, request: DecodeRequest) -> AsyncGenerator[DecodeStep, None]:
        """Yield the next reply. A request for one token only warms the cache."""
        reply = "." if request.max_tokens == 1 else self._replies.pop(0)
        if request.max_tokens > 1:
            plain = [token for token in request.tokens if token < vocabulary().size]
            self.prompts.append(vocabulary().decode(plain))
        pieces = [reply[at : at + 7] for at in range(0, len(reply), 7)]
        for number, piece in enumerate(pieces, 1):
            reason = "stop" if number == len(pieces) else ""
            yield DecodeStep((0,), piece, ({0: -0.1},), 0, reason)


class ScriptedVllmEngine(InstantLLMEngine):
    """The sessions of the vLLM engine on a scripted runtime."""

    def __init__(self, runtime: ScriptedRuntime) -> None:
        super().__init__()
        metrics, prompt_format = LLMMetrics(), Llama3Format(vocabulary())
        self._shared = SharedResources(
            runtime,
            prompt_format,
            KVAdmission(KVBudget(TOKENS, 16, 4)),
            ModelProbe(runtime, prompt_format, metrics),
            metrics,
            Settings().llm,
            TOKENS,
        )

    def open(self) -> VllmSession:  # type: ignore[override]
        """Return a session for a new connection."""
        return VllmSession(self._shared)


async def test_function_of_the_client_reaches_the_model_and_its_call_the_client(
    make_gateway: MakeGateway,
) -> None:
    called = json.dumps({"name": "open_door", "parameters": {"number": 1}})
    runtime = ScriptedRuntime(called, "Door one is open.")
    async with make_gateway(engines=("tts",), realtime_client_settings=True) as gateway:
        process = EngineProcess(ScriptedVllmEngine(runtime), gateway.run)
        await process.start()
        try:
            await gateway.wait_until(lambda: gateway.server.control.state().ready)
            async with call(gateway) as caller:
                session = {"type": "realtime", "tools": [DOOR], "tool_choice": "auto"}
                await caller.connection.session.update(session=session)
                await caller.event("session.updated")
                await caller.type("Open door one.")
                (item,) = (await caller.event("response.done")).response.output
                assert (item.type, item.name) == ("function_call", "open_door")
                assert json.loads(item.arguments) == {"number": 1}
                result = {"door": 1, "state": "open"}
                answer = {
                    "type": "function_call_output",
                    "call_id": item.call_id,
                    "output": json.dumps(result),
                }
                await caller.connection.conversation.item.create(item=answer)
                await caller.connection.response.create()
                done = await caller.event("response.done", 2)
                assert done.response.output[0].content[0].transcript == "Door one is open."
                assert "open_door" not in " ".join(gateway.tts_engine.phrases)
                assert not caller.of("error")
        finally:
            await process.kill()
    first, second = runtime.prompts
    definition = {name: DOOR[name] for name in ("name", "description", "parameters")}
    assert json.dumps({"type": "function", "function": definition}, indent=4) in first
    assert "Open door one." in first
    assert called in second
    assert json.dumps(result) in second
