"""Latency with the real models: voice to voice with its stages, and barge-in, at the client."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

from appliance.gpu_proof.record import percentile
from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.wav import read_wav
from tests.bench.figures import row, verdict
from tests.e2e.appliance import QUESTIONS, Appliance

QUESTIONS_PER_CALL = len(QUESTIONS)
STAGES = ("end_of_turn", "hearing", "first_token", "first_phrase", "synthesis", "transport")


async def measure(folder: Path, turns: int, barge_ins: int) -> list[str]:
    """Run an appliance and measure it. Return the lines to print."""
    appliance = Appliance(folder)
    await asyncio.to_thread(appliance.start)
    try:
        config = Config(url=appliance.url, token=appliance.token)
        spoken, stages, gaps = await _measure_voice_to_voice(config, turns)
        stops = await _measure_barge_in(config, barge_ins)
    finally:
        await asyncio.to_thread(appliance.stop)
    lines = ["Voice to voice with the real models, one caller, measured at the client"]
    lines.append(row("voice to voice", spoken))
    lines += [row(f"  {name}", stages[name]) for name in STAGES if stages[name]]
    lines.append(row("longest gap inside a reply", gaps, "ms", 1000))
    lines.append(verdict("voice to voice p50", percentile(spoken, 0.5), 2.5, "s"))
    lines.append(verdict("voice to voice p95", percentile(spoken, 0.95), 4.0, "s"))
    longest = max(STAGES, key=lambda name: sum(stages[name]))
    share = sum(stages[longest]) / sum(sum(values) for values in stages.values())
    lines.append(f"  longest stage: {longest}, {share:.0%}")
    lines.append(
        "Barge-in: from the user's first sample to the last sample of the bot that is played"
    )
    lines.append(row("barge-in", stops, "ms", 1000))
    lines.append(verdict("barge-in p95", percentile(stops, 0.95) * 1000, 400, "ms"))
    return lines


async def _measure_voice_to_voice(
    config: Config, turns: int
) -> tuple[list[float], dict[str, list[float]], list[float]]:
    files = [read_wav(path) for path in QUESTIONS]
    spoken: list[float] = []
    stages: dict[str, list[float]] = defaultdict(list)
    gaps: list[float] = []
    while len(spoken) < turns:
        async with Conversation(await connect(config)) as conversation:
            for pcm in files:
                record = await conversation.finished(conversation.say(pcm))
                if record.voice_to_voice_seconds is not None:
                    spoken.append(record.voice_to_voice_seconds)
                    gaps.append(record.heard.longest_gap_seconds)
                for name, seconds in record.stages.items():
                    stages[name].append(seconds)
                await asyncio.sleep(0.5)
    return spoken, stages, gaps


async def _measure_barge_in(config: Config, count: int) -> list[float]:
    files = [read_wav(path) for path in QUESTIONS]
    stops: list[float] = []
    for attempt in range(count):
        async with Conversation(await connect(config)) as conversation:
            first = conversation.say(files[attempt % len(files)])
            if await conversation.audible(first) is None:
                continue
            await asyncio.sleep(0.6)
            second = conversation.say(files[(attempt + 1) % len(files)])
            interrupted = await conversation.finished(first)
            following = await conversation.finished(second)
            ended_at, started_at = interrupted.heard.ended_at, following.speech_started_at
            if interrupted.interrupted and ended_at and started_at:
                stops.append(ended_at - started_at)
    return stops
