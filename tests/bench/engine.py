"""python -m tests.bench.engine: how fast the production engine is on whatever device is there.

Everything goes through the link, as a gateway's requests do. Printed, never asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from appliance import journal, offline, settings
from appliance.errors import ApplianceError
from appliance.link.client import EngineClient
from appliance.link.engine import GenerateRequest, Result, SpeechEngine, Turn, Utterance
from appliance.link.protocol import HealthReport
from appliance.link.server import serve_link
from client.wav import read_wav
from tests.bench.figures import machine, percentile, row

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "golden" / "ultravox-tiny" / "checkpoint"
SPEECH = [read_wav(path) for path in sorted((ROOT / "client" / "questions").glob("*.wav"))]
BYTES_PER_SECOND = 32_000
TEMPERATURE = 1.0  # greedy, random weights fall into a loop, which ends the reply
SYSTEM = Turn("system", "You are a friendly voice assistant in a telephone call. " * 8)
RUNNING = re.compile(r"^voice_llm_requests_running (\S+)$", re.MULTILINE)


@dataclass
class Reply:
    """When each piece of one answer came, seconds after it was asked for; how it ended."""

    pieces: list[float] = field(default_factory=list)
    stats: dict[str, float] = field(default_factory=dict)

    @property
    def first(self) -> float:
        return self.stats.get("first_token_seconds", self.pieces[0] if self.pieces else 0.0)

    @property
    def rate(self) -> float:
        """Tokens a second after the first."""
        tokens = self.stats.get("decode_tokens", 0) - 1
        return tokens / (self.stats["total_seconds"] - self.first) if tokens > 0 else 0.0


class Bench:
    """Questions to one engine behind its socket."""

    def __init__(self, engine: SpeechEngine, path: Path, tokens: int) -> None:
        self._engine = engine
        self._path = path
        self._tokens = tokens
        self._random = np.random.default_rng(1)
        self._number = 0

    def client(self) -> EngineClient:
        """A caller of its own."""
        return EngineClient("llm", self._path, stall_seconds=600)

    def speech(self, client: EngineClient, seconds: float) -> Turn:
        """A question of this length that was never asked: another place, another loudness."""
        self._number += 1
        every = np.concatenate([np.frombuffer(pcm, "<i2") for pcm in SPEECH])
        start = int(self._random.integers(len(every)))
        count = int(seconds * BYTES_PER_SECOND) // 2
        samples = np.resize(np.roll(every, -start), count) * self._random.uniform(0.5, 0.9)
        utterance = Utterance(self._number)
        utterance.pcm += samples.astype("<i2").tobytes()
        utterance.complete = True
        client.add(utterance)
        return Turn("user", utterance=utterance.id)

    async def ask(self, client: EngineClient, *turns: Turn) -> Reply:
        """One reply and its times."""
        reply, began = Reply(), time.monotonic()
        request = GenerateRequest(turns, self._tokens, TEMPERATURE)
        async for piece in client.generate(request):
            if isinstance(piece, Result):
                reply.stats = {**piece.stats, "total_seconds": time.monotonic() - began}
            else:
                reply.pieces.append(time.monotonic() - began)
        return reply

    async def first_tokens(self, rounds: int) -> list[str]:
        """Time to first token of questions nobody asked before."""
        lines = ["time to first token, alone, nothing cached but the system prompt"]
        client = self.client()
        kinds = {"typed": 0.0, "1 s of speech": 1.0, "3 s of speech": 3.0, "10 s of speech": 10.0}
        rates: list[float] = []
        for name, seconds in kinds.items():
            firsts = []
            for number in range(rounds):
                said = (
                    self.speech(client, seconds)
                    if seconds
                    else Turn("user", f"Question {number}: {self._random.integers(10**9)}?")
                )
                reply = await self.ask(client, SYSTEM, said)
                firsts.append(reply.first)
                rates.append(reply.rate)
            lines.append(row(name, firsts, "ms", 1000))
        await client.close()
        return [*lines, row("tokens a second, one caller", rates, "1/s")]

    async def sweep(self, callers: Sequence[int]) -> list[str]:
        """All ask at the same moment, three times."""
        lines = ["callers at the same time, each with 3 s of speech"]
        for count in callers:
            clients = [self.client() for _ in range(count)]
            firsts, made, spent = [], 0.0, 0.0
            for _ in range(3):
                began = time.monotonic()
                said = [self.speech(client, 3.0) for client in clients]
                replies = await asyncio.gather(
                    *(
                        self.ask(client, SYSTEM, turn)
                        for client, turn in zip(clients, said, strict=True)
                    )
                )
                spent += time.monotonic() - began
                made += sum(reply.stats["decode_tokens"] for reply in replies)
                firsts += [reply.first for reply in replies]
            for client in clients:
                await client.close()
            lines.append(
                f"  {count:2} callers   first token p50 {percentile(firsts, 0.5) * 1000:7.0f} ms"
                f"   p95 {percentile(firsts, 0.95) * 1000:7.0f} ms   {made / spent:7.1f} tokens/s"
            )
        return lines

    async def cache(self, turns: int = 6) -> list[str]:
        """The last turn of a conversation: known from the turns before, and to a new engine."""
        client, known, unknown, cached = self.client(), [], [], []
        for _ in range(3):
            past = [SYSTEM]
            for number in range(turns):
                past.append(self.speech(client, 3.0))
                reply = await self.ask(client, *past)
                past.append(Turn("assistant", f"This is answer number {number}. " * 4))
            known.append(reply.first)
            cached.append(reply.stats["cached_tokens"] / reply.stats["prompt_tokens"])
            changed = Turn("system", f"{self._random.integers(10**9)} {SYSTEM.text}")
            unknown.append((await self.ask(client, changed, *past[1:-1])).first)
        await client.close()
        gain = percentile(unknown, 0.5) / max(percentile(known, 0.5), 1e-9)
        length = reply.stats["prompt_tokens"]
        return [
            f"prefix cache, turn {turns} of a conversation, {length:.0f} tokens",
            row("first token, the past is cached", known, "ms", 1000),
            row("first token, nothing is cached", unknown, "ms", 1000),
            f"  gain {gain:.1f}x; {percentile(cached, 0.5):.0%} of the prompt came from the cache",
        ]

    async def aborts(self, rounds: int) -> list[str]:
        """From the interruption until nothing runs in the engine."""
        client, taken = self.client(), []
        for _ in range(rounds):
            request = GenerateRequest((SYSTEM, Turn("user", "Go on.")), 400, TEMPERATURE)
            pieces = client.generate(request)
            async with contextlib.aclosing(pieces):
                await anext(pieces)
            began = time.monotonic()
            while float(RUNNING.search(self._engine.metrics().decode()).group(1)):  # type: ignore[union-attr]
                await asyncio.sleep(0.001)
            taken.append(time.monotonic() - began)
        await client.close()
        return ["interruption", row("until the engine runs nothing", taken, "ms", 1000)]


async def measure(given: settings.Settings, rounds: int, tokens: int, most: int) -> None:
    """Starts the engine, prints a block a measurement."""
    from appliance.engines.llm.vllm.engine import VllmEngine

    engine, began = VllmEngine(given), time.monotonic()
    await engine.start()
    print(f"engine ready after {time.monotonic() - began:.1f} s", flush=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "llm.sock"
            status = lambda: HealthReport(ready=True)  # noqa: E731
            async with serve_link(path, status, engine):
                bench = Bench(engine, path, tokens)
                await bench.first_tokens(1)
                callers = [count for count in (1, 2, 4, 8, 16) if count <= most]
                for block in (
                    bench.first_tokens(rounds),
                    bench.sweep(callers),
                    bench.cache(),
                    bench.aborts(rounds),
                ):
                    print("\n".join(await block), flush=True)
    finally:
        await engine.stop()


def device() -> str:
    """What the figures were taken on."""
    from appliance.gpu import nvml

    cards = nvml.list_cards().cards
    return "; ".join([*(f"{card.name}, driver {card.driver}" for card in cards), machine()])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench-engine", description=__doc__)
    parser.add_argument("--model", type=Path, default=TINY, help="a sealed model folder")
    parser.add_argument("--random-weights", metavar="SIZE", help="8b: full size, random, made here")
    parser.add_argument("--dtype", default="auto", help="float32, bfloat16, auto (default)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=32, help="length of every answer (32)")
    parser.add_argument("--callers", type=int, default=8, help="most at the same time (8)")
    asked = parser.parse_args(arguments)
    offline.apply(os.environ)
    with tempfile.TemporaryDirectory(prefix="voice-bench.") as scratch:
        folder = asked.model.resolve()
        try:
            if asked.random_weights:
                from tests.bench.random_weights import write

                folder = Path(scratch) / f"random-{asked.random_weights}"
                print(f"writing random weights to {folder}", flush=True)
                write(folder, asked.random_weights)
            given = settings.load(
                {
                    **{k: v for k, v in os.environ.items() if k.startswith("VOICE_")},
                    "VOICE_PATHS_WEIGHTS": str(folder.parent),
                    "VOICE_LLM_ENGINE": "vllm",
                    "VOICE_LLM_MODEL": folder.name,
                    "VOICE_LLM_DTYPE": asked.dtype,
                    "VOICE_JOURNAL_LEVEL": "warning",
                }
            )
            journal.configure(given.journal, "bench")
            print(f"On {device()}\n{folder.name}, {asked.tokens} tokens an answer", flush=True)
            asyncio.run(measure(given, asked.rounds, asked.tokens, asked.callers))
        except ApplianceError as problem:
            print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
