"""Measure latency, capacity and memory of the appliance here, and compare them with targets.

A missed target is printed, but does not make the benchmark fail.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from appliance.gpu_proof.record import percentile
from tests.bench import capacity, proxy, rounds, strangers, trust
from tests.bench.figures import Figure, Samples, machine, verdict
from tests.e2e.appliance import ROOT

# On instant engines.
GATEWAY_PARTS: dict[str, Callable[[Path], Coroutine[Any, Any, list[str]]]] = {
    "capacity": capacity.measure,
    "proxy": proxy.measure,
    "trust": trust.measure,
    "strangers": strangers.measure,
}
# Figure, share of the samples that must meet the target, and the target in the figure's unit.
TARGETS = (
    (Figure("voice to voice", "s"), 0.5, 2.5),
    (Figure("voice to voice", "s"), 0.95, 4.0),
    (Figure("barge-in", "s"), 0.95, 0.4),
)


def verdicts(samples: Samples) -> Iterable[str]:
    """Return a line for each target whose figure was measured."""
    for figure, part, target in TARGETS:
        if values := samples.values.get(figure):
            name = f"{figure.name} p{part * 100:g}"
            yield verdict(name, percentile(values, part), target, figure.unit)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    rounds.add_options(parser, (*rounds.PARTS, *GATEWAY_PARTS))
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="voice-bench.") as folder:
        if args.only not in GATEWAY_PARTS:
            where = Path(folder) / "speed"
            samples = rounds.measure(ROOT, where, args.turns, args.barge_ins, args.only)
            print("With the real models; latencies are measured at the client's playback buffer")
            print("\n".join([*samples.rows(), *verdicts(samples)]), flush=True)
        for name, measure in GATEWAY_PARTS.items():
            if args.only in (None, name):
                print("\n".join(asyncio.run(measure(Path(folder) / name))), flush=True)


if __name__ == "__main__":
    main()
