"""Admission, hostile clients, leaks, drain and failures on the real gateway."""

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
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from appliance import run_folder
from appliance.access.verifier import MAX_TEXT_CHARS
from appliance.errors import BadCertificate, BadSetting, PortTaken
from appliance.gateway.engine_watch import EngineWatch
from appliance.gateway.http.refusal_log import LOGGED_PER_INTERVAL
from appliance.gateway.http.token_file import MIN_TOKEN_CHARS, read_token
from appliance.link.client import EngineClient
from appliance.link.health import ask_health
from appliance.processes import GATEWAY, socket_path
from appliance.settings import GatewayConfig, load
from appliance.tls.serving import ServerCertificate
from client import call as client_call
from client import wire
from client.config import Config
from tests.fakes import vanishing_path
from tests.gateway.captured_log import captured_log
from tests.gateway.certificates import trusting
from tests.gateway.fake_engines import ScriptedLLM
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


async def connect_refused(
    gateway: RunningGateway, headers: dict[str, str]
) -> tuple[int, str, str | None]:
    """Connect, expect a refusal, and return its status, reason and Retry-After header."""
    with pytest.raises(InvalidStatus) as caught:
        await gateway.open_socket(headers)
    response = caught.value.response
    body = json.loads(response.body or b"")
    assert body["message"] and body["advice"]
    return response.status_code, body["reason"], response.headers.get("Retry-After")


