"""Run concurrent calls over a long time: python -m tests.bench.soak [--calls 8] [--seconds 600].

Every caller asks its next question soon after each answer. The engines reply immediately. Measured:
- gaps in the audio, on arrival and as heard after the client's 80 ms buffer;
- memory, file descriptors, threads and tasks of the gateway at the start, once all histories are
  full ("warm"), and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from appliance.gpu_proof.record import percentile
from client.call import Arrival, ClientCall, connect
from client.conversation import Conversation
from client.record import ClientTurnRecord
from client.wav import read_wav
from client.wire import AudioFrame
from tests.bench.figures import machine, verdict
from tests.bench.gateway import MeasuredGateway, gateway_on_instant_engines
from tests.e2e.appliance import QUESTIONS

GAP_LIMIT_MS = 100  # at p99
GROWTH_LIMIT_MIB = 10.0  # of the memory floor, once warm
WARM_SECONDS = 150.0  # fills a history of ten exchanges of ten seconds, with a margin
SAMPLE_SECONDS = 2.0
SETTLE_SECONDS = 30.0  # after the last call
PATIENCE_SECONDS = 60.0
STALL_SECONDS = 1.0  # long intervals closer together than this belong to one stall
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """Resources of the gateway process. `at` is monotonic time in seconds."""

    at: float
    bytes: int  # resident memory
    handles: int  # file descriptors
    threads: int
    tasks: int
    cpu_percent: float  # of one core, since the previous sample
    machine_percent: float  # of all cores, all processes together
    stolen_percent: float  # of all cores, used by the host for other machines


@dataclass(frozen=True, slots=True)
class Interval:
    """The time between two audio frames of a reply; `at` is the arrival of the second."""

    at: float
    seconds: float


@dataclass
class SoakResult:
    """The measurements of a soak.

    lateness  seconds by which the event loop of the measuring client woke up late
    broken    why calls ended early
    samples   while calls are in progress
    before    before the first call
    after     after the last call
    """

    intervals: list[Interval] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    records: list[ClientTurnRecord] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    before: Sample | None = None
    after: Sample | None = None


class TimedCall(ClientCall):
    """A call that records the time between the audio frames of a reply."""

    def __init__(self, call: ClientCall, intervals: list[Interval]) -> None:
        self.__dict__.update(vars(call))
        self._intervals = intervals
        self._last: float | None = None

    async def arrivals(self) -> AsyncIterator[Arrival]:
        async for arrival in super().arrivals():
            if isinstance(arrival.frame, AudioFrame):
                received_at = arrival.received_at
                if self._last is not None:
                    self._intervals.append(Interval(received_at, received_at - self._last))
                self._last = received_at
            yield arrival

    def begin_turn(self) -> None:
        """Start a turn: the next audio frame belongs to a new reply."""
        self._last = None


async def soak(folder: Path, calls: int, seconds: float) -> SoakResult:
    """Run `calls` concurrent calls for `seconds`."""
    result = SoakResult()
    async with gateway_on_instant_engines(folder) as gateway:
        result.before = _take_sample(gateway)
        tasks = [
            asyncio.create_task(_take_samples(gateway, result.samples)),
            asyncio.create_task(_measure_lateness(result.lateness)),
        ]
        deadline = time.monotonic() + seconds
        await asyncio.gather(*(_call(gateway, result, n, deadline) for n in range(calls)))
        for task in tasks:
            task.cancel()
        result.after = await _sample_after_settling(gateway, result.before)
    return result


async def _call(gateway: MeasuredGateway, result: SoakResult, number: int, deadline: float) -> None:
    """Ask questions in one call until the deadline."""
    await asyncio.sleep(number * 0.37)  # so that the calls are not synchronised
    questions = [read_wav(path) for path in QUESTIONS]
    call = TimedCall(await connect(gateway.config), result.intervals)
    async with Conversation(call) as conversation:
        turn = 0
        while time.monotonic() < deadline and conversation.failure is None:
            call.begin_turn()
            question = conversation.say(questions[(number + turn) % len(questions)])
            result.records.append(await conversation.finished(question, PATIENCE_SECONDS))
            turn += 1
            await asyncio.sleep(0.3)
    if conversation.failure is not None:
        result.broken.append(str(conversation.failure))


async def _take_samples(gateway: MeasuredGateway, samples: list[Sample]) -> None:
    gateway.process.cpu_percent()
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        samples.append(_take_sample(gateway))


async def _measure_lateness(lateness: list[float]) -> None:
    while True:
        due = time.monotonic() + 0.05
        await asyncio.sleep(0.05)
        lateness.append(time.monotonic() - due)


def _take_sample(gateway: MeasuredGateway) -> Sample:
    process = gateway.process
    with process.oneshot():
        return Sample(
            at=time.monotonic(),
            bytes=process.memory_info().rss,
            handles=process.num_fds(),
            threads=process.num_threads(),
            tasks=gateway.task_count(),
            cpu_percent=process.cpu_percent(),
            machine_percent=psutil.cpu_percent(),
            stolen_percent=psutil.cpu_times_percent().steal,
        )


async def _sample_after_settling(gateway: MeasuredGateway, before: Sample) -> Sample:
    """Wait up to SETTLE_SECONDS until handles and tasks are back at the level of `before`."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        sample = _take_sample(gateway)
        is_settled = sample.handles <= before.handles and sample.tasks <= before.tasks
        if is_settled or time.monotonic() > deadline:
            return sample


