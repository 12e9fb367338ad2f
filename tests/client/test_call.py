"""A call against a fake gateway: handshake, frames, refusals, failures."""

import asyncio
import math
import ssl
import subprocess
from pathlib import Path

import pytest
from pipecat.frames.protobufs import frames_pb2
from websockets.datastructures import Headers
from websockets.http11 import Response

from client.call import Arrival, ClientCall, connect, connect_once
from client.config import Config
from client.errors import CallDropped, CallRefused, CannotConnect, ClientError
from client.explain import explain_status, retry_after_seconds
from client.wire import AudioFrame, Interruption, RTVIMessage
from tests.fakes import FakeCaller, FakeGateway, tone

FULL = b'{"reason": "full", "message": "All 4 sessions are taken.", "advice": "Try again later."}'


async def receive(call: ClientCall, count: int) -> list[Arrival]:
    arrivals = []
    async with asyncio.timeout(10):
        async for arrival in call.arrivals():
            arrivals.append(arrival)
            if len(arrivals) == count:
                break
    return arrivals


async def test_handshake_names_the_protocol_and_sends_the_token_in_a_header() -> None:
    async with FakeGateway(token="secret") as gateway:
        call = await connect(Config(gateway.url, "secret"))
        (ready,) = await receive(call, 1)
        await call.close()
    assert ready.frame == RTVIMessage("bot-ready", {"version": "2.2.0"})
    assert gateway.authorizations == ["Bearer secret"]
    (hello,) = gateway.callers[0].messages
    assert (hello["label"], hello["type"]) == ("rtvi-ai", "client-ready")
    assert hello["data"]["version"] == "2.2.0"


async def test_audio_is_sent_as_16_khz_mono_and_text_as_rtvi() -> None:
    async with FakeGateway() as gateway:
        call = await connect(Config(gateway.url))
        await call.send_audio(bytes(1280))
        await call.send_text("What time is it?")
        await receive(call, 2)
        await call.close()
        await gateway.left.wait()
    caller = gateway.callers[0]
    assert caller.heard == [(16_000, 1, 1280)]
    assert caller.messages[1]["type"] == "send-text"
    assert caller.messages[1]["data"]["content"] == "What time is it?"
    assert caller.messages[1]["id"]


async def test_start_of_playback_is_reported_in_a_client_message() -> None:
    async with FakeGateway() as gateway:
        call = await connect(Config(gateway.url))
        await call.send_playback_started()
        await call.close()
        await gateway.left.wait()
    message = gateway.callers[0].messages[1]
    assert (message["type"], message["data"]) == ("client-message", {"t": "playback-started"})
    assert message["id"]


async def test_audio_messages_and_interruptions_arrive_in_order() -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.message("bot-started-speaking")
        await caller.audio(tone(0.04))
        await caller.raw(
            frames_pb2.Frame(interruption=frames_pb2.InterruptionFrame()).SerializeToString()
        )

    async with FakeGateway(bot) as gateway:
        call = await connect(Config(gateway.url))
        await call.send_text("Hello")
        frames = [arrival.frame for arrival in await receive(call, 5)]
        await call.close()
    assert frames[2:] == [
        RTVIMessage("bot-started-speaking"),
        AudioFrame(tone(0.04), 24_000, 1),
        Interruption(),
    ]


async def test_frame_of_an_unknown_kind_is_reported_and_the_call_continues() -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.raw(frames_pb2.Frame(text=frames_pb2.TextFrame(text="x")).SerializeToString())
        await caller.raw("a text message")
        await caller.message("bot-started-speaking")

    async with FakeGateway(bot) as gateway:
        call = await connect(Config(gateway.url))
        await call.send_text("Hello")
        unknown, text, known = (await receive(call, 5))[2:]
        await call.close()
    assert (unknown.frame, unknown.problem) == (None, "a frame of an unknown kind")
    assert (text.frame, text.problem) == (None, "a text message; frames are binary")
    assert known.frame == RTVIMessage("bot-started-speaking")


async def test_wrong_token_raises_a_clear_error_without_a_retry() -> None:
    async with FakeGateway(token="secret") as gateway:
        with pytest.raises(CallRefused, match=r"\(401\): The access token is missing"):
            await connect(Config(gateway.url, "guess"), retry_seconds=math.inf)
    assert gateway.attempts == 1


async def test_connection_to_a_full_appliance_is_retried_after_retry_after() -> None:
    pauses, retries = [], []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async with FakeGateway(refusals=[(503, {"Retry-After": "5"}, FULL)] * 2) as gateway:
        call = await connect(
            Config(gateway.url),
            retry_seconds=math.inf,
            on_retry=lambda error, delay: retries.append((str(error), delay)),
            sleep=sleep,
        )
        await call.close()
    assert gateway.attempts == 3
    assert [5 <= pause <= 6 for pause in pauses] == [True, True]
    assert [delay for _, delay in retries] == pauses
    assert "All 4 sessions are taken. Try again later." in retries[0][0]


async def test_retries_stop_after_the_retry_time() -> None:
    async with FakeGateway(refusals=[(503, {"Retry-After": "5"}, FULL)] * 2) as gateway:
        with pytest.raises(CallRefused, match="All 4 sessions are taken"):
            await connect(Config(gateway.url), retry_seconds=4.0)
    assert gateway.attempts == 1


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (403, b'{"message": "Pages from this web origin may not connect."}', CallRefused, "origin"),
        (403, b"", CallRefused, "forbidden"),
        (429, b"slow down", CallRefused, "too many attempts"),
        (
            503,
            b'{"message": "The appliance is shutting down.", "advice": 7}',
            CallRefused,
            "shutting",
        ),
        (503, b"[]", CallRefused, "busy or not ready"),
        (404, b"", CannotConnect, "/ws"),
        (200, b"", CannotConnect, "returned 200"),
        (502, b"", CannotConnect, "returned 502"),
    ],
)
async def test_every_refusal_is_explained(
    status: int, body: bytes, kind: type[ClientError], text: str
) -> None:
    async with FakeGateway(refusals=[(status, {}, body)]) as gateway:
        with pytest.raises(kind, match=text):
            await connect_once(Config(gateway.url))