async def get(gateway: RunningGateway, path: str) -> tuple[int, Any]:
    """Fetch `path`. Return the status and JSON body."""

    def fetch() -> tuple[int, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{gateway.address}{path}") as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return await asyncio.to_thread(fetch)


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
async def test_connection_without_a_valid_token_is_refused(
    gateway: RunningGateway, authorization: str
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    assert await connect_refused(gateway, headers) == (401, "wrong_token", None)
    assert gateway.open_sessions() == 0
    assert gateway.metric("voice_sessions_rejected_total", reason="wrong_token") == 1
    assert gateway.logged_errors() == []


async def test_browser_connections_from_unlisted_origins_are_refused(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(allowed_origins=("https://kiosk.example",)) as gateway:
        headers = AUTHORIZED | {"Origin": "https://evil.example"}
        assert await connect_refused(gateway, headers) == (403, "wrong_origin", None)
        socket = await gateway.open_socket(AUTHORIZED | {"Origin": "https://kiosk.example"})
        await socket.close()


async def test_too_many_attempts_are_refused_with_retry_after(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_attempts_per_minute=3) as gateway:
        for _ in range(3):
            assert (await connect_refused(gateway, {}))[0] == 401
        status, reason, retry_after = await connect_refused(gateway, {})
        assert (status, reason) == (429, "too_many_attempts")
        assert int(retry_after or 0) > 0
        await gateway.connect()  # the right token, from the same address


async def test_forwarded_address_counts_only_if_a_trusted_proxy_sent_it(
    make_gateway: MakeGateway,
) -> None:
    async def attempts(gateway: RunningGateway) -> list[int]:
        headers = [{"X-Forwarded-For": f"192.0.2.{number}"} for number in range(4)]
        return [(await connect_refused(gateway, header))[0] for header in headers]

    async with make_gateway(max_attempts_per_minute=2) as gateway:
        assert await attempts(gateway) == [401, 401, 429, 429]
    async with make_gateway(max_attempts_per_minute=2, trusted_proxies=("127.0.0.0/8",)) as gateway:
        assert await attempts(gateway) == [401] * 4
        chain = {"X-Forwarded-For": "198.51.100.7, 192.0.2.9"}  # the client wrote the first
        assert [(await connect_refused(gateway, chain))[0] for _ in range(3)] == [401, 401, 429]


async def test_unknown_paths_are_refused_and_counted_and_probes_are_not(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_attempts_per_minute=3) as gateway:
        statuses = [(await get(gateway, path))[0] for path in ("/w", "/ws", "/x", "/y")]
        assert statuses == [404, 404, 404, 429]
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"ws://{gateway.address}/other", additional_headers=AUTHORIZED)
        assert caught.value.response.status_code == 429
        for _ in range(5):
            assert (await get(gateway, "/readyz"))[0] == 200
        assert gateway.metric("voice_sessions_rejected_total", reason="unknown_path") == 3
        assert gateway.logged_errors() == []


async def test_token_that_was_sent_twice_is_refused(gateway: RunningGateway) -> None:
    twice = [("Authorization", f"Bearer {TOKEN}")] * 2
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws://{gateway.address}/ws", additional_headers=twice)
    assert caught.value.response.status_code == 401


async def test_many_refusals_log_a_bounded_number_of_lines(gateway: RunningGateway) -> None:
    for _ in range(30):
        await connect_refused(gateway, {})
    assert gateway.metric("voice_sessions_rejected_total", reason="wrong_token") == 30
    assert len(gateway.log_lines("refused")) == LOGGED_PER_INTERVAL
    assert gateway.log_lines("library") == []


async def test_sessions_of_one_token_are_limited(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_sessions=3, max_sessions_per_token=1) as gateway:
        first = await gateway.connect()
        assert (await connect_refused(gateway, AUTHORIZED))[:2] == (503, "token_full")
        await first.disconnect()
        await gateway.wait_until(lambda: gateway.open_sessions() == 0)
        await gateway.connect()


async def test_silent_caller_gives_way_when_the_gateway_is_full(make_gateway: MakeGateway) -> None:
    async with make_gateway(max_sessions=2, yield_seconds=0.01) as gateway:
        silent = await gateway.connect()
        talking = await gateway.connect()
        await talking.type("Hello.")
        assert (await talking.turn(1))["outcome"] == "answered"
        newcomer = await gateway.connect()
        code, reason = await silent.wait_closed()
        assert (code, str(reason).split(":")[0]) == (1000, "made_room")
        await newcomer.type("Hello.")
        assert (await newcomer.turn(1))["outcome"] == "answered"
        assert not talking.closed
        assert gateway.metric("voice_sessions_total", outcome="made_room") == 1
        assert gateway.logged_errors() == []


async def test_full_gateway_refuses_connections_until_a_session_ends(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_sessions=2) as gateway:
        first, _ = await gateway.connect(), await gateway.connect()
        status, reason, retry_after = await connect_refused(gateway, AUTHORIZED)
        assert (status, reason) == (503, "full")
        assert int(retry_after or 0) > 0
        await first.disconnect()
        await gateway.wait_until(lambda: gateway.open_sessions() == 1)
        await gateway.connect()


async def test_simultaneous_connections_never_exceed_the_limit(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_sessions=2) as gateway:
        results = await asyncio.gather(
            *(gateway.open_socket() for _ in range(6)), return_exceptions=True
        )
        refusals = [result for result in results if isinstance(result, InvalidStatus)]
        assert len(refusals) == 4
        for result in results:
            if not isinstance(result, BaseException):
                await result.close()


async def test_refusal_names_the_engine_that_is_not_ready(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(engines=["llm"]) as gateway:
        await gateway.wait_until(lambda: gateway.log_lines("readiness changed"))
        status, reason, retry_after = await connect_refused(gateway, AUTHORIZED)
        assert (status, reason) == (503, "not_ready")
        assert int(retry_after or 0) > 0
        waiting = {"ready": False, "waiting_for": "tts", "draining": False, "closed": False}
        assert await get(gateway, "/readyz") == (503, waiting)
        assert await get(gateway, "/healthz") == (200, {"alive": True})
        await gateway.tts_process.start()
        await gateway.wait_until(lambda: len(gateway.log_lines("readiness changed")) == 2)
        assert (await get(gateway, "/readyz"))[0] == 200
        await gateway.connect()


async def test_readiness_is_lost_with_an_engine(gateway: RunningGateway) -> None:
    assert (await get(gateway, "/readyz"))[1]["ready"] is True
    assert gateway.metric("voice_ready") == 1
    await gateway.llm_process.kill()
    await gateway.wait_until(lambda: gateway.metric("voice_ready") == 0)
    assert (await get(gateway, "/readyz"))[1]["waiting_for"] == "llm"


async def test_unix_socket_reports_health_and_metrics(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    report = await ask_health(socket_path(tmp_path / "run", GATEWAY), 10)
    assert report.ready
    assert b"voice_sessions_active 0.0" in report.metrics
    assert b"voice_sessions_max 4.0" in report.metrics


async def test_other_paths_return_404(gateway: RunningGateway) -> None:
    for path in ("/docs", "/openapi.json", "/metrics"):
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
        case "not JSON":
            frame.message.data = "{" * 500
        case "lone surrogate":
            frame.message.data = json.dumps(
                {"label": "rtvi-ai", "type": "send-text", "id": "1", "data": {"content": "\ud800"}}
            )
    return bytes(frame.SerializeToString())


HOSTILE: dict[str, tuple[bytes | str, int, str]] = {
    "garbage": (b"\xff\x00garbage", 1008, "bad_frame"),
    "text message": ("hello", 1008, "bad_frame"),
    "empty message": (b"", 1008, "bad_frame"),
    "frame above the limit": (wire.encode(wire.AudioFrame(bytes(20_000))), 1009, "frame_too_big"),
    # Larger data might still be in flight when the gateway closes the connection.
    "message above the limit": (bytes(70_000), 1009, ""),  # by the library, in its own words
}
HOSTILE |= {
    kind: (framed(kind), 1008, "bad_frame")
    for kind in (
        "text", "transcription", "interruption", "48 kHz", "stereo", "half a sample", "not JSON",
        "lone surrogate",
    )
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
async def test_hostile_client_is_disconnected_and_other_sessions_continue(
    make_gateway: MakeGateway, case: str
) -> None:
    data, code, reason = HOSTILE[case]
    async with make_gateway(ScriptedLLM("Fine.")) as gateway:
        client, hostile = await gateway.connect(), await gateway.connect()
        await hostile.socket.send(data)
        close_code, close_reason = await hostile.wait_closed()
        assert close_code == code
        assert str(close_reason).startswith(reason)
        await gateway.wait_until(lambda: gateway.open_sessions() == 1)
        await client.type("How are you?")
        assert (await client.turn(1))["reply_text"] == "Fine."
        assert gateway.logged_errors() == []
        assert not hostile.audio
    assert len(gateway.llm.conversations) == 1


async def test_flood_of_audio_closes_only_its_own_session(gateway: RunningGateway) -> None:
    client, flooder = await gateway.connect(), await gateway.connect()
    half_second = wire.encode(wire.AudioFrame(bytes(16_000)))
    with contextlib.suppress(ConnectionClosed):
        for _ in range(1_000):  # eight minutes of audio, in fewer frames than may come at once
            await flooder.socket.send(half_second)
    code, reason = await flooder.wait_closed()
    assert (code, str(reason).split(":")[0]) == (1008, "too_fast")
    await client.type("Hello.")
    assert (await client.turn(1))["outcome"] == "answered"
    assert gateway.logged_errors() == []


async def test_flood_of_messages_closes_its_session(gateway: RunningGateway) -> None:
    flooder = await gateway.connect()
    with contextlib.suppress(ConnectionClosed):
        for _ in range(1_000):
            await flooder.send("llm-function-call-result", {"result": 1})
    code, reason = await flooder.wait_closed()
    assert (code, str(reason).split(":")[0]) == (1008, "too_fast")
    assert gateway.logged_errors() == []


async def test_unsupported_client_messages_are_answered_and_ignored(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(ScriptedLLM("Fine.")) as gateway:
        client = await gateway.connect()
        await client.send("send-file", {"file": {"source": {"type": "url", "url": "http://x/"}}})
        await client.send("llm-function-call-result", {"function_name": "f", "result": "x"})
        await client.send("raw-audio", {"base64Audio": "AAAA"})
        await client.type("How are you?")
        assert (await client.turn(1))["outcome"] == "answered"
        answers = [message.text("error") for message in client.messages("error-response")]
        for kind, answer in zip(
            ("send-file", "llm-function-call-result", "raw-audio"), answers, strict=True
        ):
            assert kind in answer
        assert gateway.logged_errors() == []
    assert [turn.text for turn in gateway.llm.conversations[0][1:]] == ["How are you?"]


async def test_client_that_disappears_leaks_no_session(make_gateway: MakeGateway) -> None:
    async with make_gateway(ScriptedLLM("A long answer. " * 20)) as gateway:
        client = await gateway.connect()
        await client.type("Talk!")
        await client.wait_bot_speaking()
        client.socket.transport.abort()
        await gateway.wait_sessions_closed()
        assert gateway.metric("voice_sessions_active") == 0
        assert gateway.metric("voice_sessions_total", outcome="left") == 1
        assert gateway.logged_errors() == []


async def test_client_that_vanishes_gives_up_its_place(make_gateway: MakeGateway) -> None:
    """Its connection stays open, as after a power failure: only the pings show it."""
    async with (
        make_gateway(ScriptedLLM("Hello."), ping_seconds=1.0, max_sessions=1) as gateway,
        vanishing_path(gateway.port) as path,
    ):
        call = await client_call.connect(Config(f"ws://127.0.0.1:{path.port}/ws", TOKEN))
        assert gateway.open_sessions() == 1
        path.vanish()
        await gateway.wait_sessions_closed()
        assert gateway.metric("voice_sessions_total", outcome="left") == 1
        await call.close()
        client = await gateway.connect()  # the only place is free
        await client.disconnect()
        assert gateway.logged_errors() == []


async def test_forty_sessions_leak_nothing(make_gateway: MakeGateway) -> None:
    async with make_gateway(ScriptedLLM("Hello there.")) as gateway:

        async def connect_and_leave(number: int) -> None:
            client = await gateway.connect()
            await client.type("Hello.")
            if number % 2:
                await client.wait_bot_speaking()
            await client.disconnect()
            await gateway.wait_sessions_closed()

        for number in range(6):  # warm up caches and thread pools
            await connect_and_leave(number)
        tasks, objects, memory = await resources_in_use(gateway)
        for number in range(40):
            await connect_and_leave(number)
        tasks_now, objects_now, memory_now = await resources_in_use(gateway)
        assert gateway.logged_errors() == []
    assert tasks_now == tasks
    assert objects_now - objects < 40 * 50  # one leaked session is thousands of objects
    assert memory_now - memory < 40 << 20


async def resources_in_use(gateway: RunningGateway) -> tuple[int, int, int]:
    """Let the process settle. Return the number of tasks and of objects, and the resident bytes."""
    gateway._clients.clear()
    for _ in range(50):
        await asyncio.sleep(0.02)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(asyncio.all_tasks()), len(gc.get_objects()), pages * os.sysconf("SC_PAGESIZE")


async def test_stop_drains_and_then_closes_sessions_with_a_reason(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(drain_seconds=1.0) as gateway:
        client = await gateway.connect()
        signal.raise_signal(signal.SIGTERM)
        await gateway.wait_until(lambda: gateway.log_lines("draining"))
        assert (await connect_refused(gateway, AUTHORIZED))[:2] == (503, "draining")
        assert (await get(gateway, "/readyz"))[1]["draining"] is True
        assert not client.closed
        code, reason = await client.wait_closed()
        await gateway.wait_until(lambda: gateway.log_lines("gateway stopped"))
        assert gateway.logged_errors() == []
    assert code == 1012
    assert str(reason).startswith("shutdown: ")


async def test_drain_refuses_new_sessions_and_keeps_open_ones(make_gateway: MakeGateway) -> None:
    async with make_gateway(ScriptedLLM("Fine.")) as gateway:
        client = await gateway.connect()
        run_folder.begin_drain(gateway.run)
        status, reason, retry_after = await connect_refused(gateway, AUTHORIZED)
        assert (status, reason) == (503, "draining")
        assert int(retry_after or 0) > 0
        drained = {"ready": False, "waiting_for": "", "draining": True, "closed": False}
        assert await get(gateway, "/readyz") == (503, drained)
        await gateway.wait_until(lambda: gateway.metric("voice_draining") == 1)
        assert gateway.metric("voice_ready") == 0
        await client.type("Are you still there?")
        assert (await client.turn(1))["reply_text"] == "Fine."
        run_folder.end_drain(gateway.run)
        assert (await get(gateway, "/readyz"))[0] == 200
        await gateway.connect()
        await gateway.wait_until(lambda: gateway.metric("voice_ready") == 1)
        assert gateway.metric("voice_draining") == 0
        assert [len(gateway.log_lines(f"drain {event}")) for event in ("begun", "undone")] == [1, 1]


async def test_gateway_restarted_during_a_drain_keeps_draining(
    make_gateway: MakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    run_folder.begin_drain(tmp_path / "run")
    async with make_gateway() as gateway:
        assert (await connect_refused(gateway, AUTHORIZED))[:2] == (503, "draining")


async def test_failed_engine_watch_is_logged_and_stops_the_gateway(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_gateway(drain_seconds=0.5) as gateway:
        client = await gateway.connect()

        async def fail(*_: object) -> bool:
            raise ValueError("a defect")

        monkeypatch.setattr(EngineWatch, "_is_ready", fail)
        code, reason = await client.wait_closed()
        with pytest.raises(ValueError, match="a defect"):
            await gateway.wait_stopped()
        (line,) = gateway.log_lines("task failed")
    assert (line["level"], line["task"], line["error"]) == ("error", "engine watch", "ValueError")
    assert "test_server.py:" in line["trace"][-1]
    assert (code, str(reason).split(":")[0]) == (1012, "shutdown")  # after a drain


async def test_invalid_hold_message_request_stops_the_gateway(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("speed 3 is out of range")  # as raised by the link's message type

    monkeypatch.setattr(EngineClient, "speak", fail)
    with pytest.raises(ValueError, match="speed"):
        async with make_gateway(engines=["tts", "llm"]):
            pytest.fail("the gateway must not become ready")


async def test_plain_connection_is_rejected_when_a_certificate_is_set(
    make_gateway: MakeGateway, certificate: tuple[Path, Path]
) -> None:
    chain, key = certificate
    async with make_gateway(tls_certificate=str(chain), tls_key=str(key)) as gateway:
        client = await gateway.connect(ssl=trusting(chain))
        await client.type("Hello.")
        assert (await client.turn(1))["outcome"] == "answered"
        gateway.scheme = "ws"
        with pytest.raises((InvalidMessage, ConnectionClosed, OSError)):
            await gateway.open_socket()


def test_certificate_without_key_is_refused_at_start() -> None:
    with pytest.raises(BadSetting, match="TLS_KEY"):
        load({"VOICE_GATEWAY_TLS_CERTIFICATE": "chain.pem"})


def test_unusable_certificate_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("not a certificate")
    path = str(tmp_path / "bad.pem")
    gateway = GatewayConfig(tls_certificate=path, tls_key=path)
    with pytest.raises(BadCertificate, match="no PEM certificate"):
        ServerCertificate(gateway)


async def test_port_in_use_stops_the_gateway_and_is_named(make_gateway: MakeGateway) -> None:
    with sockets.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            async with make_gateway(port=port):
                pass


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "short",
        "ünicöde-ünicöde-ünicöde",
        "a" * (MIN_TOKEN_CHARS - 1),
        "a" * (MAX_TEXT_CHARS + 1),  # no request could present it
        f"# the token\n{TOKEN}",
    ],
)
def test_unusable_token_file_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadSetting, match="token_file"):
        read_token(str(path))


def test_token_that_was_pasted_in_place_of_its_file_is_not_quoted(tmp_path: Path) -> None:
    """The error is logged."""
    for pasted in (TOKEN, str(tmp_path / TOKEN), TOKEN * 10):
        with pytest.raises(BadSetting, match="must be the path of a file") as refused:
            read_token(pasted)
        assert TOKEN not in str(refused.value)


def test_token_is_the_file_content_without_the_newline(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(0o640)
    path.write_text(f"{TOKEN}\n")
    assert read_token(str(path)).text == TOKEN


@pytest.mark.parametrize(
    ("chars", "mode", "events"),
    [
        (32, 0o640, []),
        (31, 0o600, ["short token"]),
        (32, 0o644, ["token readable by all users"]),
    ],
)
def test_weak_or_exposed_token_is_logged(
    tmp_path: Path, chars: int, mode: int, events: list[str]
) -> None:
    path = tmp_path / "token"
    path.write_text("a" * chars)
    path.chmod(mode)
    with captured_log() as log:
        read_token(str(path))
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [(e, "warning") for e in events]
    assert b"aaaa" not in log.getvalue()


@pytest.mark.parametrize(("host", "warnings"), [("0.0.0.0", 1), ("127.0.0.1", 0)])
async def test_plain_calls_over_the_network_are_logged(
    make_gateway: MakeGateway, host: str, warnings: int
) -> None:
    async with make_gateway(host=host, plain_network=True) as gateway:
        assert len(gateway.log_lines("calls are not encrypted")) == warnings