def warm_samples(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples after the warm-up; in a short run, the second half of the samples."""
    first, last = samples[0].at, samples[-1].at
    start = first + min(WARM_SECONDS, (last - first) / 2)
    return [sample for sample in samples if sample.at >= start]


def growth_mib(samples: Sequence[Sample]) -> float:
    """Compare the smallest memory in the last third of the samples with that in the first third.

    The memory varies by 20 MiB within seconds as threads start and end, so single samples say
    little. A leak raises the minimum.
    """
    third = max(1, len(samples) // 3)
    first = min(sample.bytes for sample in samples[:third])
    last = min(sample.bytes for sample in samples[-third:])
    return (last - first) / MIB


def find_stalls(intervals: Sequence[Interval]) -> list[list[Interval]]:
    """Group intervals above the limit that are close together and may have the same cause."""
    long = (interval for interval in intervals if 1000 * interval.seconds > GAP_LIMIT_MS)
    stalls: list[list[Interval]] = []
    for interval in sorted(long, key=lambda interval: interval.at):
        if not stalls or interval.at - stalls[-1][-1].at > STALL_SECONDS:
            stalls.append([])
        stalls[-1].append(interval)
    return stalls


def render(result: SoakResult) -> list[str]:
    """Return the lines to print."""
    return [*_render_calls(result), *_render_audio(result), *_render_resources(result)]


def _render_calls(result: SoakResult) -> list[str]:
    unanswered = [record for record in result.records if record.outcome != "answered"]
    return [
        verdict(f"turns of {len(result.records)} without an answer", len(unanswered), 0, ""),
        *(
            f"    {record.outcome}: {record.heard.seconds:.1f} s heard of {record.reply_text!r}"
            for record in unanswered
        ),
        verdict("calls that ended early", len(result.broken), 0, ""),
        *(f"    {reason}" for reason in result.broken),
    ]


def _render_audio(result: SoakResult) -> list[str]:
    intervals = [interval.seconds for interval in result.intervals]
    silences = [record.heard.longest_gap_seconds for record in result.records]
    p99s = [1000 * percentile(values, 0.99) for values in (intervals, silences)]
    return [
        _row("between two audio frames of a reply", intervals),
        _row("longest silence heard in a reply", silences),
        _render_stalls(result),
        _row("lateness of the measuring client", result.lateness),
        verdict("between two audio frames, p99", p99s[0], GAP_LIMIT_MS, "ms"),
        verdict("longest silence in a reply, p99", p99s[1], GAP_LIMIT_MS, "ms"),
    ]


def _render_stalls(result: SoakResult) -> str:
    """Render the stalls with the host's steal time, which may be their cause."""
    stalls = find_stalls(result.intervals)
    count = sum(len(stall) for stall in stalls)
    stolen = [_stolen_percent(result.samples, stall[-1].at) for stall in stalls]
    line = f"  {count} intervals over {GAP_LIMIT_MS} ms, in {len(stalls)} stalls"
    if stolen:
        line += f"; steal time of the host {min(stolen):.0f} to {max(stolen):.0f} %"
    return line


def _stolen_percent(samples: Sequence[Sample], at: float) -> float:
    """Return the host's steal time at time `at`."""
    after = (sample.stolen_percent for sample in samples if sample.at >= at)
    return next(after, samples[-1].stolen_percent)


def _render_resources(result: SoakResult) -> list[str]:
    before, after = result.before, result.after
    assert before and after
    warm = warm_samples(result.samples)
    minutes = (warm[-1].at - warm[0].at) / 60
    cpu = statistics.mean(sample.cpu_percent for sample in warm)
    machine_cpu = statistics.mean(sample.machine_percent for sample in warm)
    stolen = statistics.mean(sample.stolen_percent for sample in warm)
    moments = {"start": before, "warm": warm[0], "end": warm[-1], "empty": after}
    return [
        f"  gateway {cpu:.0f} % of a core; all processes {machine_cpu:.0f} % of all cores;"
        f" steal time of the host {stolen:.0f} %; load {os.getloadavg()[0]:.1f} at the end",
        *(
            f"  {when:6} {sample.bytes / MIB:7.1f} MiB  {sample.handles:4} handles"
            f"  {sample.threads:3} threads  {sample.tasks:4} tasks"
            for when, sample in moments.items()
        ),
        verdict(f"memory growth in {minutes:.1f} min", growth_mib(warm), GROWTH_LIMIT_MIB, "MiB"),
        verdict("handles leaked by all calls", after.handles - before.handles, 0, ""),
        verdict("tasks leaked by all calls", after.tasks - before.tasks, 0, ""),
    ]


def _row(name: str, values: Sequence[float]) -> str:
    p50, p99, longest = (1000 * percentile(values, share) for share in (0.5, 0.99, 1.0))
    return (
        f"  {name:40} p50 {p50:5.0f} ms  p99 {p99:5.0f} ms  max {longest:5.0f} ms  n={len(values)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=8, help="concurrent calls (8)")
    parser.add_argument("--seconds", type=float, default=600, help="duration in seconds (600)")
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    print(f"  {args.calls} calls for {args.seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="voice-soak.") as folder:
        result = asyncio.run(soak(Path(folder), args.calls, args.seconds))
    print("\n".join(render(result)), flush=True)


if __name__ == "__main__":
    main()
