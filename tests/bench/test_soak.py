"""A short soak. Asserts only results that do not depend on the machine's load."""

from __future__ import annotations

from pathlib import Path

from tests.bench.soak import MIB, Interval, find_stalls, render, soak

SECONDS = 30.0
CALLS = 3
GROWTH_MIB = 150  # a process that has just loaded its models grows by 80 MiB during its first calls
STRAY_HANDLES = 4


async def test_concurrent_calls_are_all_answered_and_leak_nothing(tmp_path: Path) -> None:
    result = await soak(tmp_path, CALLS, SECONDS)
    print("\n".join(render(result)))
    assert result.broken == []
    assert len(result.records) >= CALLS
    assert {record.outcome for record in result.records} == {"answered"}
    assert all(record.heard.seconds > 1 for record in result.records)
    assert result.before is not None and result.after is not None
    assert result.after.tasks <= result.before.tasks
    assert result.after.handles <= result.before.handles + STRAY_HANDLES
    assert result.after.bytes - result.before.bytes < GROWTH_MIB * MIB


def test_nearby_long_intervals_are_grouped_into_one_stall() -> None:
    long = [Interval(at, 0.3) for at in (20.0, 5.2, 5.0)]
    stalls = find_stalls([*long, Interval(5.1, 0.04)])
    assert [[interval.at for interval in stall] for stall in stalls] == [[5.0, 5.2], [20.0]]
