"""Comparison of two builds."""

from __future__ import annotations

from tests.bench.compare import parse_rows, render_table
from tests.bench.figures import row


def test_rows_of_a_benchmark_are_parsed() -> None:
    output = "\n".join(["On a machine", row("voice to voice", [1.0, 2.0, 3.0]), "  p50 missing"])
    assert parse_rows(output) == {"voice to voice, s": (2.0, 3)}


def test_ratio_of_medians_is_above_one_when_this_build_is_slower() -> None:
    old = [{"added, ms": (20.0, 5)}, {"added, ms": (20.0, 5)}]
    new = [{"added, ms": (22.0, 5)}, {"added, ms": (20.0, 5)}]
    line = list(render_table(old, new))[-1]
    assert line.split() == ["added,", "ms", "20.00", "21.00", "1.050", "20"]


def test_figure_of_only_one_build_is_omitted() -> None:
    assert len(list(render_table([{"added, ms": (1.0, 1)}], [{"other, ms": (1.0, 1)}]))) == 1
