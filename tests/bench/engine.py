"""Measure the speed of the vLLM engine on this machine.

Requests go through the link, as from a gateway. Results are printed and not compared with targets.
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
from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.errors import ApplianceError
from appliance.link.client import EngineClient
from appliance.link.engine import (
    INPUT_SAMPLE_RATE,
    GenerateRequest,
    Result,
    SpeechEngine,
    Turn,
    Utterance,
)
from client.wav import read_wav
from tests.bench.figures import machine, percentile, row
from tests.bench.random_weights import SIZES, write
from tests.golden.scoring import ScoringEngine, serve

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "golden" / "ultravox-tiny" / "checkpoint"
SPEECH = [read_wav(path) for path in sorted((ROOT / "client" / "questions").glob("*.wav"))]
ABORTED_TOKENS = 400  # length of a reply that is interrupted after its first token
STALL_SECONDS = 600.0
SYSTEM = Turn("system", "You are a friendly voice assistant in a telephone call. " * 8)
RUNNING = re.compile(r"^voice_llm_requests_running (\S+)$", re.MULTILINE)


@dataclass
class MeasuredReply:
    """Timings of one reply.

    piece_seconds  from the request to each piece of text
    stats          statistics of the Result, plus `total_seconds`
    """

    piece_seconds: list[float] = field(default_factory=list)
    stats: dict[str, float] = field(default_factory=dict)

    @property
    def first_token_seconds(self) -> float:
        """Seconds from the request to the first token."""
        return self.stats["first_token_seconds"]

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed after the first token."""
        tokens = self.stats["decode_tokens"] - 1
        seconds = self.stats["total_seconds"] - self.first_token_seconds
        return tokens / seconds if tokens > 0 else 0.0


class EngineBench:
    """Measures one engine behind its socket. Every reply has the same number of tokens."""

    def __init__(self, engine: SpeechEngine, path: Path, tokens: int) -> None:
        self._engine = engine
        self._path = path
        self._tokens = tokens
        self._random = np.random.default_rng(1)
        self._number = 0

    def client(self) -> EngineClient:
        """Open a new connection to the engine."""
        return EngineClient(self._engine.name, self._path, STALL_SECONDS)

    def add_speech(self, client: EngineClient, seconds: float) -> Turn:
        """Add a unique utterance: speech from a random position at a random volume."""
        self._number += 1
        samples = np.concatenate([np.frombuffer(pcm, "<i2") for pcm in SPEECH])
        start = int(self._random.integers(len(samples)))
        count = int(seconds * INPUT_SAMPLE_RATE)
        samples = np.resize(np.roll(samples, -start), count) * self._random.uniform(0.5, 0.9)
        utterance = Utterance(self._number)
        utterance.pcm += samples.astype("<i2").tobytes()
        utterance.complete = True
        client.add(utterance)
        return Turn("user", utterance=utterance.id)

    async def ask(self, client: EngineClient, *turns: Turn) -> MeasuredReply:
        """Generate one reply and measure it."""
        reply, started = MeasuredReply(), time.monotonic()
        request = GenerateRequest(turns, self._tokens, temperature=0.0)
        async for piece in client.generate(request):
            if isinstance(piece, Result):
                reply.stats = {**piece.stats, "total_seconds": time.monotonic() - started}
            else:
                reply.piece_seconds.append(time.monotonic() - started)
        return reply

    async def measure_first_token(self, rounds: int) -> list[str]:
        """Measure the time to first token of new questions."""
        lines = ["time to first token, one session, only the system prompt is cached"]
        client = self.client()
        kinds = {"typed": 0.0, "1 s of speech": 1.0, "3 s of speech": 3.0, "10 s of speech": 10.0}
        rates: list[float] = []
        for name, seconds in kinds.items():
            firsts = []
            for number in range(rounds):
                question = (
                    self.add_speech(client, seconds)
                    if seconds
                    else Turn("user", f"Question {number}: {self._random.integers(10**9)}?")
                )
                reply = await self.ask(client, SYSTEM, question)
                firsts.append(reply.first_token_seconds)
                rates.append(reply.tokens_per_second)
            lines.append(row(name, firsts, "ms", 1000))
        await client.close()
        return [*lines, row("tokens per second, one session", rates, "1/s")]

    async def measure_concurrency(self, counts: Sequence[int]) -> list[str]:
        """Measure simultaneous requests of several sessions, three times."""
        lines = ["concurrent sessions, each with 3 s of speech"]
        for count in counts:
            clients = [self.client() for _ in range(count)]
            firsts, tokens, seconds = [], 0.0, 0.0
            for _ in range(3):
                started = time.monotonic()
                questions = [self.add_speech(client, 3.0) for client in clients]
                replies = await asyncio.gather(
                    *(
                        self.ask(client, SYSTEM, turn)
                        for client, turn in zip(clients, questions, strict=True)
                    )
                )
                seconds += time.monotonic() - started
                tokens += sum(reply.stats["decode_tokens"] for reply in replies)
                firsts += [reply.first_token_seconds for reply in replies]
            for client in clients:
                await client.close()
            p50, p95 = percentile(firsts, 0.5) * 1000, percentile(firsts, 0.95) * 1000
            lines.append(
                f"  {count:2} sessions  first token p50 {p50:7.0f} ms   p95 {p95:7.0f} ms"
                f"   {tokens / seconds:7.1f} tokens/s"
            )
        return lines

    async def measure_cache(self, turns: int = 6) -> list[str]:
        """Measure the last turn of a conversation with and without earlier turns in the cache."""
        client, warm, cold, cached = self.client(), [], [], []
        for _ in range(3):
            conversation = [SYSTEM]
            for number in range(turns):
                conversation.append(self.add_speech(client, 3.0))
                reply = await self.ask(client, *conversation)
                conversation.append(Turn("assistant", f"This is answer number {number}. " * 4))
            warm.append(reply.first_token_seconds)
            cached.append(reply.stats["cached_tokens"] / reply.stats["prompt_tokens"])
            changed = Turn("system", f"{self._random.integers(10**9)} {SYSTEM.text}")
            reply_without_cache = await self.ask(client, changed, *conversation[1:-1])
            cold.append(reply_without_cache.first_token_seconds)
        await client.close()
        gain = percentile(cold, 0.5) / max(percentile(warm, 0.5), 1e-9)
        length = reply.stats["prompt_tokens"]
        return [
            f"prefix cache, turn {turns} of a conversation, {length:.0f} tokens",
            row("first token, history cached", warm, "ms", 1000),
            row("first token, nothing cached", cold, "ms", 1000),
            f"  gain {gain:.1f}x; {percentile(cached, 0.5):.0%} of the prompt came from the cache",
        ]

    async def measure_interruption(self, rounds: int) -> list[str]:
        """Measure the time from closing a reply until the engine is idle."""
        client, delays = self.client(), []
        for _ in range(rounds):
            request = GenerateRequest((SYSTEM, Turn("user", "Go on.")), ABORTED_TOKENS, 0.0)
            async with contextlib.aclosing(client.generate(request)) as pieces:
                await anext(pieces)
            started = time.monotonic()
            while float(RUNNING.search(self._engine.metrics().decode()).group(1)):  # type: ignore[union-attr]
                await asyncio.sleep(0.001)
            delays.append(time.monotonic() - started)
        await client.close()
        return ["interruption", row("until the engine is idle", delays, "ms", 1000)]


