"""The appliance's address according to its settings, and requests to its HTTP endpoints."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.acceptance.caller import ApplianceEar
from appliance.acceptance.context import AcceptanceContext, call_target
from appliance.acceptance.limits import limits_for
from appliance.acceptance.options import AcceptanceOptions
from appliance.errors import BadSetting
from appliance.settings import Settings, load


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text("a-token-of-sixteen\n")
    return str(path)


def load_settings(token_file: str, **more: str) -> Settings:
    return load({"VOICE_GATEWAY_TOKEN_FILE": token_file, **more})


def make_context(token_file: str, url: str) -> AcceptanceContext:
    settings = load_settings(token_file)
    target = call_target(settings.gateway, url)
    _, limits = limits_for(settings, [])
    return AcceptanceContext(settings, target, limits, AcceptanceOptions(), ApplianceEar(settings))


def test_gateway_on_all_interfaces_is_reached_over_loopback(token_file: str) -> None:
    settings = load_settings(token_file, VOICE_GATEWAY_HOST="0.0.0.0", VOICE_GATEWAY_PORT="1234")
    target = call_target(settings.gateway)
    assert target.url == "ws://127.0.0.1:1234/ws"
    assert target.token == "a-token-of-sixteen"
    settings = load_settings(token_file, VOICE_GATEWAY_HOST="::")
    assert call_target(settings.gateway).url == "ws://[::1]:8765/ws"


def test_gateway_with_a_certificate_is_reached_over_tls(token_file: str) -> None:
    settings = load_settings(
        token_file,
        VOICE_GATEWAY_TLS_CERTIFICATE="/etc/x.crt",
        VOICE_GATEWAY_TLS_KEY="/etc/x.key",
    )
    target = call_target(settings.gateway)
    assert target.url.startswith("wss://")
    assert target.certificate == "/etc/x.crt"


def test_acceptance_test_presents_a_certificate_if_callers_need_one(token_file: str) -> None:
    files = {
        "VOICE_GATEWAY_TLS_CERTIFICATE": "/etc/tls/chain.pem",
        "VOICE_GATEWAY_TLS_KEY": "/etc/tls/key.pem",
    }
    assert call_target(load_settings(token_file, **files).gateway).cert == ""
    asked = load_settings(token_file, **files, VOICE_GATEWAY_TLS_CLIENT_CA="/etc/tls/ca.pem")
    assert call_target(asked.gateway).cert == "/etc/tls/acceptance-client.pem"


def test_url_option_overrides_the_settings(token_file: str) -> None:
    gateway = load_settings(token_file).gateway
    assert call_target(gateway, "wss://voice.example/ws").url == "wss://voice.example/ws"


def test_unreadable_token_file_is_a_bad_setting() -> None:
    with pytest.raises(BadSetting, match="token_file"):
        call_target(load_settings("/nowhere/token").gateway)


@pytest.mark.parametrize(("url", "port"), [("ws://127.0.0.1:77", 77), ("ws://127.0.0.1", 80)])
async def test_own_endpoints_are_the_addresses_and_port_of_the_url(
    token_file: str, url: str, port: int
) -> None:
    assert await make_context(token_file, url).own_endpoints() == {("127.0.0.1", port)}


async def test_closed_port_is_an_os_error(token_file: str) -> None:
    with pytest.raises(OSError, match="refused"):
        await make_context(token_file, "ws://127.0.0.1:1/").readyz()


@pytest.mark.parametrize("response", [b"SSH-2.0-OpenSSH", b"HTTP/1.1 200\r\nContent-Length: 9"])
async def test_incomplete_http_response_is_an_os_error(token_file: str, response: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response + b"\r\n\r\nx")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        with pytest.raises(OSError, match="incomplete HTTP response"):
            await make_context(token_file, url).readyz()
