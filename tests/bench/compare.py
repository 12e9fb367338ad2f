"""Compare the `make bench` results of two builds: python -m tests.bench.compare BEFORE.

BEFORE is the folder of the other build, such as a worktree with its own `.venv` and weights. The
builds run alternately, so that a change in the machine's speed affects both. For each figure,
prints the median p50 of each build over all rounds, and this build's median divided by the
other's. A ratio above 1 means that this build is slower.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.bench.figures import machine
from tests.e2e.appliance import ROOT

_ROW = re.compile(r"^ *(\S.*?) +p50 +([\d.]+) (\w+) .* n=(\d+)$")

Figures = Mapping[str, tuple[float, int]]  # p50 and n of each row, keyed by name and unit


def parse_rows(output: str) -> dict[str, tuple[float, int]]:
    """Parse the rows of a benchmark's output that have a p50."""
    rows = (_ROW.match(line) for line in output.splitlines())
    return {f"{row[1]}, {row[3]}": (float(row[2]), int(row[4])) for row in rows if row}


def render_table(before: Sequence[Figures], now: Sequence[Figures]) -> Iterable[str]:
    """Return the comparison table, with a line for each figure that both builds report."""
    yield f"  {'p50':38}{'before':>9}{'now':>9}{'ratio':>8}   n"
    collected: dict[str, tuple[list[float], list[float], list[float]]] = defaultdict(
        lambda: ([], [], [])
    )
    for side, rounds in enumerate((before, now)):
        for figures in rounds:
            for name, (p50, n) in figures.items():
                collected[name][side].append(p50)
                collected[name][2].append(n)
    for name, (old, new, counts) in collected.items():
        if old and new:
            old_p50, new_p50 = statistics.median(old), statistics.median(new)
            ratio = f"{new_p50 / old_p50:8.3f}" if old_p50 else f"{'-':>8}"
            yield f"  {name:38}{old_p50:9.2f}{new_p50:9.2f}{ratio}   {sum(counts):g}"


def run(folder: Path, arguments: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Run the benchmark of the build in `folder`, with that build's packages; parse its rows."""
    process = subprocess.run(
        [folder / ".venv/bin/python", "-m", "tests.bench", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        sys.exit(f"the benchmark in {folder} failed:\n{process.stdout}{process.stderr}")
    return parse_rows(process.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="the folder of the other build")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each build (2)")
    args, rest = parser.parse_known_args()  # `rest` is for tests.bench
    print(f"On {machine()}", flush=True)
    before: list[Figures] = []
    now: list[Figures] = []
    for number in range(args.rounds):
        order = ((args.before.resolve(), before), (ROOT, now))
        for folder, results in order if number % 2 == 0 else reversed(order):
            results.append(run(folder, rest))
            print(f"  round {number + 1} of {args.rounds}: {folder.name}", flush=True)
    print("\n".join(render_table(before, now)))


if __name__ == "__main__":
    main()
