"""Misuse of tokens, tickets, cookies and logins."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from appliance.access import signed
from tests.gateway.attack.gateways import GatewayProcess, Headers
from tests.gateway.attack.referees import Court

TRIES = 100
RACERS = 10
JSON = {"Content-Type": "application/json"}


async def guess_logins(gateway: GatewayProcess) -> None:
    for number in range(TRIES):
        body = json.dumps({"token": f"a wrong token {number}"}).encode()
        assert (await gateway.ask("POST", "/login", JSON, body)).status in (401, 429)


async def vary_a_token(gateway: GatewayProcess) -> None:
    """Send what resembles a token: another secret or tag, cut, repeated, in the URL, expired."""
    right = gateway.tokens["thief"]["Authorization"]
    start, _, tag = right.rpartition(".")
    texts = [
        *(f"{start}.{number:022d}" for number in range(TRIES)),
        right[:-1],
        right + "x",
        f"{right} {right}",
        f"{right}.{tag}",
        f"Bearer va.{'0' * 12}.{'A' * 43}.{tag}",
    ]
    tried: list[tuple[Headers, str]] = [({"Authorization": text}, "/ws") for text in texts]
    in_url: tuple[Headers, str] = ({}, f"/ws?token={right.removeprefix('Bearer ')}")
    assert await gateway.statuses(*tried) <= {401, 429}
    assert await gateway.statuses(*[in_url] * 3) <= {400, 429}
    assert await gateway.status(gateway.tokens["old"]) == 401


async def race_tickets(gateway: GatewayProcess) -> None:
    """Use each ticket many times at once, and then again: one call each."""
    for _ in range(5):
        path = f"/ws?token={await gateway.ticket('thief')}"
        raced = await asyncio.gather(*(gateway.status({}, path) for _ in range(RACERS)))
        assert raced.count(101) == 1
        assert await gateway.status({}, path) in (401, 429)


async def forge_passes(gateway: GatewayProcess) -> None:
    token_id = gateway.tokens["thief"]["Authorization"].split(".")[1]
    for number in range(TRIES):
        nonce = number.to_bytes(signed.NONCE_BYTES, "big")
        text = signed.sign(signed.TICKET, token_id, 9_999_999_999, nonce, b"k" * 32)
        cookie = {"Cookie": f"__Host-voice={text}", "Origin": f"https://{gateway.address}"}
        tried = await gateway.statuses(({}, f"/ws?token={text}"), (cookie, "/ws"))
        assert tried <= {401, 429}


async def call_across_origins(gateway: GatewayProcess) -> None:
    """Let a page of another origin use the cookie of a browser that logged in."""
    answer = await gateway.ask("POST", "/login", gateway.tokens["thief"])
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    for origin in ("https://evil.example", "null", f"http://{gateway.address}", ""):
        headers = cookie | ({"Origin": origin} if origin else {})
        assert await gateway.status(headers) == 403
        assert (await gateway.ask("POST", "/start", headers)).status == 403


@contextlib.asynccontextmanager
async def bodies_held_back(gateway: GatewayProcess) -> AsyncIterator[None]:
    head = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    opened = [await gateway.connection() for _ in range(TRIES)]
    for _, writer in opened:
        writer.write(f"{head}Content-Length: 2000\r\n\r\n{{".encode())
    yield
    for _, writer in opened:
        writer.transport.abort()


async def test_misuse_of_tokens_costs_two_callers_nothing(court: Court) -> None:
    gateway = court.attacked
    stolen = await gateway.call(gateway.tokens["stolen"])
    stolen.mute()
    await gateway.hash_tokens()
    async with court.in_session(), bodies_held_back(gateway):
        await asyncio.gather(race_tickets(gateway), call_across_origins(gateway))
        gateway.store.revoke("stolen")
        await asyncio.gather(guess_logins(gateway), vary_a_token(gateway), forge_passes(gateway))
        assert (await stolen.wait_closed())[0] == 1008
        assert await gateway.status(gateway.tokens["stolen"]) in (401, 429)
    await stolen.disconnect()
