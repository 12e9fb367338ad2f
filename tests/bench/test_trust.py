"""The verdicts of the measurement of TLS, tokens and limits."""

from __future__ import annotations

import pytest

from tests.bench.trust import Costs, report


def costs(wait_seconds: float, cpu_share: float) -> Costs:
    """Return samples of two rounds of 100 s of calls, all the same."""
    waits, shares = [wait_seconds] * 8, [cpu_share] * 2
    return Costs(waits, shares, cpu_seconds=200 * cpu_share, call_seconds=200.0)


@pytest.mark.parametrize(
    ("wait_seconds", "cpu_share", "missed"),
    [
        (0.3, 0.05, []),
        (0.303, 0.0512, []),
        (0.31, 0.05, ["voice to voice, ratio of the medians"]),
        (0.3, 0.052, ["calls per core, ratio over all rounds"]),
    ],
)
def test_ratio_beyond_its_target_is_missed(
    wait_seconds: float, cpu_share: float, missed: list[str]
) -> None:
    lines = report(costs(0.3, 0.05), costs(wait_seconds, cpu_share))
    found = [line.strip().rpartition("  ")[0] for line in lines if line.endswith("MISSED")]
    assert [line.partition("   ")[0] for line in found] == missed
