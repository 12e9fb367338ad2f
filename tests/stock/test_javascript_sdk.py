"""Pipecat's JavaScript SDK, as published, in Chromium against the real gateway."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from appliance.errors import WrongToken
from client.wav import write_wav
from tests.gateway.espeak import Speak
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway
from tests.page.chromium import Browser, Tab

QUESTION = "What is the capital of France?"
INTERRUPTION = "And what is the capital of Italy?"  # without a pause, so that it is one turn
RATE = 16_000
PAUSE_SECONDS = 6  # long enough for the reply to be under way


@pytest.fixture(scope="module")
def caller(speak: Speak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone hears two questions, once each."""
    silence = np.zeros(RATE, "<i2").tobytes()
    words = 2 * silence + speak(QUESTION) + PAUSE_SECONDS * silence + speak(INTERRUPTION)
    wav = tmp_path_factory.mktemp("microphone") / "questions.wav"
    write_wav(wav, words + 20 * silence, RATE)
    browser = Browser(Path(f"{wav}%noloop"))
    yield browser
    browser.stop()


@pytest.fixture(scope="module")
def silent_caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone hears nothing. The SDK holds no call without a microphone."""
    wav = tmp_path_factory.mktemp("microphone") / "silence.wav"
    write_wav(wav, np.zeros(RATE, "<i2").tobytes(), RATE)
    browser = Browser(wav)
    yield browser
    browser.stop()


@contextlib.asynccontextmanager
async def opened(browser: Browser, gateway: RunningGateway, origin: str) -> AsyncIterator[Tab]:
    """Open the developer's page. At the end: no request to any other server."""
    async with browser.tab() as tab:
        await tab.open(origin)
        await tab.wait_for("!!globalThis.client")
        yield tab
        servers = {urlsplit(url).netloc for url in tab.requests if url.startswith(("http", "ws"))}
        assert servers <= {urlsplit(origin).netloc, gateway.address}


def call(gateway: RunningGateway, token: str = TOKEN) -> str:
    """Return the code that starts a call."""
    return f"client.startBotAndConnect(endpoint('http://{gateway.address}', '{token}'))"


async def seen(tab: Tab, callback: str) -> list[Any]:
    """Return what the SDK has reported to a callback."""
    found: list[Any] = await tab.evaluate(
        f"seen.filter(([name]) => name === '{callback}').map(([, data]) => data ?? null)"
    )
    return found


async def wait_for_turn(tab: Tab, number: int) -> dict[str, Any]:
    """Wait for the report of a turn."""
    turn = f"seen.map(([, data]) => data).find((data) => data?.turn === {number})"
    report: dict[str, Any] = await tab.wait_for(turn)
    return report


async def test_sdk_converses_and_its_user_interrupts(
    make_gateway: MakeGateway, caller: Browser, sdk_origin: str
) -> None:
    llm = ScriptedLLM("Paris is the capital of France. " * 20, "It is Rome.")
    async with (
        make_gateway(llm, allowed_origins=(sdk_origin,)) as gateway,
        opened(caller, gateway, sdk_origin) as tab,
    ):
        ready = await tab.evaluate(call(gateway))
        assert ready["version"]
        await tab.wait_for("seen.some(([name]) => name === 'onBotStartedSpeaking')")
        await tab.wait_for("loudness() > 0.01")
        first = await wait_for_turn(tab, 1)
        assert (first["outcome"], first["interrupted"]) == ("interrupted", True)
        second = await wait_for_turn(tab, 2)
        assert (second["outcome"], second["reply_text"]) == ("answered", "It is Rome.")
        transcripts = [each["text"].strip() for each in await seen(tab, "onBotTranscript")]
        assert transcripts[-1] == "It is Rome."
        assert len(await seen(tab, "onUserStoppedSpeaking")) == 2
        await tab.evaluate("client.disconnect()")
        await gateway.wait_sessions_closed()
        assert await seen(tab, "onMessageError") == []
        assert gateway.logged_errors() == []


async def test_typed_turn_and_requests_that_are_not_supported(
    make_gateway: MakeGateway, silent_caller: Browser, sdk_origin: str
) -> None:
    async with (
        make_gateway(ScriptedLLM("Fine."), allowed_origins=(sdk_origin,)) as gateway,
        opened(silent_caller, gateway, sdk_origin) as tab,
    ):
        await tab.evaluate(call(gateway))
        refused = await tab.evaluate("failure(client.sendClientRequest('get-menu', {}))")
        assert refused["type"] == "error-response"
        assert "client-message" in refused["data"]["error"]
        await tab.evaluate(
            """client.sendDTMF("1#"); client.sendUIEvent("clicked", {});
            client.appendToContext({role: "user", content: "x"}); client.sendClientMessage("x");"""
        )
        await tab.wait_for("seen.filter(([name]) => name === 'onMessageError').length === 5")
        errors = json.dumps(await seen(tab, "onMessageError"))
        for kind in ("dtmf", "ui-event", "append-to-context", "client-message"):
            assert kind in errors
        await tab.evaluate("client.sendText('How are you?')")
        report = await wait_for_turn(tab, 1)
        assert (report["outcome"], report["reply_text"]) == ("answered", "Fine.")
        await tab.evaluate("client.disconnectBot()")
        await gateway.wait_sessions_closed()


async def test_refusals_are_readable(
    make_gateway: MakeGateway, silent_caller: Browser, sdk_origin: str
) -> None:
    async with (
        make_gateway(max_sessions=1, allowed_origins=(sdk_origin,)) as gateway,
        opened(silent_caller, gateway, sdk_origin) as tab,
    ):
        wrong = await tab.evaluate(f"failure({call(gateway, 'x' * 40)})")
        assert wrong["status"] == 401
        assert wrong["message"] == f"{WrongToken()} {WrongToken.advice}"
        other = await gateway.connect()
        full = await tab.evaluate(f"failure({call(gateway)})")
        assert full["status"] == 503
        assert "All 1 sessions are taken." in full["message"]
        answer = await tab.evaluate(
            f"""fetch("http://{gateway.address}/start", {{method: "POST",
              headers: {{Authorization: "Bearer {TOKEN}"}}}})
            .then(async (r) => [(await r.json()).reason, r.headers.get("Retry-After")])"""
        )
        assert answer == ["full", "5"]
        await other.disconnect()
        await gateway.wait_sessions_closed()
        assert (await tab.evaluate(call(gateway)))["version"]


async def test_page_of_an_origin_that_is_not_listed_gets_no_ticket(
    make_gateway: MakeGateway, silent_caller: Browser, sdk_origin: str
) -> None:
    async with make_gateway() as gateway, opened(silent_caller, gateway, sdk_origin) as tab:
        refused = await tab.evaluate(f"failure({call(gateway)})")
        assert refused["message"] == "Failed to fetch"  # CORS hides the answer from this page
        assert gateway.open_sessions() == 0
