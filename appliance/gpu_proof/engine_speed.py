"""Step `engine`: the speed of Ultravox under vLLM on this machine.

Requests go through the link, like those of a gateway. Without sealed weights the model has random
ones, of the same shape; every reply has the same number of tokens. `make bench-engine` measures the
same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from appliance import journal, offline, settings
from appliance.engines.llm.vllm.engine import VllmEngine
from appliance.errors import ApplianceError
from appliance.gpu_proof.results import Results, StepOptions, parse
from appliance.gpu_proof.scoring import ScoringEngine, serve
from appliance.link.client import EngineClient
from appliance.link.engine import (
    INPUT_SAMPLE_RATE,
    ChatMessage,
    GenerateRequest,
    LLMEngine,
    Result,
)
from appliance.link.utterance import Utterance
from client.wav import read_wav

ROOT = Path(__file__).parents[2]
SPEECH = [read_wav(path) for path in sorted((ROOT / "client" / "questions").glob("*.wav"))]
TOKENS = 32  # of every reply
ABORTED_TOKENS = 400  # length of a reply that is interrupted after its first token
STALL_SECONDS = 600.0
CALLERS = (1, 2, 4, 8, 16)
SYSTEM = ChatMessage("system", "You are a friendly voice assistant in a telephone call. " * 8)
RUNNING = re.compile(r"^voice_llm_requests_running (\S+)$", re.MULTILINE)


@dataclass
class MeasuredReply:
    """The times of one reply.

    piece_seconds  from the request to each piece of text
    stats          of its Result, and `total_seconds`
    """

    piece_seconds: list[float] = field(default_factory=list)
    stats: dict[str, float] = field(default_factory=dict)

    @property
    def first_token_seconds(self) -> float:
        """From the request to the first token."""
        return self.stats["first_token_seconds"]

    @property
    def tokens_per_second(self) -> float:
        """After the first token."""
        tokens = self.stats["decode_tokens"] - 1
        seconds = self.stats["total_seconds"] - self.first_token_seconds
        return tokens / seconds if tokens > 0 else 0.0


class EngineBench:
    """Measures one engine behind its socket. Every reply has the same number of tokens."""

    def __init__(
        self, engine: LLMEngine, path: Path, results: Results, tokens: int = TOKENS
    ) -> None:
        self._engine = engine
        self._results = results
        self._path = path
        self._tokens = tokens
        self._random = np.random.default_rng(1)
        self._number = 0

    def client(self) -> EngineClient:
        """A new connection."""
        return EngineClient(self._engine.name, self._path, STALL_SECONDS)

    def add_speech(self, client: EngineClient, seconds: float) -> ChatMessage:
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
        return ChatMessage("user", utterance=utterance.id)

    async def ask(self, client: EngineClient, *messages: ChatMessage) -> MeasuredReply:
        """Generate one reply and measure it."""
        reply, started = MeasuredReply(), time.monotonic()
        request = GenerateRequest(messages, self._tokens, temperature=0.0)
        async for piece in client.generate(request):
            if isinstance(piece, Result):
                reply.stats = {**piece.stats, "total_seconds": time.monotonic() - started}
            else:
                reply.piece_seconds.append(time.monotonic() - started)
        return reply

    async def warm_up(self) -> None:
        """One reply to a typed and one to a spoken question; not measured."""
        client = self.client()
        await self.ask(client, SYSTEM, ChatMessage("user", "Hello."))
        await self.ask(client, SYSTEM, self.add_speech(client, 3.0))
        await client.close()

    async def measure_first_token(self, rounds: int) -> None:
        """Time to the first token of new questions; only the system prompt is cached."""
        client = self.client()
        kinds = {"typed": 0.0, "1 s of speech": 1.0, "3 s of speech": 3.0, "10 s of speech": 10.0}
        rates: list[float] = []
        for kind, seconds in kinds.items():
            firsts = []
            for number in range(rounds):
                question = (
                    self.add_speech(client, seconds)
                    if seconds
                    else ChatMessage("user", f"Question {number}: {self._random.integers(10**9)}?")
                )
                reply = await self.ask(client, SYSTEM, question)
                firsts.append(1000 * reply.first_token_seconds)
                rates.append(reply.tokens_per_second)
            self._results.measure("first token", firsts, "ms", question=kind)
        await client.close()
        self._results.measure("tokens per second, one session", rates, "tokens/s")

    async def measure_concurrency(self, counts: Sequence[int], rounds: int = 3) -> None:
        """Several sessions ask at the same moment, each with 3 s of speech."""
        for count in counts:
            clients = [self.client() for _ in range(count)]
            firsts: list[float] = []
            rates: list[float] = []
            for _ in range(rounds):
                started = time.monotonic()
                questions = [self.add_speech(client, 3.0) for client in clients]
                replies = await asyncio.gather(
                    *(
                        self.ask(client, SYSTEM, question)
                        for client, question in zip(clients, questions, strict=True)
                    )
                )
                tokens = sum(reply.stats["decode_tokens"] for reply in replies)
                rates.append(tokens / (time.monotonic() - started))
                firsts += [1000 * reply.first_token_seconds for reply in replies]
            for client in clients:
                await client.close()
            self._results.measure("first token, sessions", firsts, "ms", sessions=count)
            self._results.measure("tokens of all sessions", rates, "tokens/s", sessions=count)

    async def measure_cache(self, turns: int = 6, rounds: int = 3) -> None:
        """The last turn of a conversation, with and without its earlier turns in the cache."""
        client, warm, cold, cached = self.client(), [], [], []
        for _ in range(rounds):
            conversation = [SYSTEM]
            for number in range(turns):
                conversation.append(self.add_speech(client, 3.0))
                reply = await self.ask(client, *conversation)
                conversation.append(
                    ChatMessage("assistant", f"This is answer number {number}. " * 4)
                )
            warm.append(1000 * reply.first_token_seconds)
            cached.append(reply.stats["cached_tokens"] / reply.stats["prompt_tokens"])
            changed = ChatMessage("system", f"{self._random.integers(10**9)} {SYSTEM.text}")
            reply_without_cache = await self.ask(client, changed, *conversation[1:-1])
            cold.append(1000 * reply_without_cache.first_token_seconds)
        await client.close()
        length = int(reply.stats["prompt_tokens"])
        self._results.measure("first token, history cached", warm, "ms", prompt=length)
        self._results.measure("first token, nothing cached", cold, "ms", prompt=length)
        self._results.measure("cached share of the prompt", cached, "ratio", prompt=length)

    async def measure_interruption(self, rounds: int) -> None:
        """From closing the reply until the engine is idle."""
        client, delays = self.client(), []
        for _ in range(rounds):
            request = GenerateRequest((SYSTEM, ChatMessage("user", "Go on.")), ABORTED_TOKENS, 0.0)
            async with contextlib.aclosing(client.generate(request)) as pieces:
                await anext(pieces)
            started = time.monotonic()
            while float(RUNNING.search(self._engine.metrics().decode()).group(1)):  # type: ignore[union-attr]
                await asyncio.sleep(0.001)
            delays.append(1000 * (time.monotonic() - started))
        await client.close()
        self._results.measure("interruption until the engine is idle", delays, "ms")


async def measure(
    config: settings.Settings, results: Results, rounds: int, tokens: int, max_sessions: int
) -> None:
    """Start the engine and measure it. Raises ApplianceError."""
    engine, started = VllmEngine(config), time.monotonic()
    await engine.start()
    results.measure("start of the engine", [time.monotonic() - started], "s")
    try:
        async with serve(ScoringEngine(engine)) as path:
            bench = EngineBench(engine, path, results, tokens)
            await bench.warm_up()
            await bench.measure_first_token(rounds)
            counts = [count for count in CALLERS if count <= max_sessions]
            await bench.measure_concurrency(counts)
            await bench.measure_interruption(rounds)
            await bench.measure_cache()
    finally:
        await engine.stop()


def engine_settings(folder: Path, dtype: str = "auto") -> settings.Settings:
    """The settings of an engine with this model folder; others come from the environment."""
    return settings.load(
        {
            **{name: value for name, value in os.environ.items() if name.startswith("VOICE_")},
            "VOICE_PATHS_WEIGHTS": str(folder.parent),
            "VOICE_LLM_ENGINE": "vllm",
            "VOICE_LLM_MODEL": folder.name,
            "VOICE_LLM_DTYPE": dtype,
            "VOICE_JOURNAL_LEVEL": "warning",
        }
    )


def model_folder(options: StepOptions, results: Results) -> Path:
    """The sealed model, or one with random weights in the scratch folder.

    Raises FileNotFoundError without either.
    """
    sealed = options.weights / settings.load({"VOICE_PROFILE": "gpu"}).llm.model
    if sealed.is_dir() and not options.is_rehearsal:
        return sealed
    size = "tiny" if options.is_rehearsal else "8b"
    folder = options.scratch / f"random-{size}"
    if not folder.is_dir():
        generator = "tests.bench.random_weights"  # in a checkout only
        if not (ROOT / "tests" / "bench" / "random_weights.py").exists():
            raise FileNotFoundError(f"{sealed} does not exist, and there is no checkout")
        started = time.monotonic()
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a step that was stopped
        done = subprocess.run(
            [sys.executable, "-m", generator, size, str(partial)], capture_output=True, text=True
        )
        if done.returncode:
            raise OSError("no random weights: " + "".join(done.stderr.splitlines()[-1:]))
        partial.rename(folder)
        results.note(f"wrote random weights in {time.monotonic() - started:.0f} s")
    results.note("random weights: speeds are those of the real model, replies are meaningless")
    return folder


def main(options: StepOptions) -> int:
    offline.apply(os.environ)
    results = Results(options.results, options.seconds)
    try:
        folder = model_folder(options, results)
        config = engine_settings(folder, "float32" if options.device == "cpu" else "auto")
        journal.configure(config.journal, "gpu-proof")
        rounds, sessions = (2, 2) if options.is_rehearsal else (10, 16)
        asyncio.run(measure(config, results, rounds, TOKENS, sessions))
    except ApplianceError as error:
        results.problem("engine", f"{error} {error.advice}")
    except OSError as error:
        results.problem("engine", str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main(parse("engine", __doc__, sys.argv[1:])))
