"""Added latency, memory and concurrent calls of one gateway process, on instant engines."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from pathlib import Path

from appliance.gpu_proof.record import percentile
from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.record import ClientTurnRecord
from client.wav import read_wav
from tests.bench.figures import row, verdict
from tests.bench.gateway import MeasuredGateway, gateway_on_instant_engines
from tests.bench.noise import NoisyConversation
from tests.e2e.appliance import QUESTIONS

ADDED_STAGES = ("hearing", "first_token", "first_phrase", "synthesis", "transport")
GAP_LIMIT_SECONDS = 0.06
TURNS_PER_CALL = 2
CALL_COUNTS = (2, 4, 6, 8, 10, 12, 16)
SESSIONS = 16  # open at the same time, to measure the memory per session
RECONNECTS = 40


async def measure(folder: Path) -> list[str]:
    """Measure a gateway on instant engines. Return the lines to print."""
    async with gateway_on_instant_engines(folder) as gateway:
        lines = await _measure_added_latency(gateway.config)
        lines += await _measure_memory(gateway)
        lines += await _measure_concurrent_calls(gateway)
    return lines


async def call(
    config: Config, delay_seconds: float, turns: int, noise_seed: int | None = None
) -> list[ClientTurnRecord]:
    """Hold a call of `turns` questions, begun after a delay. Return the record of each turn.

    With `noise_seed`, the microphone always hears some noise; without, digital silence.
    """
    await asyncio.sleep(delay_seconds)
    pcm = read_wav(QUESTIONS[0])
    records = []
    connected = await connect(config)
    if noise_seed is None:
        conversation = Conversation(connected)
    else:
        conversation = NoisyConversation(connected, noise_seed)
    async with conversation:
        for _ in range(turns):
            records.append(await conversation.finished(conversation.say(pcm)))
            await asyncio.sleep(0.3)
    return records


async def _measure_added_latency(config: Config) -> list[str]:
    records = await call(config, 0, 12)
    added = [sum(record.stages.get(name, 0) for name in ADDED_STAGES) for record in records]
    end_of_turn_seconds = [record.stages["end_of_turn"] for record in records if record.stages]
    return [
        "Latency added by the pipeline, with engines that reply immediately (without end of turn)",
        row("added", added, "ms", 1000),
        row("end of turn (VAD and smart-turn)", end_of_turn_seconds, "ms", 1000),
        verdict("added p50", percentile(added, 0.5) * 1000, 60, "ms"),
    ]


async def _measure_memory(gateway: MeasuredGateway) -> list[str]:
    process = gateway.process
    before = process.memory_info().rss
    async with contextlib.AsyncExitStack() as sessions:
        for _ in range(SESSIONS):
            conversation = Conversation(await connect(gateway.config))
            await sessions.enter_async_context(conversation)
        await asyncio.sleep(2)
        per_session = (process.memory_info().rss - before) / SESSIONS / 2**20
    closed = process.memory_info().rss
    for _ in range(RECONNECTS):
        await call(gateway.config, 0, 0)
    await asyncio.sleep(2)
    growth = (process.memory_info().rss - closed) / 2**20
    return [
        "Memory of the gateway",
        verdict("per live session", per_session, 10, "MiB"),
        verdict(f"growth over {RECONNECTS} connections", growth, 10, "MiB"),
    ]


async def _measure_concurrent_calls(gateway: MeasuredGateway) -> list[str]:
    lines = [
        "Concurrent calls of one gateway process, with a turn every few seconds; the gap is the",
        "longest silence at the client inside a reply, which should have none",
    ]
    best = 0
    for count in CALL_COUNTS:
        gc.collect()
        gateway.process.cpu_percent()
        calls = [call(gateway.config, index * 0.37, TURNS_PER_CALL) for index in range(count)]
        records = [record for call in await asyncio.gather(*calls) for record in call]
        gaps = [record.heard.longest_gap_seconds for record in records]
        answered = sum(record.outcome == "answered" for record in records)
        p99 = percentile(gaps, 0.99)
        lines.append(
            f"  {count:3} calls   gap p99 {p99 * 1000:5.0f} ms   answered {answered}/{len(records)}"
            f"   gateway {gateway.process.cpu_percent():.0f} % of a core"
        )
        if p99 > GAP_LIMIT_SECONDS or answered < len(records):
            break
        best = count
    lines.append(verdict("calls per gateway process", best, 8, "", at_least=True))
    return lines
