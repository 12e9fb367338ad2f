"""Measure two builds from outside and compare them: python -m tests.bench.compare BEFORE.

BEFORE is the folder of the other build: a worktree with its own `.venv` and weights, or links to
these. The builds run alternately, so that a change in the machine's speed affects both. Both are
called with the client of this build, over the network's protocol; nothing of the other build is
imported. For each figure, prints median and p95 over all turns of each build, and this build's
divided by the other's. A ratio above 1 means that this build is slower, or needs more.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.bench import rounds
from tests.bench.figures import Samples, compare, machine
from tests.e2e.appliance import ROOT


def share(total: int, parts: int) -> int:
    """Return how many of `total` turns each of `parts` rounds needs."""
    return -(-total // parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make bench AGAINST=FOLDER",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, help="the folder of the other build")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each build (3)")
    rounds.add_options(parser, rounds.PARTS)
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    before, now = Samples(), Samples()
    turns, barge_ins = share(args.turns, args.rounds), share(args.barge_ins, args.rounds)
    try:
        with tempfile.TemporaryDirectory(prefix="voice-bench.") as folder:
            for number in range(args.rounds):
                order = [(args.before.resolve(), before), (ROOT, now)]
                for build, samples in order if number % 2 == 0 else reversed(order):
                    name = "now" if samples is now else "before"
                    where = Path(folder) / f"{number}-{name}"
                    samples.merge(rounds.measure(build, where, turns, barge_ins, args.only, number))
                    print(f"  round {number + 1} of {args.rounds}: {name} ({build})", flush=True)
    finally:  # a round that fails after an hour does not take the others with it
        print("Latencies are measured at the client's playback buffer.")
        print("\n".join(compare(before, now)), flush=True)


if __name__ == "__main__":
    main()
