"""Where the appliance is, by its settings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.acceptance.report import limits
from appliance.acceptance.site import Site, Voice, Wishes, door
from appliance.errors import BadSetting
from appliance.settings import Settings, load


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text("a-token-of-sixteen\n")
    return str(path)


def given(token: str, **more: str) -> Settings:
    return load({"VOICE_GATEWAY_TOKEN_FILE": token, **more})


def test_what_listens_everywhere_is_called_here(token: str) -> None:
    gateway = given(token, VOICE_GATEWAY_HOST="0.0.0.0", VOICE_GATEWAY_PORT="1234").gateway
    assert door(gateway).url == "ws://127.0.0.1:1234/ws"
    assert door(gateway).token == "a-token-of-sixteen"
    six = given(token, VOICE_GATEWAY_HOST="::").gateway
    assert door(six).url == "ws://[::1]:8765/ws"


def test_with_a_certificate_it_is_called_by_tls_and_known_by_it(token: str) -> None:
    gateway = given(
        token, VOICE_GATEWAY_TLS_CERTIFICATE="/etc/x.crt", VOICE_GATEWAY_TLS_KEY="/etc/x.key"
    ).gateway
    assert door(gateway).url.startswith("wss://")
    assert door(gateway).certificate == "/etc/x.crt"


def test_a_url_of_the_operator_wins(token: str) -> None:
    assert door(given(token).gateway, "wss://voice.example").url == "wss://voice.example/ws"


@pytest.mark.parametrize("url", ["http://x/", "ws://", "ws://x:port/"])
def test_what_is_no_url_is_refused(token: str, url: str) -> None:
    with pytest.raises(BadSetting, match="URL"):
        door(given(token).gateway, url)


def test_a_token_that_cannot_be_read_is_told() -> None:
    with pytest.raises(BadSetting, match="token_file"):
        door(given("/nowhere/token").gateway)


async def test_our_own_way_to_it_is_known_by_address_and_port(token: str) -> None:
    of = given(token)
    held = limits(of, [])[1]
    for url, end in (("ws://127.0.0.1:77", 77), ("ws://127.0.0.1", 80)):
        site = Site(of, door(of.gateway, url), held, Wishes(), Voice(of))
        assert await site.way() == {("127.0.0.1", end)}


async def test_nobody_at_the_door_is_an_os_error(token: str) -> None:
    of = given(token)
    site = Site(of, door(of.gateway, "ws://127.0.0.1:1/"), limits(of, [])[1], Wishes(), Voice(of))
    with pytest.raises(OSError, match="refused"):
        await site.ready_page()


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH", b"HTTP/1.1 200\r\nContent-Length: 9"])
async def test_what_is_no_whole_answer_in_http_is_an_os_error(token: str, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer + b"\r\n\r\nx")
        writer.close()

    of = given(token)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    site = Site(of, door(of.gateway, url), limits(of, [])[1], Wishes(), Voice(of))
    async with server:
        with pytest.raises(OSError, match="no whole answer"):
            await site.ready_page()