async def test_redirect_is_not_followed() -> None:
    """The user named this host: no other one is to hear the call."""
    async with FakeGateway() as other:
        to = {"Location": other.url}
        async with FakeGateway(refusals=[(307, to, b"")]) as gateway:
            with pytest.raises(CannotConnect, match="returned 307"):
                await connect_once(Config(gateway.url))
        assert other.attempts == 0


async def test_refusal_text_cannot_contain_terminal_control_characters() -> None:
    async with FakeGateway(
        refusals=[(503, {}, b'{"message": "\\u001b[2Jgone\\nline"}')]
    ) as gateway:
        with pytest.raises(CallRefused) as caught:
            await connect_once(Config(gateway.url))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("code", "reason", "advice"),
    [
        (1008, "audio at 8000 Hz", "does not allow"),
        (1008, "too_fast: The client sent too much.", "at the pace of a microphone"),
        (1009, "", "too large"),
        (1011, "pipeline failed", "connect again"),
        (1012, "restarting", "connect again in a moment"),
        (1013, "busy", "connect again later"),
        (1000, "nobody spoke for 120 seconds", "connect again to continue"),
        (1000, "left_early: A reason of a later version.", "connect again to continue"),
    ],
)
async def test_close_code_is_explained_with_its_reason(code: int, reason: str, advice: str) -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        await caller.close(code, reason)

    async with FakeGateway(bot) as gateway:
        call = await connect(Config(gateway.url))
        await call.send_text("Hello")
        with pytest.raises(CallDropped, match=advice) as caught:
            await receive(call, 99)
        with pytest.raises(CallDropped, match=advice):
            await call.send_audio(bytes(1280))
        await call.close()
    assert (reason.split(": ")[-1].rstrip(".") or "no reason given") in str(caught.value)
    assert str(code) in str(caught.value)
    assert caught.value.retryable == (code in (1011, 1012, 1013))


async def test_lost_connection_is_explained() -> None:
    async def bot(caller: FakeCaller, _text: str) -> None:
        caller.die()

    async with FakeGateway(bot) as gateway:
        call = await connect(Config(gateway.url))
        await call.send_text("Hello")
        with pytest.raises(CallDropped, match="connection was lost") as caught:
            await receive(call, 99)
    assert caught.value.retryable


async def test_close_by_the_client_is_not_a_failure() -> None:
    async with FakeGateway() as gateway:
        call = await connect(Config(gateway.url))
        receiving = asyncio.create_task(receive(call, 99))
        await asyncio.sleep(0.05)
        await call.close()
        assert len(await receiving) == 1
        await call.close()
        await call.send_audio(bytes(1280))


async def test_bot_that_never_becomes_ready_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.call.READY_TIMEOUT_SECONDS", 0.1)
    async with FakeGateway(ready=False) as gateway:
        with pytest.raises(CannotConnect, match="not ready"):
            await connect_once(Config(gateway.url))


async def test_connection_refused_is_retryable() -> None:
    async with FakeGateway() as gateway:
        url = gateway.url
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(CannotConnect, match="nothing listens at") as caught:
            await connect_once(Config(url.replace("127.0.0.1", host)))
        assert caught.value.retryable


async def test_unknown_host_is_explained() -> None:
    with pytest.raises(CannotConnect, match=r"host nowhere\.invalid was not found"):
        await connect_once(Config("ws://nowhere.invalid/ws"))


async def test_server_that_does_not_speak_http_is_explained() -> None:
    async def send_garbage(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp ready\r\n")
        writer.close()

    server = await asyncio.start_server(send_garbage, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(CannotConnect, match="did not answer as a web server"):
            await connect_once(Config(f"ws://127.0.0.1:{port}/ws"))
        with pytest.raises(CannotConnect, match="cannot open a TLS connection"):
            await connect_once(Config(f"wss://127.0.0.1:{port}/ws"))


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    paths = (tmp_path / "certificate.pem", tmp_path / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=appliance"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]),
        ],
        check=True,
        capture_output=True,
    )
    return paths


async def test_untrusted_certificate_is_rejected(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    async with FakeGateway(tls=context) as gateway:
        with pytest.raises(CannotConnect, match=r"not trusted: self.signed certificate"):
            await connect_once(Config(gateway.url))
        call = await connect_once(Config(gateway.url, ca=str(certificate[0])))
        await call.close()
        with pytest.raises(CannotConnect, match="wss://"):
            await connect_once(Config(gateway.url.replace("wss", "ws")))


def test_retry_after_is_parsed_as_seconds_or_a_date() -> None:
    assert retry_after_seconds("7") == 7
    assert retry_after_seconds(None) is None
    assert retry_after_seconds("soon") is None
    date = "Sun, 22 Nov 2026 13:00:10 GMT"
    assert retry_after_seconds(date, now=lambda: 1795352400.0) == 10
    assert retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 0


def test_every_http_status_has_an_explanation() -> None:
    for status in range(300, 600):
        assert str(explain_status(Response(status, "", Headers(), b"\xff"), "box"))
