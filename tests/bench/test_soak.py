"""A short soak: what does not depend on how busy the machine is."""

from __future__ import annotations

from pathlib import Path

from tests.bench.soak import MIB, Interval, lines, soak, stalls

SECONDS = 30.0
CALLS = 3
GROWN_MIB = 150  # a process that has just loaded its models grows by 80 with its first calls
STRAY_HANDLES = 4


async def test_calls_side_by_side_are_all_answered_and_leave_nothing_behind(tmp_path: Path) -> None:
    found = await soak(tmp_path, CALLS, SECONDS)
    print("\n".join(lines(found)))
    assert found.broken == []
    assert len(found.records) >= CALLS
    assert {record.outcome for record in found.records} == {"answered"}
    assert all(record.heard.seconds > 1 for record in found.records)
    assert found.before is not None and found.after is not None
    assert found.after.tasks <= found.before.tasks
    assert found.after.handles <= found.before.handles + STRAY_HANDLES
    assert found.after.bytes - found.before.bytes < GROWN_MIB * MIB


def test_long_intervals_of_one_moment_are_one_stall() -> None:
    long = [Interval(at, 0.3) for at in (20.0, 5.2, 5.0)]
    assert [[one.at for one in halt] for halt in stalls([*long, Interval(5.1, 0.04)])] == [
        [5.0, 5.2],
        [20.0],
    ]
