"""What one gateway process adds, carries and keeps, with engines that answer at once."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import psutil

from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.record import ClientTurnRecord
from client.wav import read_wav
from tests.bench.figures import percentile, row, verdict
from tests.bench.house import on_instant_engines
from tests.e2e.appliance import QUESTIONS

OURS = ("hearing", "first_token", "first_phrase", "synthesis", "transport")
GAP_LIMIT_SECONDS = 0.06
TURNS_EACH = 2
STEPS = (2, 4, 6, 8, 10, 12, 16)
CHURN = 40


async def measure(folder: Path) -> list[str]:
    """Runs a gateway on instant engines; returns the lines to print."""
    async with on_instant_engines(folder) as house:
        lines = await _added(house.config)
        lines += await _memory(house.config, house.gateway)
        lines += await _carried(house.config, house.gateway)
    return lines


async def _call(config: Config, delay_seconds: float, turns: int) -> list[ClientTurnRecord]:
    await asyncio.sleep(delay_seconds)
    pcm = read_wav(QUESTIONS[0])
    records = []
    async with Conversation(await connect(config)) as talk:
        for _ in range(turns):
            records.append(await talk.finished(talk.say(pcm)))
            await asyncio.sleep(0.3)
    return records


async def _added(config: Config) -> list[str]:
    records = await _call(config, 0, 12)
    added = [sum(record.stages.get(name, 0) for name in OURS) for record in records]
    ends = [record.stages["end_of_turn"] for record in records if record.stages]
    return [
        "What the pipeline adds when the engines answer at once (without the end of the turn)",
        row("added", added, "ms", 1000),
        row("end of turn (VAD and smart-turn)", ends, "ms", 1000),
        verdict("added p50", percentile(added, 0.5) * 1000, 60, "ms"),
    ]


async def _memory(config: Config, process: psutil.Process) -> list[str]:
    before = process.memory_info().rss
    held = [Conversation(await connect(config)) for _ in range(16)]
    for talk in held:
        await talk.__aenter__()
    await asyncio.sleep(2)
    each = (process.memory_info().rss - before) / len(held) / 2**20
    for talk in held:
        await talk.__aexit__(None, None, None)
    settled = process.memory_info().rss
    for _ in range(CHURN):
        await _call(config, 0, 0)
    await asyncio.sleep(2)
    grown = (process.memory_info().rss - settled) / 2**20
    return [
        "Memory of the gateway",
        verdict("per live session", each, 10, "MiB"),
        verdict(f"growth over {CHURN} connects and leaves", grown, 10, "MiB"),
    ]


async def _carried(config: Config, process: psutil.Process) -> list[str]:
    lines = [
        "Calls one gateway process carries: all talk at once, a turn every few seconds; the gap is",
        "the longest silence inside a reply at the client, where nothing should be",
    ]
    best = 0
    for count in STEPS:
        gc.collect()
        process.cpu_percent()
        calls = [_call(config, index * 0.37, TURNS_EACH) for index in range(count)]
        records = [record for call in await asyncio.gather(*calls) for record in call]
        gaps = [record.heard.longest_gap_seconds for record in records]
        answered = sum(record.outcome == "answered" for record in records)
        p99 = percentile(gaps, 0.99)
        lines.append(
            f"  {count:3} calls   gap p99 {p99 * 1000:5.0f} ms   answered {answered}/{len(records)}"
            f"   gateway {process.cpu_percent():.0f} % of a core"
        )
        if p99 > GAP_LIMIT_SECONDS or answered < len(records):
            break
        best = count
    lines.append(verdict("calls per gateway process", best, 8, "", at_least=True))
    return lines
