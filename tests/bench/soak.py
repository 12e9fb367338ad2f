"""python -m tests.bench.soak [--calls 8] [--seconds 600]: many calls for long; no gaps, no growth.

Every caller talks without a rest, to a gateway whose engines answer at once. Measured is the sound
as it arrives and as it is heard behind the client's 80 ms buffer, and what the gateway's process
holds at the start, once it is warm (histories are full then), and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from client.call import Arrival, ClientCall, connect
from client.conversation import Conversation
from client.record import ClientTurnRecord
from client.wav import read_wav
from client.wire import AudioFrame
from tests.bench.figures import machine, percentile, verdict
from tests.bench.house import House, on_instant_engines
from tests.e2e.appliance import QUESTIONS

GAP_LIMIT_MS = 100  # at p99
GROWTH_LIMIT_MIB = 10.0  # of the floor, once warm
WARM_SECONDS = 150.0  # histories of ten exchanges are full, ten seconds each, and some more
SAMPLE_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
STALL_SECONDS = 1.0  # long intervals nearer to each other than this are of one stall
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """What the gateway's process holds at one moment of the monotonic clock."""

    at: float
    bytes: int
    handles: int
    threads: int
    tasks: int
    cpu_percent: float  # of one core, since the sample before
    machine_percent: float  # of all cores, all processes together
    stolen_percent: float  # of all cores, what the host gave to other machines


@dataclass(frozen=True, slots=True)
class Interval:
    """Between two frames of a reply's sound. `at` is when the second came, by the same clock."""

    at: float
    seconds: float


@dataclass
class Soaked:
    """What came of it. Times are seconds of the monotonic clock or between two of them."""

    intervals: list[Interval] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)  # of the client's own event loop
    records: list[ClientTurnRecord] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # why calls ended before their time
    samples: list[Sample] = field(default_factory=list)  # while all talk
    before: Sample | None = None  # when nobody had called yet
    after: Sample | None = None  # once everybody had left


class TimedCall(ClientCall):
    """A call that notes how long after the frame before it each frame of a reply's sound came."""

    def __init__(self, call: ClientCall, intervals: list[Interval]) -> None:
        self.__dict__.update(vars(call))
        self._intervals = intervals
        self._last: float | None = None

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """The same as a call's."""
        async for arrival in super().arrivals():
            if isinstance(arrival.frame, AudioFrame):
                if self._last is not None:
                    self._intervals.append(Interval(arrival.at, arrival.at - self._last))
                self._last = arrival.at
            yield arrival

    def asks(self) -> None:
        """The next sound is that of another reply."""
        self._last = None


async def soak(folder: Path, calls: int, seconds: float) -> Soaked:
    """So many callers at once talk for so long."""
    found = Soaked()
    async with on_instant_engines(folder) as house:
        found.before = await _sampled(house)
        watching = [asyncio.create_task(_watch(house, found)), asyncio.create_task(_lag(found))]
        until = time.monotonic() + seconds
        await asyncio.gather(*(_caller(house, found, n, until) for n in range(calls)))
        for task in watching:
            task.cancel()
        found.after = await _settled(house, found.before)
    return found


async def _caller(house: House, found: Soaked, number: int, until: float) -> None:
    """One call to the end: the next question soon after each answer."""
    await asyncio.sleep(number * 0.37)  # nobody dials in step
    questions = [read_wav(path) for path in QUESTIONS]
    call = TimedCall(await connect(house.config), found.intervals)
    async with Conversation(call) as talk:
        turn = 0
        while time.monotonic() < until and talk.failure is None:
            call.asks()
            asked = talk.say(questions[(number + turn) % len(questions)])
            found.records.append(await talk.finished(asked, PATIENCE_SECONDS))
            turn += 1
            await asyncio.sleep(0.3)
    if talk.failure is not None:
        found.broken.append(str(talk.failure))


async def _watch(house: House, found: Soaked) -> None:
    house.gateway.cpu_percent()
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        found.samples.append(await _sampled(house))


async def _lag(found: Soaked) -> None:
    while True:
        due = time.monotonic() + 0.05
        await asyncio.sleep(0.05)
        found.lateness.append(time.monotonic() - due)


async def _sampled(house: House) -> Sample:
    gateway = house.gateway
    with gateway.oneshot():
        return Sample(
            at=time.monotonic(),
            bytes=gateway.memory_info().rss,
            handles=gateway.num_fds(),
            threads=gateway.num_threads(),
            tasks=house.tasks(),
            cpu_percent=gateway.cpu_percent(),
            machine_percent=psutil.cpu_percent(),
            stolen_percent=psutil.cpu_times_percent().steal,
        )


async def _settled(house: House, before: Sample) -> Sample:
    """Once it holds no more handles and tasks than before, or half a minute after the last call."""
    until = time.monotonic() + 30
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        sample = await _sampled(house)
        is_settled = sample.handles <= before.handles and sample.tasks <= before.tasks
        if is_settled or time.monotonic() > until:
            return sample


def warm(samples: Sequence[Sample]) -> list[Sample]:
    """Those after the warm-up, or of the second half of a short run."""
    first, last = samples[0].at, samples[-1].at
    begins = first + min(WARM_SECONDS, (last - first) / 2)
    return [sample for sample in samples if sample.at >= begins]


