"""Attacks of strangers and misuse of tokens on a gateway process, with two calls as referees.

The gateway runs in a process of its own, as in the appliance, with engines that answer at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.frames import Frame, Opcode

from appliance.access import signed
from tests.gateway.conftest import TIMEOUT_SECONDS, TOKEN, SimulatedClient, free_port
from tests.gateway.http.test_tokens import TokenFile
from tests.gateway.requests import Answer, send

ROOT = Path(__file__).parents[3]
IDLE_CONNECTIONS = 4_000
REFUSALS = 3_000
ENDLESS_HEADS = 20
GROWTH_BYTES = 32 << 20
TRIES = 100
RACERS = 10
JSON = {"Content-Type": "application/json"}


@dataclass
class Attacked:
    """A gateway process under attack."""

    port: int
    process: psutil.Process
    log: Path
    tokens: dict[str, dict[str, str]]  # headers with named tokens, by name
    store: TokenFile

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open(self, headers: dict[str, str], query: str = "") -> ClientConnection:
        return await connect(f"ws://{self.address}/ws{query}", additional_headers=headers)

    async def call(self, headers: dict[str, str] | None = None) -> SimulatedClient:
        headers = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
        client = SimulatedClient(await self.open(headers))
        await client.send("client-ready", {"version": "2.0.0", "about": {"library": "tests"}})
        await client.wait_until(lambda: client.messages("bot-ready"))
        return client

    async def probe(self, path: str) -> int:
        def fetch() -> int:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=TIMEOUT_SECONDS) as r:
                return int(r.status)

        return await asyncio.to_thread(fetch)

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def attacked(tmp_path: Path) -> AsyncIterator[Attacked]:
    """A ready gateway process with instant engines."""
    port, log = free_port(), tmp_path / "log"
    token = tmp_path / "token"
    token.write_text(TOKEN)
    store = TokenFile(tmp_path)
    tokens = {name: store.create(name) for name in ("ward-1", "ward-2", "thief", "stolen")}
    tokens["old"] = store.create("old", expires_in=-1)
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "VOICE_PATHS_RUN": str(tmp_path),
        "VOICE_GATEWAY_PORT": str(port),
        "VOICE_GATEWAY_TOKEN_FILE": str(token),
        "VOICE_GATEWAY_TOKEN_STORE": str(store.path),
        "VOICE_GATEWAY_MAX_SESSIONS": "8",
        "VOICE_GATEWAY_DRAIN_SECONDS": "0",
    }
    commands = (["tests.bench.instant", str(tmp_path)], ["appliance", "gateway"])
    with log.open("wb") as output:
        started = [
            subprocess.Popen(  # noqa: ASYNC220 - it does not wait
                [sys.executable, "-m", *command], env=environ, stdout=output
            )
            for command in commands
        ]
    try:
        running = Attacked(port, psutil.Process(started[1].pid), log, tokens, store)
        async with asyncio.timeout(2 * TIMEOUT_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    if await running.probe("/readyz") == 200:
                        break
                await asyncio.sleep(0.1)
        yield running
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(TIMEOUT_SECONDS)


async def hold_idle_connections(gateway: Attacked, until: asyncio.Event) -> None:
    opened = [await gateway.connection() for _ in range(IDLE_CONNECTIONS)]
    await until.wait()
    for _, writer in opened:
        writer.transport.abort()


async def guess(gateway: Attacked) -> None:
    upgrade = (
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Authorization: Bearer wrong\r\nX-Forwarded-For: 192.0.2.{}\r\n\r\n"
    )
    for number in range(REFUSALS):
        with contextlib.suppress(ConnectionError):
            reader, writer = await gateway.connection()
            writer.write(upgrade.format(number % 250).encode())
            await reader.read()
            writer.close()


async def send_endless_heads(gateway: Attacked) -> None:
    for _ in range(ENDLESS_HEADS):
        with contextlib.suppress(ConnectionError):
            _, writer = await gateway.connection()
            writer.write(b"GET /ws HTTP/1.1\r\nX: ")
            while True:
                writer.write(b"a" * 65_536)
                await writer.drain()


async def flood(gateway: Attacked) -> None:
    """Use the token, and send pings until the gateway hangs up; twice."""
    pings = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 1_000
    for _ in range(2):
        client = await gateway.call()
        transport = client.socket.transport
        while not client.closed and not transport.is_closing():
            transport.write(pings)
            await asyncio.sleep(0)
        await client.wait_closed()
        assert client.socket.close_code == 1008
        await client.disconnect()


async def watch_memory(gateway: Attacked, until: asyncio.Event) -> int:
    """Return the most memory in use until the attack ends, in bytes."""
    most = 0
    while not until.is_set():
        most = max(most, int(gateway.process.memory_info().rss))
        await asyncio.sleep(0.05)
    return most


async def talk(client: SimulatedClient, until: asyncio.Event) -> int:
    """Take turns until the attack ends, and one more. Return how many."""
    number = 1  # of the turn before
    while True:
        last = until.is_set()
        number += 1
        await client.type(f"Question {number}.")
        assert (await client.turn(number))["outcome"] == "answered"
        if last:
            return number - 1


async def test_strangers_and_flooders_cost_two_callers_no_turn(attacked: Attacked) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    referees = [await attacked.call() for _ in range(2)]
    for referee in referees:  # memory that every first turn takes
        await referee.type("Hello.")
        assert (await referee.turn(1))["outcome"] == "answered"
    before = attacked.process.memory_info().rss
    over = asyncio.Event()
    talking = [asyncio.create_task(talk(referee, over)) for referee in referees]
    memory = asyncio.create_task(watch_memory(attacked, over))
    idle = asyncio.create_task(hold_idle_connections(attacked, over))
    await asyncio.gather(guess(attacked), send_endless_heads(attacked), flood(attacked))
    assert [await attacked.probe(path) for path in ("/healthz", "/readyz")] == [200, 200]
    over.set()
    growth = await memory - before
    await idle
    turns = [await each for each in talking]
    print(f"\n{growth / 2**20:.1f} MiB more, turns during the attack: {turns}")
    assert growth < GROWTH_BYTES
    assert not any(referee.closed for referee in referees)
    for referee in referees:
        await referee.disconnect()
    lines = [json.loads(line) for line in attacked.log.read_text().splitlines()]
    assert len([line for line in lines if line["event"].startswith("refused")]) < 20
    assert [line for line in lines if line["level"] in ("error", "critical")] == []


async def statuses(gateway: Attacked, *attempts: tuple[dict[str, str], str]) -> set[int]:
    """Try to call with headers and a query, one after the other. Return the HTTP statuses."""
    found = set()
    for headers, query in attempts:
        found.add(await status(gateway, headers, query))
    return found


async def status(gateway: Attacked, headers: dict[str, str], query: str) -> int:
    """Try to call until there is an answer: the attack fills the places of this address, too."""
    while True:
        try:
            await (await gateway.open(headers, query)).close()
            return 101
        except InvalidStatus as refused:
            return refused.response.status_code
        except (ConnectionError, InvalidMessage):
            continue  # let go before its head was complete


async def guess_logins(gateway: Attacked) -> None:
    for number in range(TRIES):
        body = json.dumps({"token": f"a wrong token {number}"}).encode()
        assert (await send(gateway, "POST", "/login", JSON, body)).status in (401, 429)


async def vary_a_token(gateway: Attacked) -> None:
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
    tried = [({"Authorization": text}, "") for text in texts]
    in_url: list[tuple[dict[str, str], str]] = [({}, f"?token={right.removeprefix('Bearer ')}")] * 3
    assert await statuses(gateway, *tried) <= {401, 429}
    assert await statuses(gateway, *in_url) <= {400, 429}
    assert await statuses(gateway, (gateway.tokens["old"], "")) == {401}


async def ask(gateway: Attacked, method: str, path: str, headers: dict[str, str]) -> Answer:
    """Send a request until it is answered: the attack fills the places of this address, too."""
    while True:
        with contextlib.suppress(ConnectionError):
            return await send(gateway, method, path, headers)


async def race_tickets(gateway: Attacked) -> None:
    """Use each ticket many times at once, and then again: one call each."""
    for _ in range(5):
        started = await ask(gateway, "POST", "/start", gateway.tokens["thief"])
        query = f"?token={started.json['token']}"
        raced = await asyncio.gather(*(statuses(gateway, ({}, query)) for _ in range(RACERS)))
        assert raced.count({101}) == 1
        assert await statuses(gateway, ({}, query)) <= {401, 429}


async def forge_passes(gateway: Attacked) -> None:
    token_id = gateway.tokens["thief"]["Authorization"].split(".")[1]
    for number in range(TRIES):
        nonce = number.to_bytes(signed.NONCE_BYTES, "big")
        text = signed.sign(signed.TICKET, token_id, 9_999_999_999, nonce, b"k" * 32)
        cookie = {"Cookie": f"__Host-voice={text}", "Origin": f"http://{gateway.address}"}
        assert await statuses(gateway, ({}, f"?token={text}"), (cookie, "")) <= {401, 429}


async def call_across_origins(gateway: Attacked) -> None:
    """Let a page of another origin use the cookie of a browser that logged in."""
    answer = await ask(gateway, "POST", "/login", gateway.tokens["thief"])
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    for origin in ("https://evil.example", "null", f"https://{gateway.address}", ""):
        headers = cookie | ({"Origin": origin} if origin else {})
        assert await statuses(gateway, (headers, "")) == {403}
        assert (await ask(gateway, "POST", "/start", headers)).status == 403


async def hold_bodies_back(gateway: Attacked, until: asyncio.Event) -> None:
    head = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    opened = [await gateway.connection() for _ in range(TRIES)]
    for _, writer in opened:
        writer.write(f"{head}Content-Length: 2000\r\n\r\n{{".encode())
    await until.wait()
    for _, writer in opened:
        writer.transport.abort()


async def test_misuse_of_tokens_costs_two_callers_no_turn(attacked: Attacked) -> None:
    referees = [await attacked.call(attacked.tokens[name]) for name in ("ward-1", "ward-2")]
    stolen = await attacked.call(attacked.tokens["stolen"])
    for referee in referees:
        await referee.type("Hello.")
        assert (await referee.turn(1))["outcome"] == "answered"
    before = attacked.process.memory_info().rss
    over = asyncio.Event()
    talking = [asyncio.create_task(talk(referee, over)) for referee in referees]
    memory = asyncio.create_task(watch_memory(attacked, over))
    bodies = asyncio.create_task(hold_bodies_back(attacked, over))
    await asyncio.gather(race_tickets(attacked), call_across_origins(attacked))
    attacked.store.revoke("stolen")
    await asyncio.gather(guess_logins(attacked), vary_a_token(attacked), forge_passes(attacked))
    assert (await stolen.wait_closed())[0] == 1008
    assert await statuses(attacked, (attacked.tokens["stolen"], "")) <= {401, 429}
    assert [await attacked.probe(path) for path in ("/healthz", "/readyz")] == [200, 200]
    over.set()
    growth = await memory - before
    await bodies
    turns = [await each for each in talking]
    print(f"\n{growth / 2**20:.1f} MiB more, turns during the attack: {turns}")
    assert growth < GROWTH_BYTES
    assert not any(referee.closed for referee in referees)
    for client in (*referees, stolen):
        await client.disconnect()
    content = attacked.log.read_text()
    lines = [json.loads(line) for line in content.splitlines()]
    assert len([line for line in lines if line["event"].startswith("refused")]) < 40
    assert [line for line in lines if line["level"] in ("error", "critical")] == []
    for headers in attacked.tokens.values():
        assert headers["Authorization"].split(".")[2] not in content
