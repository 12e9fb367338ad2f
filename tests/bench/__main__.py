"""Measure latency and capacity of the appliance on this machine, and compare them with targets.

A missed target is printed, but does not make the benchmark fail.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.bench import capacity, speed
from tests.bench.figures import machine


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--turns", type=int, default=21, help="turns with the real models (21)")
    parser.add_argument("--barge-ins", type=int, default=8, help="interruptions (8)")
    parser.add_argument("--only", choices=("speed", "capacity"), help="run only this part")
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="voice-bench.") as folder:
        if args.only != "capacity":
            lines = asyncio.run(speed.measure(Path(folder) / "speed", args.turns, args.barge_ins))
            print("\n".join(lines), flush=True)
        if args.only != "speed":
            print("\n".join(asyncio.run(capacity.measure(Path(folder) / "capacity"))), flush=True)


if __name__ == "__main__":
    main()
