"""Named tokens on the real gateway: limits, expiry, revocation, and a store that is damaged."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from appliance.access import file
from appliance.access.store import Store, new_store, write
from appliance.access.token import Limits
from appliance.errors import BadSetting
from appliance.gateway.http.gatekeeper import Gatekeeper
from appliance.gateway.metrics import WEAKNESSES
from appliance.settings import GatewayConfig
from tests.gateway.captured_log import captured_log
from tests.gateway.requests import send
from tests.gateway.running_gateway import TOKEN, MakeGateway, RunningGateway
from tests.gateway.simulated_client import SimulatedClient
from tests.gateway.test_server import connect_refused


class TokenFile:
    """The store of a test, as an operator changes it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tokens"

    def create(
        self, name: str, *, expires_in: float | None = None, limits: Limits | None = None
    ) -> dict[str, str]:
        """Create a token. Return the header that presents it."""
        texts: list[str] = []
        now = int(time.time())
        expires = None if expires_in is None else int(now + expires_in)

        def changed(store: Store | None) -> Store:
            store, text = (store or new_store(secrets.token_bytes)).create(
                name, now, secrets.token_bytes, expires=expires, limits=limits
            )
            texts.append(text)
            return store

        file.change(self.path, changed)
        return {"Authorization": f"Bearer {texts[0]}"}

    def revoke(self, name: str) -> None:
        def changed(store: Store | None) -> Store:
            assert store is not None
            return store.revoke(name)

        file.change(self.path, changed)

    def expire(self, name: str) -> None:
        """Let a token expire now."""

        def changed(store: Store | None) -> Store:
            token = store.find(name) if store else None
            assert store is not None and token is not None
            expired = dataclasses.replace(token, expires=int(time.time()))
            return dataclasses.replace(store, tokens={**store.tokens, token.id: expired})

        file.change(self.path, changed)


SHARED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path)


async def call(gateway: RunningGateway, headers: dict[str, str]) -> SimulatedClient:
    client = SimulatedClient(await gateway.open_socket(headers))
    gateway._clients.append(client)
    await client.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
    await client.wait_until(lambda: client.messages("bot-ready"))
    return client


async def answered(client: SimulatedClient) -> None:
    number = len(client.turns) + 1
    await client.type("Hello.")
    assert (await client.turn(number))["outcome"] == "answered"


def from_address(number: int) -> dict[str, str]:
    """Return the header with which a trusted proxy names the client."""
    return {"X-Forwarded-For": f"192.0.2.{number + 1}"}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def shared_file(gateway: RunningGateway) -> Path:
    """The file of the gateway's shared token."""
    return gateway.run / "token"


def replace(path: Path, text: str) -> None:
    """Write a file with another inode and a rename, as many tools do."""
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_text(text)
    new.replace(path)


def audit(gateway: RunningGateway, action: str) -> list[Any]:
    return [line for line in gateway.log_lines("audit") if line["action"] == action]


