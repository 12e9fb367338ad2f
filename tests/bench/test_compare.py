"""Two builds side by side."""

from __future__ import annotations

from tests.bench.compare import figures, table
from tests.bench.figures import row


def test_the_rows_of_a_bench_are_read_back() -> None:
    output = "\n".join(["On a machine", row("voice to voice", [1.0, 2.0, 3.0]), "  p50 missing"])
    assert figures(output) == {"voice to voice, s": (2.0, 3)}


def test_the_ratio_is_of_the_medians_and_above_one_when_this_build_is_slower() -> None:
    old = [{"added, ms": (20.0, 5)}, {"added, ms": (20.0, 5)}]
    new = [{"added, ms": (22.0, 5)}, {"added, ms": (20.0, 5)}]
    line = list(table(old, new))[-1]
    assert line.split() == ["added,", "ms", "20.00", "21.00", "1.050", "20"]


def test_a_figure_that_only_one_build_has_is_left_out() -> None:
    assert len(list(table([{"added, ms": (1.0, 1)}], [{"other, ms": (1.0, 1)}]))) == 1
