"""python -m tests.bench.compare BEFORE: `make bench` of another build and of this one, in turn.

BEFORE is a folder with the other build, such as a worktree of it with its own `.venv` and weights.
The builds run alternately, so that a machine that changes its speed meanwhile changes both. Printed
is the median of each p50 over the rounds, and the ratio of this build to the other: above 1 is
slower.
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

Figures = Mapping[str, tuple[float, int]]  # the p50 and n of each row, by name and unit


def figures(output: str) -> dict[str, tuple[float, int]]:
    """The rows of a bench's output that have a p50."""
    rows = (_ROW.match(line) for line in output.splitlines())
    return {f"{row[1]}, {row[3]}": (float(row[2]), int(row[4])) for row in rows if row}


def table(before: Sequence[Figures], now: Sequence[Figures]) -> Iterable[str]:
    """A line for each figure that both builds have."""
    yield f"  {'p50':38}{'before':>9}{'now':>9}{'ratio':>8}   n"
    collected: dict[str, tuple[list[float], list[float], list[float]]] = defaultdict(
        lambda: ([], [], [])
    )
    for side, rounds in enumerate((before, now)):
        for one in rounds:
            for name, (p50, n) in one.items():
                collected[name][side].append(p50)
                collected[name][2].append(n)
    for name, (old, new, counts) in collected.items():
        if old and new:
            a, b = statistics.median(old), statistics.median(new)
            ratio = f"{b / a:8.3f}" if a else f"{'-':>8}"
            yield f"  {name:38}{a:9.2f}{b:9.2f}{ratio}   {sum(counts):g}"


def run(folder: Path, arguments: Sequence[str]) -> dict[str, tuple[float, int]]:
    """One bench of the build in `folder`, in that build's environment."""
    done = subprocess.run(
        [folder / ".venv/bin/python", "-m", "tests.bench", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the bench in {folder} failed:\n{done.stdout}{done.stderr}")
    return figures(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="the folder of the other build")
    parser.add_argument("--rounds", type=int, default=2, help="of each build (2)")
    args, rest = parser.parse_known_args()  # the rest is for tests.bench
    print(f"On {machine()}", flush=True)
    before: list[Figures] = []
    now: list[Figures] = []
    for number in range(args.rounds):
        order = ((args.before.resolve(), before), (ROOT, now))
        for folder, results in order if number % 2 == 0 else reversed(order):
            results.append(run(folder, rest))
            print(f"  round {number + 1} of {args.rounds}: {folder.name}", flush=True)
    print("\n".join(table(before, now)))


if __name__ == "__main__":
    main()
