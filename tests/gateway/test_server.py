"""Who gets in, who is thrown out and what is left behind, on the real gateway."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import signal
import socket as sockets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from pipecat.frames.protobufs import frames_pb2
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from appliance import run_folder
from appliance.errors import BadSetting, PortTaken
from appliance.gateway.server import Gateway, read_token
from appliance.link.health import ask_health
from appliance.settings import GatewayConfig, Settings
from client import wire
from tests.gateway.conftest import TOKEN, MakeGateway, Mind, RunningGateway, trusting

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


async def refused(gateway: RunningGateway, headers: dict[str, str]) -> tuple[int, str, str | None]:
    """The status, the reason in the body and Retry-After of a refused call."""
    with pytest.raises(InvalidStatus) as caught:
        await gateway.socket(headers)
    response = caught.value.response
    body = json.loads(response.body or b"")
    assert body["message"] and body["advice"]
    return response.status_code, body["reason"], response.headers.get("Retry-After")


async def get(gateway: RunningGateway, path: str) -> tuple[int, Any]:
    """The status and the JSON body of a page."""

    def fetch() -> tuple[int, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{gateway.address}{path}") as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.load(refusal)

    return await asyncio.to_thread(fetch)


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
async def test_without_the_token_nobody_gets_in(
    gateway: RunningGateway, authorization: str
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    assert await refused(gateway, headers) == (401, "wrong_token", None)
    assert gateway.sessions() == 0
    assert gateway.metric("voice_sessions_rejected_total", reason="wrong_token") == 1
    assert gateway.tracebacks() == []


async def test_pages_of_other_sites_are_refused_and_listed_ones_get_in(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(allowed_origins=("https://kiosk.example",)) as gateway:
        headers = AUTHORIZED | {"Origin": "https://evil.example"}
        assert await refused(gateway, headers) == (403, "wrong_origin", None)
        socket = await gateway.socket(AUTHORIZED | {"Origin": "https://kiosk.example"})
        await socket.close()


async def test_who_tries_too_often_is_told_to_wait(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_attempts_per_minute=3) as gateway:
        for _ in range(3):
            assert (await refused(gateway, {}))[0] == 401
        status, reason, retry_after = await refused(gateway, AUTHORIZED)
        assert (status, reason) == (429, "too_many_attempts")
        assert int(retry_after or 0) > 0


async def test_a_full_house_refuses_the_next_caller_until_one_leaves(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_sessions=2) as gateway:
        first, _ = await gateway.call(), await gateway.call()
        status, reason, retry_after = await refused(gateway, AUTHORIZED)
        assert (status, reason) == (503, "full")
        assert int(retry_after or 0) > 0
        await first.hang_up()
        await gateway.until(lambda: gateway.sessions() == 1)
        await gateway.call()


async def test_of_many_callers_at_once_no_more_get_in_than_there_is_room(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_sessions=2) as gateway:
        tried = await asyncio.gather(*(gateway.socket() for _ in range(6)), return_exceptions=True)
        refusals = [result for result in tried if isinstance(result, InvalidStatus)]
        assert len(refusals) == 4
        for socket in tried:
            if not isinstance(socket, BaseException):
                await socket.close()


async def test_until_the_engines_are_ready_callers_are_told_which_one_is_not(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(engines=["llm"]) as gateway:
        await gateway.until(lambda: gateway.lines("readiness changed"))
        status, reason, retry_after = await refused(gateway, AUTHORIZED)
        assert (status, reason) == (503, "not_ready")
        assert int(retry_after or 0) > 0
        waiting = {"ready": False, "waiting_for": "tts", "draining": False}
        assert await get(gateway, "/readyz") == (503, waiting)
        assert await get(gateway, "/healthz") == (200, {"alive": True})
        await gateway.tts.start()
        await gateway.until(lambda: len(gateway.lines("readiness changed")) == 2)
        assert (await get(gateway, "/readyz"))[0] == 200
        await gateway.call()


async def test_readiness_follows_an_engine_that_goes(gateway: RunningGateway) -> None:
    assert (await get(gateway, "/readyz"))[1]["ready"] is True
    assert gateway.metric("voice_ready") == 1
    await gateway.llm.die()
    await gateway.until(lambda: gateway.metric("voice_ready") == 0)
    assert (await get(gateway, "/readyz"))[1]["waiting_for"] == "llm"


async def test_the_processes_socket_reports_health_and_metrics(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    report = await ask_health(tmp_path / "run" / "gateway.sock", 10)
    assert report.ready
    assert b"voice_sessions_active 0.0" in report.metrics
    assert b"voice_sessions_max 4.0" in report.metrics


async def test_there_is_no_documentation_or_other_page(gateway: RunningGateway) -> None:
    for path in ("/", "/docs", "/openapi.json", "/metrics"):
        assert (await get(gateway, path))[0] == 404


protos: Any = frames_pb2


def framed(kind: str) -> bytes:
    frame = protos.Frame()
    match kind:
        case "text":
            frame.text.text = "Say this."
        case "transcription":
            frame.transcription.text = "I never said this."
            frame.transcription.user_id = "me"
        case "interruption":
            frame.interruption.SetInParent()
        case "48 kHz":
            frame.audio.audio, frame.audio.sample_rate, frame.audio.num_channels = (
                bytes(8),
                48000,
                1,
            )
        case "stereo":
            frame.audio.audio, frame.audio.sample_rate, frame.audio.num_channels = (
                bytes(8),
                16000,
                2,
            )
        case "half a sample":
            frame.audio.audio, frame.audio.sample_rate, frame.audio.num_channels = (
                bytes(7),
                16000,
                1,
            )
        case "no JSON":
            frame.message.data = "{" * 500
        case "half a character":
            frame.message.data = json.dumps(
                {"label": "rtvi-ai", "type": "send-text", "id": "1", "data": {"content": "\ud800"}}
            )
    return bytes(frame.SerializeToString())


HOSTILE: dict[str, tuple[bytes | str, int, str]] = {
    "garbage": (b"\xff\x00garbage", 1008, "bad_frame"),
    "a text message": ("hello", 1008, "bad_frame"),
    "an empty message": (b"", 1008, "bad_frame"),
    "a big frame": (wire.encode(wire.Audio(bytes(20_000))), 1009, "frame_too_big"),
    "a huge message": (bytes(70_000), 1009, ""),  # more would not all be read
}
HOSTILE |= {
    kind: (framed(kind), 1008, "bad_frame")
    for kind in (
        "text", "transcription", "interruption", "48 kHz", "stereo", "half a sample", "no JSON",
        "half a character",
    )
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_client_is_sent_away_and_another_call_goes_on(
    make_gateway: MakeGateway, what: str
) -> None:
    data, code, reason = HOSTILE[what]
    async with make_gateway(Mind("Fine.")) as gateway:
        caller, hostile = await gateway.call(), await gateway.call()
        await hostile.socket.send(data)
        closed_with, why = await hostile.ended()
        assert closed_with == code
        assert str(why).startswith(reason)
        await gateway.until(lambda: gateway.sessions() == 1)
        await caller.type("How are you?")
        assert (await caller.turn(1))["reply_text"] == "Fine."
        assert gateway.tracebacks() == []
        assert not hostile.audio
    assert len(gateway.mind.told) == 1


async def test_a_flood_of_audio_ends_the_call_that_sends_it(gateway: RunningGateway) -> None:
    caller, flooding = await gateway.call(), await gateway.call()
    second = wire.encode(wire.Audio(bytes(16_000)))
    with pytest.raises(ConnectionClosed):
        for _ in range(10_000):
            await flooding.socket.send(second)
    code, reason = await flooding.ended()
    assert (code, str(reason).split(":")[0]) == (1008, "too_fast")
    await caller.type("Hello.")
    assert (await caller.turn(1))["outcome"] == "answered"
    assert gateway.tracebacks() == []


async def test_a_flood_of_messages_ends_the_call_that_sends_it(gateway: RunningGateway) -> None:
    flooding = await gateway.call()
    with contextlib.suppress(ConnectionClosed):
        for _ in range(1_000):
            await flooding.send("llm-function-call-result", {"result": 1})
    code, reason = await flooding.ended()
    assert (code, str(reason).split(":")[0]) == (1008, "too_fast")
    assert gateway.tracebacks() == []


async def test_what_a_client_may_not_ask_for_is_ignored(make_gateway: MakeGateway) -> None:
    async with make_gateway(Mind("Fine.")) as gateway:
        caller = await gateway.call()
        await caller.send("send-file", {"file": {"source": {"type": "url", "url": "http://x/"}}})
        await caller.send("llm-function-call-result", {"function_name": "f", "result": "x"})
        await caller.send("raw-audio", {"base64Audio": "AAAA"})
        await caller.type("How are you?")
        assert (await caller.turn(1))["outcome"] == "answered"
        assert not caller.messages("error-response")
        assert gateway.tracebacks() == []
    assert [turn.text for turn in gateway.mind.told[0][1:]] == ["How are you?"]


async def test_a_client_that_vanishes_leaves_nothing_behind(make_gateway: MakeGateway) -> None:
    async with make_gateway(Mind("A long answer. " * 20)) as gateway:
        caller = await gateway.call()
        await caller.type("Talk!")
        await caller.bot_speaks()
        caller.socket.transport.abort()
        await gateway.everybody_left()
        assert gateway.metric("voice_sessions_active") == 0
        assert gateway.metric("voice_sessions_total", outcome="left") == 1
        assert gateway.tracebacks() == []


async def test_forty_calls_leave_nothing_behind(make_gateway: MakeGateway) -> None:
    async with make_gateway(Mind("Hello there.")) as gateway:

        async def call_and_leave(number: int) -> None:
            caller = await gateway.call()
            await caller.type("Hello.")
            if number % 2:
                await caller.bot_speaks()
            await caller.hang_up()
            await gateway.everybody_left()

        for number in range(6):  # what is made once: caches, thread pools, code
            await call_and_leave(number)
        tasks, objects, memory = await left_over(gateway)
        for number in range(40):
            await call_and_leave(number)
        tasks_now, objects_now, memory_now = await left_over(gateway)
        assert gateway.tracebacks() == []
    assert tasks_now == tasks
    assert objects_now - objects < 40 * 50  # a session that stayed would be thousands
    assert memory_now - memory < 40 << 20


async def left_over(gateway: RunningGateway) -> tuple[int, int, int]:
    """Tasks, objects and resident bytes once everything had time to end."""
    gateway._callers.clear()
    for _ in range(50):
        await asyncio.sleep(0.02)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(asyncio.all_tasks()), len(gc.get_objects()), pages * os.sysconf("SC_PAGESIZE")


async def test_a_stop_lets_calls_end_and_then_ends_them_with_a_reason(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(drain_seconds=1.0) as gateway:
        caller = await gateway.call()
        signal.raise_signal(signal.SIGTERM)
        await gateway.until(lambda: gateway.lines("draining"))
        assert (await refused(gateway, AUTHORIZED))[:2] == (503, "draining")
        assert (await get(gateway, "/readyz"))[1]["draining"] is True
        assert not caller.closed
        code, reason = await caller.ended()
        await gateway.until(lambda: gateway.lines("gateway stopped"))
        assert gateway.tracebacks() == []
    assert code == 1012
    assert str(reason).startswith("shutdown: ")


async def test_a_drained_house_lets_nobody_in_and_nobody_out(make_gateway: MakeGateway) -> None:
    async with make_gateway(Mind("Fine.")) as gateway:
        caller = await gateway.call()
        run_folder.begin_drain(gateway.run)
        status, reason, retry_after = await refused(gateway, AUTHORIZED)
        assert (status, reason) == (503, "draining")
        assert int(retry_after or 0) > 0
        drained = {"ready": False, "waiting_for": "", "draining": True}
        assert await get(gateway, "/readyz") == (503, drained)
        await gateway.until(lambda: gateway.metric("voice_draining") == 1)
        assert gateway.metric("voice_ready") == 0
        await caller.type("Are you still there?")
        assert (await caller.turn(1))["reply_text"] == "Fine."
        run_folder.end_drain(gateway.run)
        assert (await get(gateway, "/readyz"))[0] == 200
        await gateway.call()
        await gateway.until(lambda: gateway.metric("voice_ready") == 1)
        assert gateway.metric("voice_draining") == 0
        assert [len(gateway.lines(f"drain {what}")) for what in ("begun", "undone")] == [1, 1]


async def test_a_gateway_that_is_restarted_while_drained_stays_drained(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    run_folder.begin_drain(tmp_path / "run")
    async with make_gateway() as gateway:
        assert (await refused(gateway, AUTHORIZED))[:2] == (503, "draining")


async def test_with_a_certificate_only_tls_gets_in(
    make_gateway: MakeGateway, certificate: tuple[Path, Path]
) -> None:
    chain, key = certificate
    async with make_gateway(tls_certificate=str(chain), tls_key=str(key)) as gateway:
        caller = await gateway.call(ssl=trusting(chain))
        await caller.type("Hello.")
        assert (await caller.turn(1))["outcome"] == "answered"
        gateway.scheme = "ws"
        with pytest.raises((InvalidMessage, ConnectionClosed, OSError)):
            await gateway.socket()


def test_half_a_tls_setting_is_refused_at_the_start() -> None:
    settings = Settings(gateway=GatewayConfig(tls_certificate="chain.pem"))
    with pytest.raises(BadSetting, match="tls_key"):
        Gateway(settings, TOKEN)._config()


def test_an_unusable_certificate_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    path = str(tmp_path / "bad.pem")
    with pytest.raises(BadSetting, match="tls_certificate"):
        Gateway(
            Settings(gateway=GatewayConfig(tls_certificate=path, tls_key=path)), TOKEN
        )._config()


async def test_a_port_in_use_is_named(make_gateway: MakeGateway) -> None:
    with sockets.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            async with make_gateway(port=port):
                pass


@pytest.mark.parametrize("content", [None, "", "short", "ünicöde-ünicöde-ünicöde"])
def test_a_token_file_that_protects_nothing_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadSetting, match="token_file"):
        read_token(str(path))


def test_the_token_is_the_files_content_without_the_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(str(tmp_path / "token")) == TOKEN