async def measure(config: settings.Settings, rounds: int, tokens: int, max_sessions: int) -> None:
    """Start the engine and print the measurements."""
    engine, started = VllmEngine(config), time.monotonic()
    await engine.start()
    print(f"engine ready after {time.monotonic() - started:.1f} s", flush=True)
    try:
        async with serve(ScoringEngine(engine)) as path:
            bench = EngineBench(engine, path, tokens)
            await bench.measure_first_token(1)  # a warm-up
            counts = [count for count in (1, 2, 4, 8, 16) if count <= max_sessions]
            for measurement in (
                bench.measure_first_token(rounds),
                bench.measure_concurrency(counts),
                bench.measure_cache(),
                bench.measure_interruption(rounds),
            ):
                print("\n".join(await measurement), flush=True)
    finally:
        await engine.stop()


def describe_device() -> str:
    """Describe the GPUs and the machine."""
    from appliance.gpu import nvml

    gpus = nvml.list_cards().cards
    return "; ".join([*(f"{gpu.name}, driver {gpu.driver}" for gpu in gpus), machine()])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench-engine", description=__doc__)
    parser.add_argument("--model", type=Path, default=TINY, help="a sealed model folder")
    parser.add_argument("--random-weights", choices=SIZES, help="generate this model instead")
    parser.add_argument("--dtype", default="auto", help="float32, bfloat16, auto (default)")
    parser.add_argument(
        "--rounds", type=int, default=10, help="repetitions of each measurement (10)"
    )
    parser.add_argument("--tokens", type=int, default=32, help="tokens per reply (32)")
    parser.add_argument(
        "--sessions", type=int, default=8, help="maximum of concurrent sessions (8)"
    )
    args = parser.parse_args(arguments)
    offline.apply(os.environ)
    with tempfile.TemporaryDirectory(prefix="voice-bench.") as scratch:
        folder = args.model.resolve()
        try:
            if args.random_weights:
                folder = Path(scratch) / f"random-{args.random_weights}"
                print(f"writing random weights to {folder}", flush=True)
                write(folder, args.random_weights)
            config = settings.load(
                {
                    **{k: v for k, v in os.environ.items() if k.startswith("VOICE_")},
                    "VOICE_PATHS_WEIGHTS": str(folder.parent),
                    "VOICE_LLM_ENGINE": "vllm",
                    "VOICE_LLM_MODEL": folder.name,
                    "VOICE_LLM_DTYPE": args.dtype,
                    "VOICE_JOURNAL_LEVEL": "warning",
                }
            )
            journal.configure(config.journal, "bench")
            print(
                f"On {describe_device()}\n{folder.name}, {args.tokens} tokens per reply", flush=True
            )
            asyncio.run(measure(config, args.rounds, args.tokens, args.sessions))
        except ApplianceError as problem:
            print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
