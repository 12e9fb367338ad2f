"""Calls over TLS to the real gateway: rotation, expiry, client certificates, plain networks."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import ssl
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from websockets.exceptions import InvalidHandshake, InvalidStatus

from appliance.acceptance.context import call_target
from appliance.errors import BadCertificate, BadSetting, PlainNetwork
from appliance.settings import GatewayConfig
from appliance.tls import serving
from appliance.tls.issue import client_authority, client_certificate
from appliance.tls.serving import ServerCertificate
from client.call import connect_once
from client.config import Config
from client.errors import CannotConnect
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway
from tests.gateway.simulated_client import TIMEOUT_SECONDS
from tests.tls.site import Site, make_site, now


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "etc")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "POLL_SECONDS", 0.02)


def files(site: Site, **more: Any) -> dict[str, Any]:
    return {"tls_certificate": str(site.chain), "tls_key": str(site.key), **more}


async def fetch(gateway: RunningGateway, path: str, context: ssl.SSLContext) -> tuple[int, bytes]:
    """Return status and body, over HTTPS."""

    def get() -> tuple[int, bytes]:
        try:
            url = f"https://{gateway.address}{path}"
            with urllib.request.urlopen(url, timeout=30, context=context) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    return await asyncio.to_thread(get)


async def answered(client: Any, turn: int) -> bool:
    await client.type("Hello.")
    return bool((await client.turn(turn))["outcome"] == "answered")


def config(gateway: RunningGateway, **more: Any) -> Config:
    return Config(f"{gateway.scheme}://{gateway.address}/ws", token=TOKEN, **more)


async def test_certificate_of_the_sites_ca_is_accepted_and_the_ca_can_be_fetched(
    make_gateway: MakeGateway, site: Site
) -> None:
    async with make_gateway(**files(site)) as gateway:
        call = await connect_once(config(gateway, ca=str(site.ca)))
        await call.close()
        assert await fetch(gateway, "/ca.pem", site.trust()) == (200, site.ca.read_bytes())
        expiry = gateway.metric("voice_tls_certificate_expiry_timestamp_seconds")
        assert 0 < expiry - site.chain.stat().st_mtime < 397 * 86_400
        assert not gateway.logged_errors()


@pytest.mark.parametrize(
    ("version", "accepted"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)]
)
async def test_tls_older_than_1_2_is_refused(
    make_gateway: MakeGateway, site: Site, version: ssl.TLSVersion, accepted: bool
) -> None:
    old = site.trust()
    old.set_ciphers("ALL:@SECLEVEL=0")  # otherwise this client itself refuses
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old.minimum_version = old.maximum_version = version
    async with make_gateway(**files(site)) as gateway:
        if accepted:
            assert (await fetch(gateway, "/healthz", old))[0] == 200
        else:
            with pytest.raises(OSError, match=r"EOF|reset|protocol version"):  # by the gateway
                await fetch(gateway, "/healthz", old)


async def test_client_cannot_renegotiate(make_gateway: MakeGateway, site: Site) -> None:
    """A renegotiation costs the gateway a handshake, and no limit would count it."""
    async with make_gateway(**files(site)) as gateway:
        client = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{gateway.port}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert client.stdin and client.stdout
        client.stdin.write(b"R\n")  # its command for a renegotiation
        async with asyncio.timeout(TIMEOUT_SECONDS):
            said = await client.stdout.read()
            await client.wait()
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said


async def test_only_the_certificate_of_the_ca_is_handed_out(
    make_gateway: MakeGateway, site: Site
) -> None:
    trust, ca = site.trust(), site.ca.read_bytes()
    key = (site.folders.authority / "ca-key.pem").read_bytes()
    site.ca.unlink()
    site.ca.write_bytes(key + ca + site.chain.read_bytes() + key)
    async with make_gateway(**files(site)) as gateway:
        assert await fetch(gateway, "/ca.pem", trust) == (200, ca)


async def test_gateway_without_a_ca_file_has_none_to_hand_out(
    make_gateway: MakeGateway, site: Site
) -> None:
    trust = site.trust()
    site.ca.unlink()
    async with make_gateway(**files(site)) as gateway:
        assert (await fetch(gateway, "/ca.pem", trust))[0] == 404


@pytest.mark.usefixtures("quick")
async def test_new_certificate_is_used_for_new_calls_while_a_call_goes_on(
    make_gateway: MakeGateway, site: Site
) -> None:
    async with make_gateway(**files(site)) as gateway:
        call = await gateway.connect(ssl=site.trust())
        assert await answered(call, 1)
        before = gateway.metric("voice_tls_certificate_expiry_timestamp_seconds")
        site.install(days_ago=1)
        await gateway.wait_until(lambda: gateway.log_lines("new certificate loaded"))
        other = await gateway.connect(ssl=site.trust())
        assert served_by(other) == ssl.PEM_cert_to_DER_cert(site.chain.read_text())
        assert served_by(call) != served_by(other)
        assert await answered(call, 2)
        assert gateway.metric("voice_tls_certificate_expiry_timestamp_seconds") != before
        recorded = [line["certificate_sha256"] for line in _loaded(gateway)]
        assert recorded == [hashlib.sha256(served_by(each)).hexdigest() for each in (call, other)]


@pytest.mark.usefixtures("quick")
async def test_new_authority_of_the_clients_is_recorded(
    make_gateway: MakeGateway, site: Site
) -> None:
    authority = site.folders.serving / "client-ca.pem"
    hashes = []
    site.folders.write_authority("client-ca", client_authority(now()))
    hashes.append(hashlib.sha256(authority.read_bytes()).hexdigest())
    async with make_gateway(**files(site, tls_client_ca=str(authority))) as gateway:
        site.folders.write_authority("client-ca", client_authority(now()))
        hashes.append(hashlib.sha256(authority.read_bytes()).hexdigest())
        await gateway.wait_until(lambda: len(_loaded(gateway)) == 2)
        assert [line["client_ca_sha256"] for line in _loaded(gateway)] == hashes


def _loaded(gateway: RunningGateway) -> list[dict[str, Any]]:
    lines = gateway.log_lines("audit")
    return [line for line in lines if line["action"] == "certificate_loaded"]


@pytest.mark.usefixtures("quick")
async def test_ca_file_that_is_added_later_is_handed_out(
    make_gateway: MakeGateway, site: Site
) -> None:
    trust, ca = site.trust(), site.ca.read_bytes()
    site.ca.unlink()
    async with make_gateway(**files(site)) as gateway:
        assert (await fetch(gateway, "/ca.pem", trust))[0] == 404
        site.ca.write_bytes(ca)
        await gateway.wait_until(lambda: gateway.log_lines("new certificate loaded"))
        assert await fetch(gateway, "/ca.pem", trust) == (200, ca)


@pytest.mark.usefixtures("quick")
async def test_key_that_becomes_readable_by_others_is_logged_and_counted(
    make_gateway: MakeGateway, site: Site
) -> None:
    async with make_gateway(**files(site)) as gateway:
        assert not gateway.log_lines("certificate has a problem")
        assert gateway.metric("voice_tls_key_exposed") == 0
        site.key.chmod(0o444)
        await gateway.wait_until(lambda: gateway.log_lines("certificate has a problem"))
        assert gateway.log_lines("certificate has a problem")[0]["reason"] == "key_exposed"
        assert gateway.metric("voice_tls_key_exposed") == 1
        site.key.chmod(0o400)
        await gateway.wait_until(lambda: gateway.log_lines("new certificate loaded")[1:])
        assert gateway.metric("voice_tls_key_exposed") == 0


def served_by(client: Any) -> bytes:
    """Return the certificate with which the gateway serves this call."""
    peer = client.socket.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(peer, bytes)
    return peer


def break_key(site: Site) -> None:
    site.key.unlink()
    site.key.write_bytes((site.folders.authority / "ca-key.pem").read_bytes())


def break_chain(site: Site) -> None:
    site.chain.unlink()
    site.chain.write_text("not a certificate")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (break_key, "wrong_key"),
        (break_chain, "no_certificate"),
        (lambda site: site.install(days_ago=500), "expired"),
    ],
)
async def test_unusable_new_certificate_is_refused_and_the_old_one_stays(
    make_gateway: MakeGateway, site: Site, damage: Callable[[Site], None], reason: str
) -> None:
    async with make_gateway(**files(site)) as gateway:
        damage(site)
        await gateway.wait_until(lambda: gateway.log_lines("new certificate refused"))
        assert gateway.log_lines("new certificate refused")[0]["reason"] == reason
        assert await answered(await gateway.connect(ssl=site.trust()), 1)
        site.install()  # and a good one is taken afterwards
        await gateway.wait_until(lambda: gateway.log_lines("new certificate loaded"))
        assert await answered(await gateway.connect(ssl=site.trust()), 1)


async def test_expired_certificate_is_logged_and_the_client_says_so(
    make_gateway: MakeGateway, site: Site
) -> None:
    site.install(days_ago=500)
    async with make_gateway(**files(site)) as gateway:
        lines = gateway.log_lines("certificate has a problem")
        assert [line["reason"] for line in lines] == ["expired"]
        with pytest.raises(CannotConnect, match="it has expired"):
            await connect_once(config(gateway, ca=str(site.ca)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda site: site.install(days_ago=-2), "not valid yet. Check the clock"),
        (lambda site: site.install(["localhost"]), "for another address"),
        (lambda site: site.folders.write_server(other(site)), "voicectl tls export"),
    ],
)
async def test_client_says_why_it_does_not_trust_the_certificate(
    make_gateway: MakeGateway, site: Site, change: Callable[[Site], None], message: str
) -> None:
    change(site)
    async with make_gateway(**files(site)) as gateway:
        with pytest.raises(CannotConnect, match=message):
            await connect_once(config(gateway, ca=str(site.ca)))


def other(site: Site) -> Any:
    return make_site(site.folders.serving.parent / "other").issue()


async def test_client_says_which_scheme_the_gateway_expects(
    make_gateway: MakeGateway, site: Site
) -> None:
    async with make_gateway() as gateway:
        with pytest.raises(CannotConnect, match="ws://"):
            await connect_once(Config(f"wss://{gateway.address}/ws", ca=str(site.ca)))
    async with make_gateway(**files(site)) as gateway:
        with pytest.raises(CannotConnect, match="wss://"):
            await connect_once(Config(f"ws://{gateway.address}/ws"))


async def test_callers_need_a_client_certificate_if_an_authority_is_set(
    make_gateway: MakeGateway, site: Site
) -> None:
    cert, key = site.client("anna")
    client_ca = str(site.folders.serving / "client-ca.pem")
    async with make_gateway(**files(site, tls_client_ca=client_ca)) as gateway:
        with_certificate = config(gateway, ca=str(site.ca), cert=cert, key=key)
        call = await connect_once(with_certificate)
        await call.close()
        with pytest.raises(InvalidStatus) as caught:
            await gateway.open_socket(ssl=site.trust())
        body = json.loads(caught.value.response.body)
        assert (caught.value.response.status_code, body["reason"]) == (403, "no_client_certificate")
        for path in ("/healthz", "/readyz", "/ca.pem"):
            assert (await fetch(gateway, path, site.trust()))[0] == 200
        assert not gateway.logged_errors()


async def test_certificate_of_another_authority_is_not_accepted_from_a_client(
    make_gateway: MakeGateway, site: Site, tmp_path: Path
) -> None:
    site.client("anna")
    strangers = make_site(tmp_path / "strangers").client("anna")
    client_ca = str(site.folders.serving / "client-ca.pem")
    async with make_gateway(**files(site, tls_client_ca=client_ca)) as gateway:
        for cert, key in (strangers, (str(site.chain), str(site.key))):
            with pytest.raises(CannotConnect, match="--cert and --key"):
                await connect_once(config(gateway, ca=str(site.ca), cert=cert, key=key))
        assert gateway.open_sessions() == 0


async def test_acceptance_test_calls_with_its_own_certificate(
    make_gateway: MakeGateway, site: Site
) -> None:
    site.client("anna")
    authority = site.folders.read_authority("client-ca")
    site.folders.write_acceptance_client(client_certificate(authority, "acceptance", now()))
    client_ca = str(site.folders.serving / "client-ca.pem")
    async with make_gateway(**files(site, tls_client_ca=client_ca)) as gateway:
        token = site.folders.authority / "token"
        token.write_text(TOKEN)
        settings = gateway.server._settings.gateway
        target = call_target(dataclasses.replace(settings, token_file=str(token)))
        call = await connect_once(target)
        await call.close()


async def test_callers_without_a_certificate_use_up_their_attempts(
    make_gateway: MakeGateway, site: Site
) -> None:
    site.client("anna")
    client_ca = str(site.folders.serving / "client-ca.pem")
    limits = {"max_attempts_per_minute": 2}
    async with make_gateway(**files(site, tls_client_ca=client_ca, **limits)) as gateway:
        statuses = []
        for _ in range(3):
            with pytest.raises(InvalidHandshake) as caught:
                await gateway.open_socket(ssl=site.trust())
            assert isinstance(caught.value, InvalidStatus)
            statuses.append(caught.value.response.status_code)
        assert statuses == [403, 403, 429]


def test_gateway_on_the_network_does_not_start_without_a_certificate() -> None:
    with pytest.raises(PlainNetwork, match=r"0\.0\.0\.0"):
        ServerCertificate(GatewayConfig(host="0.0.0.0"))


async def test_setting_for_a_proxy_turns_tls_off_and_is_logged(
    make_gateway: MakeGateway, site: Site
) -> None:
    async with make_gateway(**files(site, host="0.0.0.0", plain_network=True)) as gateway:
        gateway.scheme = "ws"
        assert await answered(await gateway.connect(), 1)
        assert gateway.log_lines("calls are not encrypted")[0]["level"] == "warning"
        assert gateway.metric("voice_tls_certificate_expiry_timestamp_seconds") == 0


@pytest.mark.parametrize("missing", ["chain", "key"])
def test_missing_file_is_named_at_start(site: Site, missing: str) -> None:
    path: Path = getattr(site, missing)
    path.unlink()
    with pytest.raises(BadCertificate, match=path.name):
        ServerCertificate(GatewayConfig(**files(site)))


def test_client_certificates_need_tls() -> None:
    with pytest.raises((BadSetting, ValueError), match="need TLS"):
        GatewayConfig(tls_client_ca="ca.pem")