def growth_mib(samples: Sequence[Sample]) -> float:
    """By how much the least that was held in the last third is above that of the first third.

    The allocator gives and takes 20 MiB within seconds as threads come and go, so what is held at
    one moment says little; a leak lifts the floor.
    """
    third = max(1, len(samples) // 3)
    first, last = (min(sample.bytes for sample in part) for part in _ends(samples, third))
    return (last - first) / MIB


def _ends(samples: Sequence[Sample], count: int) -> tuple[Sequence[Sample], Sequence[Sample]]:
    return samples[:count], samples[-count:]


def stalls(intervals: Sequence[Interval]) -> list[list[Interval]]:
    """The intervals above the limit, those together that one halt of the whole may have caused."""
    long = sorted(
        (one for one in intervals if 1000 * one.seconds > GAP_LIMIT_MS), key=lambda one: one.at
    )
    found: list[list[Interval]] = []
    for one in long:
        if not found or one.at - found[-1][-1].at > STALL_SECONDS:
            found.append([])
        found[-1].append(one)
    return found


def lines(found: Soaked) -> list[str]:
    """What is printed."""
    return [*_calls(found), *_sound(found), *_held(found)]


def _calls(found: Soaked) -> list[str]:
    unanswered = [record for record in found.records if record.outcome != "answered"]
    return [
        verdict(f"of {len(found.records)} turns without an answer", len(unanswered), 0, ""),
        *(
            f"    {record.outcome}: {record.heard.seconds:.1f} s heard of {record.reply_text!r}"
            for record in unanswered
        ),
        verdict("calls that ended before their time", len(found.broken), 0, ""),
        *(f"    {reason}" for reason in found.broken),
    ]


def _sound(found: Soaked) -> list[str]:
    intervals = [one.seconds for one in found.intervals]
    silences = [record.heard.longest_gap_seconds for record in found.records]
    p99s = [1000 * percentile(values, 0.99) for values in (intervals, silences)]
    return [
        _row("between two frames of a reply's sound", intervals),
        _row("longest silence heard in a reply", silences),
        _stalled(found),
        _row("the measuring client itself was late by", found.lateness),
        verdict("between two frames, p99", p99s[0], GAP_LIMIT_MS, "ms"),
        verdict("longest silence in a reply, p99", p99s[1], GAP_LIMIT_MS, "ms"),
    ]


def _stalled(found: Soaked) -> str:
    """Whether the long intervals are ours or the host's: what it stole then."""
    halts = stalls(found.intervals)
    count = sum(len(halt) for halt in halts)
    stolen = [_stolen(found.samples, halt[-1].at) for halt in halts]
    row = f"  {count} frames over {GAP_LIMIT_MS} ms after the one before, in {len(halts)} stalls"
    if stolen:
        row += f"; the host stole {min(stolen):.0f} to {max(stolen):.0f} % then"
    return row


def _stolen(samples: Sequence[Sample], at: float) -> float:
    """Percent that the host stole in the sample's time in which this moment lies."""
    after = (sample.stolen_percent for sample in samples if sample.at >= at)
    return next(after, samples[-1].stolen_percent)


def _held(found: Soaked) -> list[str]:
    assert found.before and found.after
    steady = warm(found.samples)
    minutes = (steady[-1].at - steady[0].at) / 60
    cpu = sum(sample.cpu_percent for sample in steady) / len(steady)
    everything = sum(sample.machine_percent for sample in steady) / len(steady)
    stolen = sum(sample.stolen_percent for sample in steady) / len(steady)
    moments = {"start": found.before, "warm": steady[0], "end": steady[-1], "empty": found.after}
    handles = found.after.handles - found.before.handles
    tasks = found.after.tasks - found.before.tasks
    return [
        f"  gateway {cpu:.0f} % of a core; all processes {everything:.0f} % of all cores, of which"
        f" the host stole {stolen:.0f} %; load {os.getloadavg()[0]:.1f} at the end",
        *(
            f"  {when:6} {sample.bytes / MIB:7.1f} MiB  {sample.handles:4} handles"
            f"  {sample.threads:3} threads  {sample.tasks:4} tasks"
            for when, sample in moments.items()
        ),
        verdict(f"memory grown in {minutes:.1f} min", growth_mib(steady), GROWTH_LIMIT_MIB, "MiB"),
        verdict("handles kept when all have left", handles, 0, ""),
        verdict("tasks kept when all have left", tasks, 0, ""),
    ]


def _row(name: str, values: Sequence[float]) -> str:
    p50, p99, most = (1000 * percentile(values, share) for share in (0.5, 0.99, 1.0))
    return f"  {name:40} p50 {p50:5.0f} ms  p99 {p99:5.0f} ms  max {most:5.0f} ms  n={len(values)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=8, help="at the same time (8)")
    parser.add_argument("--seconds", type=float, default=600, help="how long they last (600)")
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    print(f"  {args.calls} calls for {args.seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="voice-soak.") as folder:
        found = asyncio.run(soak(Path(folder), args.calls, args.seconds))
    print("\n".join(lines(found)), flush=True)


if __name__ == "__main__":
    main()
