"""What strangers cost the callers: python -m tests.bench.strangers [--seconds 60] [--plain].

Two gateways run at the same time, each with two calls over TLS. One of them is attacked: by
connections that send nothing, and by refused attempts at a steady rate, each with a TLS handshake
of its own. The other one is the control: it has the same share of the machine. Compared are the lag
of their event loops and their CPU time. The attack itself runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from appliance.gpu_proof.record import percentile
from client.config import Config
from tests.bench import lag
from tests.bench.capacity import call
from tests.bench.figures import machine, row, verdict
from tests.bench.gateway import SETTINGS, MeasuredGateway, as_a_site_has_it, running
from tests.e2e.appliance import ROOT, Appliance

IDLE_CONNECTIONS = 4_000
REFUSALS_PER_SECOND = 300
OPENED_PER_TICK, TICK_SECONDS = 3, 0.01
SECONDS = 60.0
CALLERS = 2
TURNS = 2  # of a call, before the caller calls again
PROBES = ("/healthz", "/readyz")
PROBE_SECONDS = 1.0
MAX_LAG_RATIO = 1.5
MAX_GROWTH_MIB = 32.0
MIB = 2**20
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Authorization: Bearer wrong\r\n\r\n"
)


async def attack(port: int, seconds: float, tls: ssl.SSLContext | None) -> None:
    """Hold IDLE_CONNECTIONS, and make REFUSALS_PER_SECOND attempts; print how many were refused."""
    idle: list[asyncio.StreamWriter] = []
    refused = 0

    async def hold() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        idle.append(writer)

    async def guess() -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        writer.write(UPGRADE.encode())
        answer = await reader.read()
        writer.close()
        refused += answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 429"))

    async def at_a_steady_rate(act: Callable[[], Awaitable[None]], count: int) -> None:
        began = time.monotonic()
        tasks: set[asyncio.Task[None]] = set()

        async def one() -> None:
            with contextlib.suppress(OSError):
                await act()

        for number in range(count):
            if number % OPENED_PER_TICK == 0:
                tick = began + number / OPENED_PER_TICK * TICK_SECONDS
                await asyncio.sleep(max(0.0, tick - time.monotonic()))
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    with contextlib.suppress(TimeoutError):  # a busy machine makes fewer attempts
        async with asyncio.timeout(seconds):
            await asyncio.gather(
                at_a_steady_rate(hold, IDLE_CONNECTIONS),
                at_a_steady_rate(guess, int(seconds * REFUSALS_PER_SECOND)),
            )
    print(refused, len(idle))


async def measure(folder: Path, seconds: float = SECONDS, *, plain: bool = False) -> list[str]:
    """Attack one of two gateways. Return the lines to print. `plain`: without TLS."""
    start = _plain_gateway if plain else _gateway
    async with start(folder / "control") as control, start(folder / "attacked") as attacked:
        gateways = (control, attacked)
        over = asyncio.Event()
        for each in gateways:
            # Loads modules, and memory that every call takes.
            await asyncio.gather(*(call(each.config, 0, 1) for _ in range(CALLERS)))
        calling = [
            asyncio.create_task(_call_again(each.config, number, over))
            for each in gateways
            for number in range(CALLERS)
        ]
        memory = [each.process.memory_info().rss for each in gateways]
        attacker = _start_attack(attacked, seconds, plain=plain)
        began, cpu = time.monotonic(), [each.cpu_seconds() for each in gateways]
        statuses, most = await _watch(control, attacked, began + seconds)
        refused = await asyncio.to_thread(attacker.communicate)
        ended = time.monotonic()
        cpu = [each.cpu_seconds() - before for each, before in zip(gateways, cpu, strict=True)]
        over.set()
        turns = [await each for each in calling]
        await asyncio.sleep(2 * lag.FLUSH_SECONDS)
        lags = [lag.lags(each.run_folder, began, ended) for each in gateways]
    attempts, held = map(int, refused[0].split())
    grown = [(after - before) / MIB for after, before in zip(most, memory, strict=True)]
    p99 = [percentile(each, 0.99) for each in lags]
    return [
        f"Strangers: {held:,} silent connections and {attempts / (ended - began):.0f} refusals a"
        f" second, beside {CALLERS} calls, {'without' if plain else 'over'} TLS",
        f"  CPU of the control {cpu[0] / (ended - began) * 100:.1f} %, under attack"
        f" {cpu[1] / (ended - began) * 100:.1f} %: {(cpu[1] - cpu[0]) / attempts * 1000:.2f} ms for"
        " each refusal",
        row("event loop lag of the control", lags[0], "ms", 1000),
        row("event loop lag under attack", lags[1], "ms", 1000),
        f"  p99 {p99[0] * 1000:.2f} ms and {p99[1] * 1000:.2f} ms;"
        f" turns answered {sum(turns[:CALLERS])} and {sum(turns[CALLERS:])}",
        verdict("event loop lag p99, ratio to the control", p99[1] / p99[0], MAX_LAG_RATIO, ""),
        f"  memory of the control {grown[0]:+.1f} MiB",
        verdict("memory under attack, more", grown[1], MAX_GROWTH_MIB, "MiB"),
        verdict("probes not answered", sum(code != 200 for code in statuses), 0, ""),
    ]


async def _call_again(config: Config, number: int, over: asyncio.Event) -> int:
    """Call until `over`. Return the number of turns that were answered."""
    answered = 0
    while not over.is_set():
        records = await call(config, 0.37 * number, TURNS)
        answered += sum(record.outcome == "answered" for record in records)
    return answered


async def _watch(
    control: MeasuredGateway, attacked: MeasuredGateway, until: float
) -> tuple[list[int], list[int]]:
    """Probe the attacked gateway until then. Return the statuses and the most memory of both."""
    statuses: list[int] = []
    most = [0, 0]
    while time.monotonic() < until:
        statuses += [await _probe(attacked.config, path) for path in PROBES]
        now = [int(each.process.memory_info().rss) for each in (control, attacked)]
        most = [max(pair) for pair in zip(most, now, strict=True)]
        await asyncio.sleep(PROBE_SECONDS)
    return statuses, most


async def _probe(config: Config, path: str) -> int:
    """Return the status of a probe, or 0 without an answer in five seconds."""
    host, _, port = config.host.partition(":")
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(host, int(port), ssl=config.tls())
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            return int(answer.split(b" ")[1])
    except (OSError, IndexError):
        return 0


def _gateway(folder: Path) -> contextlib.AbstractAsyncContextManager[MeasuredGateway]:
    return as_a_site_has_it(folder, "tests.bench.lag")


@contextlib.asynccontextmanager
async def _plain_gateway(folder: Path) -> AsyncIterator[MeasuredGateway]:
    appliance = Appliance(folder, SETTINGS)
    config = Config(url=appliance.url, token=appliance.token)
    async with running(appliance, config, "tests.bench.lag") as gateway:
        yield gateway


def _start_attack(
    gateway: MeasuredGateway, seconds: float, *, plain: bool
) -> subprocess.Popen[str]:
    port = gateway.config.host.partition(":")[2]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.bench.strangers"),
            *("--attack", port, "--seconds", str(seconds)),
            *(["--plain"] if plain else []),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def _trusting_everybody() -> ssl.SSLContext:
    """Return a context without verification, which costs the attacker time."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.strangers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of attack ({SECONDS:g})")
    parser.add_argument("--attack", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help="without TLS")
    args = parser.parse_args()
    if args.attack:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        tls = None if args.plain else _trusting_everybody()
        asyncio.run(attack(args.attack, args.seconds, tls))
        return
    print(f"On {machine()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="voice-strangers.") as folder:
        lines = asyncio.run(measure(Path(folder), args.seconds, plain=args.plain))
        print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
