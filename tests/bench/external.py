"""Measure a running appliance from outside, as a caller and as an operator would.

Speaks to the gateway over the WebSocket with the client of this build, and reads the processes'
CPU time and memory from /proc. Imports nothing of the appliance that runs, so that the appliance
can be another build. All latencies are measured at the client's playback buffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle, islice

import psutil

from client.call import connect
from client.config import Config
from client.conversation import Conversation
from client.record import ClientTurnRecord
from client.wav import read_wav
from tests.bench.figures import Samples
from tests.e2e.appliance import QUESTIONS, Appliance

STAGES = ("end_of_turn", "hearing", "first_token", "first_phrase", "synthesis", "transport")
TURNS_PER_CALL = 3  # as many as there are questions
PAUSE_SECONDS = 0.5  # between two turns of a call
RETRY_SECONDS = 20.0  # the gateway may still close the previous call
SPEAK_OVER_SECONDS = 0.6  # of audible reply before it is interrupted
STAGGER_SECONDS = 0.37  # between the calls of several callers
ENGINES = ("llm", "tts")
PROCESSES = ("gateway", *ENGINES)
TYPED = (
    "What is the capital of France?",
    "Who painted the Mona Lisa?",
    "Which river flows through London?",
)


def config_of(appliance: Appliance) -> Config:
    """Return the client's settings for calls to the appliance."""
    return Config(url=appliance.url, token=appliance.token)


async def measure_questions(appliance: Appliance, turns: int) -> Samples:
    """Ask the bench's questions: voice to voice, the stages, gaps, and CPU time per turn."""
    samples = Samples()
    before = {name: _cpu_seconds(appliance, name) for name in PROCESSES}
    records = await _hold_calls(appliance, [read_wav(path) for path in QUESTIONS], turns)
    used = {name: _cpu_seconds(appliance, name) - before[name] for name in PROCESSES}
    add_turns(samples, "voice to voice", records)
    for stage in STAGES:
        found = [record.stages[stage] for record in records if stage in record.stages]
        samples.add(f"  {stage}", "s", *found)
    samples.add("CPU of the engines per turn", "s", (used["llm"] + used["tts"]) / len(records))
    samples.add("CPU of the gateway per turn", "s", used["gateway"] / len(records))
    return samples


async def measure_recordings(
    appliance: Appliance, recordings: Sequence[bytes], turns: int
) -> Samples:
    """Play recordings of a person who pauses within sentences."""
    samples = Samples()
    records = await _hold_calls(appliance, recordings, turns)
    add_turns(samples, "human: voice to voice", records)
    return samples


async def measure_phrases(appliance: Appliance, turns: int) -> Samples:
    """Type questions, and measure the synthesis of the first phrase.

    Nobody speaks, so that no engine can begin before the turn, and the stage is the whole work.
    """
    samples = Samples()
    found: list[float] = []
    call = await connect(config_of(appliance), retry_seconds=RETRY_SECONDS)
    async with Conversation(call, microphone=False) as talk:
        for text in islice(cycle(TYPED), turns):
            record = await talk.finished(await talk.ask(text))
            if "synthesis" in record.stages:
                found.append(record.stages["synthesis"])
    samples.add("first sound of a phrase, typed questions", "s", *found)
    return samples


async def measure_barge_in(appliance: Appliance, count: int) -> Samples:
    """Interrupt replies: from the user's first sample to the last sample of the bot played."""
    samples = Samples()
    files = [read_wav(path) for path in QUESTIONS]
    stops: list[float] = []
    for attempt in range(count):
        call = await connect(config_of(appliance), retry_seconds=RETRY_SECONDS)
        async with Conversation(call) as talk:
            first = talk.say(files[attempt % len(files)])
            if await talk.audible(first) is None:
                continue
            await asyncio.sleep(SPEAK_OVER_SECONDS)
            second = talk.say(files[(attempt + 1) % len(files)])
            interrupted = await talk.finished(first)
            following = await talk.finished(second)
        ended_at, started_at = interrupted.heard.ended_at, following.speech_started_at
        if interrupted.interrupted and ended_at is not None and started_at is not None:
            stops.append(ended_at - started_at)
    samples.add("barge-in", "s", *stops)
    return samples


async def measure_callers(appliance: Appliance, callers: int, turns: int) -> Samples:
    """Hold several calls at once, each with `turns` questions."""
    samples = Samples()
    files = [read_wav(path) for path in QUESTIONS]

    async def call(number: int) -> list[ClientTurnRecord]:
        await asyncio.sleep(number * STAGGER_SECONDS)
        order = files[number % len(files) :] + files[: number % len(files)]
        return await _hold_calls(appliance, order, turns)

    calls = await asyncio.gather(*(call(number) for number in range(callers)))
    records = [record for call_records in calls for record in call_records]
    add_turns(samples, f"{callers} callers: voice to voice", records)
    return samples


def measure_memory(appliance: Appliance) -> Samples:
    """Read the resident memory of the processes, in MB of 10^6 bytes.

    RSS counts shared pages in every process; PSS divides them among the processes that share them.
    """
    samples = Samples()
    used = {name: appliance.process(name).memory_full_info() for name in PROCESSES}
    for name, info in used.items():
        samples.add(f"RSS of {name}", "MB", info.rss / 1e6)
    samples.add("RSS of all three", "MB", sum(info.rss for info in used.values()) / 1e6)
    samples.add("PSS of all three", "MB", sum(info.pss for info in used.values()) / 1e6)
    return samples


async def _hold_calls(
    appliance: Appliance, files: Sequence[bytes], turns: int
) -> list[ClientTurnRecord]:
    """Say `turns` files in turn, TURNS_PER_CALL in a call."""
    records: list[ClientTurnRecord] = []
    remaining = list(islice(cycle(files), turns))
    while remaining:
        call = await connect(config_of(appliance), retry_seconds=RETRY_SECONDS)
        async with Conversation(call) as talk:
            for pcm in remaining[:TURNS_PER_CALL]:
                records.append(await talk.finished(talk.say(pcm)))
                await asyncio.sleep(PAUSE_SECONDS)
        remaining = remaining[TURNS_PER_CALL:]
    return records


def add_turns(samples: Samples, name: str, records: Sequence[ClientTurnRecord]) -> None:
    """Add latency, gaps, and the turns that were not answered or answered too early.

    A gap runs from the moment when the client's buffer runs empty until the client plays again,
    which is up to the client's prebuffer (80 ms) after the next audio has arrived.

    The latency of a reply that began before the caller had finished is negative. It would make a
    build that cuts its callers off look fast, so that such a turn counts as early instead.
    """
    latencies = [record.voice_to_voice_seconds for record in records]
    heard = [latency for latency in latencies if latency is not None]
    samples.add(name, "s", *(latency for latency in heard if latency >= 0))
    answered = [record for record in records if record.voice_to_voice_seconds is not None]
    gaps = [1000 * record.heard.longest_gap_seconds for record in answered]
    prefix = name.removesuffix("voice to voice")
    samples.add(f"{prefix}longest silence inside a reply", "ms", *gaps)
    if gaps:  # a p95 hides the one long silence of a round
        samples.add(f"{prefix}longest silence of all replies", "ms", max(gaps))
    early = sum(latency < 0 for latency in heard)
    samples.add(f"{prefix}answered too early", "%", 100 * early / len(records))
    samples.add(f"{prefix}not answered", "%", 100 * (1 - len(heard) / len(records)))


def _cpu_seconds(appliance: Appliance, name: str) -> float:
    """Return the CPU time (user and system) that a process and its children have used."""
    process = appliance.process(name)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
    return total