async def test_revocation_ends_the_calls_of_its_token_only(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward, kiosk = tokens.create("ward-3"), tokens.create("kiosk")
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        ended = [await call(gateway, ward), await call(gateway, ward)]
        other, shared = await call(gateway, kiosk), await gateway.connect()
        tokens.revoke("ward-3")
        for client in ended:
            code, reason = await client.wait_closed()
            assert (code, str(reason).split(":")[0]) == (1008, "token_revoked")
        assert await connect_refused(gateway, ward) == (401, "wrong_token", None)
        await answered(other)
        await answered(shared)
        assert [line["token"] for line in audit(gateway, "token_revoked")] == ["ward-3"]
        await gateway.wait_until(lambda: len(audit(gateway, "call_ended")) == 2)
        assert {line["reason"] for line in audit(gateway, "call_ended")} == {"token_revoked"}
        assert gateway.logged_errors() == []
        assert ward["Authorization"].split(".")[2].encode() not in gateway.raw_log()


async def test_new_token_is_admitted_without_a_restart(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        shared, login = await gateway.connect(), await send(gateway, "POST", "/login", SHARED)
        ticket = (await send(gateway, "POST", "/start", SHARED)).json["token"]
        ward = tokens.create("ward-3")  # the first one of this store
        await gateway.wait_until(lambda: audit(gateway, "token_created"))
        await answered(await call(gateway, ward))
        await answered(shared)
        cookie = {"Cookie": login.headers["set-cookie"].partition(";")[0]}
        await answered(await call(gateway, cookie | {"Origin": f"http://{gateway.address}"}))
        await (await connect(f"ws://{gateway.address}/ws?token={ticket}")).close()
        callers = [line["token"] for line in audit(gateway, "call_started")]
        assert callers == ["shared", "ward-3", "shared", "shared"]
        assert [line["token"] for line in audit(gateway, "token_created")] == ["ward-3"]
        assert audit(gateway, "token_revoked") == []
        assert gateway.metric("voice_tokens") == 2


async def test_token_that_was_created_again_is_another_one(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    old = tokens.create("ward-3")
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        client = await call(gateway, old)
        tokens.revoke("ward-3")
        new = tokens.create("ward-3")
        assert (await client.wait_closed())[0] == 1008
        assert (await connect_refused(gateway, old))[:2] == (401, "wrong_token")
        await answered(await call(gateway, new))


async def test_expiry_ends_calls_and_refuses_new_ones(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3", expires_in=3600)
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        client, other = await call(gateway, ward), await gateway.connect()
        tokens.expire("ward-3")
        code, reason = await client.wait_closed()
        assert (code, str(reason).split(":")[0]) == (1008, "token_expired")
        assert await connect_refused(gateway, ward) == (401, "expired_token", None)
        await answered(other)
        assert [line["token"] for line in audit(gateway, "token_expired")] == ["ward-3"]
        assert audit(gateway, "token_revoked") == []


async def test_uses_of_an_expired_token_are_recorded_by_name(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3", expires_in=-1)
    tokens.create("kiosk", expires_in=-1)
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        assert (await connect_refused(gateway, ward))[:2] == (401, "expired_token")
        (line,) = audit(gateway, "expired_token_used")  # of the token that was used, and at once
        assert (line["token"], line["count"]) == ("ward-3", 1)


async def test_many_uses_of_an_expired_token_are_two_lines(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3", expires_in=-1)
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        for _ in range(20):
            await connect_refused(gateway, ward)
        refused = await send(gateway, "POST", "/login", ward)
        assert refused.status == 401
    uses = audit(gateway, "expired_token_used")
    assert [(line["token"], line["count"]) for line in uses] == [("ward-3", 1), ("ward-3", 20)]


async def test_call_beyond_a_limit_of_its_token_is_refused(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    one_call = tokens.create("one-call", limits=Limits(calls=1))
    seldom = tokens.create("seldom", limits=Limits(attempts_per_minute=2))
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        first = await call(gateway, one_call)
        assert (await connect_refused(gateway, one_call))[:2] == (503, "token_full")
        await answered(first)
        for _ in range(2):
            await (await gateway.open_socket(seldom)).close()
        assert (await connect_refused(gateway, seldom))[:2] == (429, "too_many_attempts")
        await answered(await gateway.connect())


async def test_minutes_of_a_day_end_the_call_that_uses_them_up(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    short = tokens.create("short", limits=Limits(minutes_per_day=1))
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        client, other = await call(gateway, short), await gateway.connect()
        caller = next(c for c in gateway.gatekeeper._verifier.credentials if c.name == "short")
        gateway.server.control.calls._use.add(
            caller.id, 60.0, time.time()
        )  # instead of a minute's wait
        code, reason = await client.wait_closed()
        assert (code, str(reason).split(":")[0]) == (1008, "daily_minutes")
        status, refused, retry_after = await connect_refused(gateway, short)
        assert (status, refused) == (429, "minutes_used") and int(retry_after or 0) > 0
        await answered(other)


async def test_named_token_leaves_a_place_to_the_others(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward, all_places = tokens.create("ward-3"), tokens.create("all", limits=Limits(calls=3))
    async with make_gateway(token_store=str(tokens.path), max_sessions=3) as gateway:
        first = [await call(gateway, ward), await call(gateway, ward)]
        assert (await connect_refused(gateway, ward))[:2] == (503, "token_full")
        await answered(await gateway.connect())
        for client in gateway._clients:
            await client.disconnect()
        await gateway.wait_sessions_closed()
        assert all(client.closed for client in first)
        for headers in (SHARED, all_places):  # the only token of a site fills it, too
            clients = [await call(gateway, headers) for _ in range(3)]
            assert (await connect_refused(gateway, ward))[:2] == (503, "full")
            await asyncio.gather(*(client.disconnect() for client in clients))
            await gateway.wait_sessions_closed()


async def test_silent_call_of_a_token_gives_way_to_another_call_of_it(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    kiosk = tokens.create("kiosk", limits=Limits(calls=1))
    async with make_gateway(token_store=str(tokens.path), yield_seconds=0.01) as gateway:
        other, silent = await gateway.connect(), await call(gateway, kiosk)
        await answered(await call(gateway, kiosk))
        code, reason = await silent.wait_closed()
        assert (code, str(reason).split(":")[0]) == (1000, "made_room")
        await answered(other)  # it was silent for longer


async def test_attempts_of_a_token_are_limited_over_all_addresses(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    leaked = tokens.create("leaked", limits=Limits(attempts_per_minute=3))
    ward = tokens.create("ward-3")
    proxy: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",)}
    async with make_gateway(token_store=str(tokens.path), **proxy) as gateway:
        results = [
            (await send(gateway, "POST", "/start", leaked | from_address(number % 6))).status
            for number in range(30)
        ]
        assert results == [200] * 3 + [429] * 27
        for headers in (ward, SHARED):
            await answered(await call(gateway, headers | from_address(0)))


async def test_damaged_or_removed_store_ends_no_call_and_is_reported(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3")
    content = tokens.path.read_bytes()
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        client = await call(gateway, ward)
        for damage in (lambda: tokens.path.write_text("damaged"), tokens.path.unlink):
            damage()
            await gateway.wait_until(lambda: gateway.metric("voice_token_store_failing") == 1)
            await answered(client)
            await answered(await call(gateway, ward))
            tokens.path.write_bytes(content)
            await gateway.wait_until(lambda: gateway.metric("voice_token_store_failing") == 0)
        reports = gateway.log_lines("token store unreadable")
        assert [line["level"] for line in reports] == ["error", "error"]
        assert all("token_store" in line["what"] for line in reports)
        assert not client.closed


async def test_changed_token_file_ends_the_calls_of_the_old_token_only(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3")
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        old, other = await gateway.connect(), await call(gateway, ward)
        text = secrets.token_urlsafe(32)
        shared_file(gateway).write_text(text)
        code, reason = await old.wait_closed()
        assert (code, str(reason).split(":")[0]) == (1008, "token_revoked")
        assert (await connect_refused(gateway, bearer(TOKEN)))[:2] == (401, "wrong_token")
        await answered(await call(gateway, bearer(text)))
        await answered(other)
        for action in ("token_created", "token_revoked"):
            assert [line["token"] for line in audit(gateway, action)] == ["shared"]
        assert text.encode() not in gateway.raw_log()


async def test_token_file_that_was_written_again_ends_no_call(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        client = await gateway.connect()
        replace(shared_file(gateway), TOKEN + "\n")
        await gateway.gatekeeper.reload()
        await answered(client)
        assert audit(gateway, "token_revoked") == []


async def test_damaged_or_removed_token_file_ends_no_call_and_is_reported(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway() as gateway:
        client = await gateway.connect()
        path = shared_file(gateway)
        for damage in (partial(replace, path, "too short"), path.unlink):
            damage()
            await gateway.wait_until(lambda: gateway.metric("voice_token_store_failing") == 1)
            await answered(client)
            await answered(await gateway.connect())
            replace(path, TOKEN)
            await gateway.wait_until(lambda: gateway.metric("voice_token_store_failing") == 0)
        reports = gateway.log_lines("token file unreadable")
        assert [line["level"] for line in reports] == ["error", "error"]
        assert not client.closed


async def test_token_file_can_be_added_to_a_store_while_the_gateway_runs(
    tokens: TokenFile, tmp_path: Path
) -> None:
    tokens.create("ward-3")
    settings = GatewayConfig(token_store=str(tokens.path), token_file=str(tmp_path / "shared"))
    gatekeeper = Gatekeeper(settings)
    assert gatekeeper.count() == 1
    replace(tmp_path / "shared", TOKEN)
    assert list((await gatekeeper.reload()).created) == ["shared"]
    assert gatekeeper.count() == 2 and not gatekeeper.failing
    gatekeeper.close()


async def test_only_one_hash_is_computed_for_a_token_and_none_for_guesses(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3")
    text = ward["Authorization"]
    token_id = text.split(".")[1]
    guesses = [
        text[:-1] + ("A" if text[-1] != "A" else "B"),
        text.replace(token_id, "0" * 12),
        f"Bearer va.{token_id}.{'A' * 43}.{'A' * 22}",
        "Bearer " + "v" * 5000,
        "Bearer va.",
    ]
    async with make_gateway(token_store=str(tokens.path), max_sessions=8) as gateway:
        for guess in guesses:
            assert (await connect_refused(gateway, {"Authorization": guess}))[0] == 401
        assert gateway.gatekeeper._verifier.hashes == 0
        sockets = await asyncio.gather(*(gateway.open_socket(ward) for _ in range(6)))
        for socket in sockets:
            await socket.close()
        await gateway.wait_sessions_closed()
        await (await gateway.open_socket(ward)).close()
        assert gateway.gatekeeper._verifier.hashes == 1


async def test_right_token_is_not_locked_out_by_guesses(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    ward = tokens.create("ward-3")
    async with make_gateway(token_store=str(tokens.path), max_attempts_per_minute=3) as gateway:
        statuses = [(await connect_refused(gateway, {}))[0] for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        await answered(await call(gateway, ward))  # its hash was not computed before


async def test_token_store_without_a_token_file_is_enough(tokens: TokenFile) -> None:
    tokens.create("ward-3")
    gatekeeper = Gatekeeper(GatewayConfig(token_store=str(tokens.path)))
    assert gatekeeper.count() == 1
    gatekeeper.close()


@pytest.mark.parametrize("content", ["damaged", ""])
def test_damaged_store_prevents_the_start(tokens: TokenFile, content: str) -> None:
    tokens.path.write_text(content)
    with pytest.raises(BadSetting, match="token_store"):
        Gatekeeper(GatewayConfig(token_store=str(tokens.path)))


def test_gateway_without_any_token_setting_does_not_start() -> None:
    with pytest.raises(BadSetting, match="token_file"):
        Gatekeeper(GatewayConfig())


@pytest.mark.parametrize(
    ("mode", "events"), [(0o600, []), (0o644, ["token store readable by all users"])]
)
def test_exposed_store_is_logged(tokens: TokenFile, mode: int, events: list[str]) -> None:
    tokens.create("ward-3")
    tokens.path.chmod(mode)
    with captured_log() as log:
        Gatekeeper(GatewayConfig(token_store=str(tokens.path))).close()
    assert [json.loads(line)["event"] for line in log.getvalue().splitlines()] == events


async def test_store_that_becomes_readable_by_others_is_reported(
    make_gateway: MakeGateway, tokens: TokenFile
) -> None:
    def weak() -> float:
        return gateway.metric("voice_token_weak", weakness="readable_store")

    tokens.create("ward-3")
    async with make_gateway(token_store=str(tokens.path)) as gateway:
        assert not gateway.log_lines("token store readable by all users")
        tokens.path.chmod(0o644)
        await gateway.wait_until(weak)
        tokens.path.chmod(0o600)
        await gateway.wait_until(lambda: not weak())
        copied = tokens.path.with_suffix(".new")  # from another host of a pool
        copied.write_bytes(tokens.path.read_bytes())
        copied.chmod(0o644)
        copied.replace(tokens.path)
        await gateway.wait_until(weak)
        reports = gateway.log_lines("token store readable by all users")
        assert [line["level"] for line in reports] == ["warning", "warning"]
        assert audit(gateway, "token_revoked") == []


@pytest.mark.parametrize(
    ("text", "mode", "weakness"),
    [("s" * 31, 0o600, "short_token"), ("s" * 32, 0o644, "readable_token")],
)
async def test_weak_shared_token_is_a_metric_until_it_is_replaced(
    make_gateway: MakeGateway, text: str, mode: int, weakness: str
) -> None:
    def weak() -> list[str]:
        return [each for each in WEAKNESSES if gateway.metric("voice_token_weak", weakness=each)]

    async with make_gateway() as gateway:
        assert weak() == []
        path = shared_file(gateway)
        path.write_text(text)
        path.chmod(mode)
        await gateway.wait_until(lambda: weak() == [weakness])
        path.chmod(0o600)
        path.write_text(secrets.token_urlsafe(32))
        await gateway.wait_until(lambda: weak() == [])


def test_store_without_a_token_is_logged(tokens: TokenFile) -> None:
    tokens.path.write_text(write(new_store(secrets.token_bytes)))
    tokens.path.chmod(0o600)
    with captured_log() as log:
        Gatekeeper(GatewayConfig(token_store=str(tokens.path))).close()
    events = [json.loads(line)["event"] for line in log.getvalue().splitlines()]
    assert events == ["there is no access token yet"]
