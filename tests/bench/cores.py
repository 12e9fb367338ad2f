"""Compare the calls per gateway core of two builds: python -m tests.bench.cores BEFORE.

BEFORE is the folder of the other build, as for `make bench AGAINST`. Both gateways run on instant
engines and are called at the same time with the client of this build, so that the load of the
machine affects both. The microphones send digital silence between the questions, and then noise
everywhere. Compared is the CPU time of the process, user and system, for each second of a
call.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
from pathlib import Path

from client.config import Config
from tests.bench.capacity import TURNS_PER_CALL, call
from tests.bench.figures import machine, row, verdict
from tests.bench.gateway import SETTINGS, running
from tests.bench.noise import NOISE_DBFS
from tests.bench.trust import Costs
from tests.e2e.appliance import ROOT, Appliance

CALLERS = (3, 4)
ROUNDS = 3
MIN_RATIO = 1.5


async def measure(
    builds: tuple[Path, Path], folder: Path, callers: int, rounds: int, noisy: bool
) -> list[str]:
    """Measure both builds, the other one first. Return the lines to print."""
    before = Appliance(folder / "before", SETTINGS, root=builds[0])
    now = Appliance(folder / "now", SETTINGS, root=builds[1])
    command = ("appliance", "gateway")
    async with (
        running(before, Config(url=before.url, token=before.token), *command) as other,
        running(now, Config(url=now.url, token=now.token), *command) as own,
    ):
        gateways, costs = (other, own), (Costs(), Costs())
        for gateway in gateways:
            await call(gateway.config, 0, 1)  # the first call of a process loads modules
        for _ in range(rounds):
            await asyncio.gather(
                *(
                    each.hold_round(gateway, callers, TURNS_PER_CALL, noisy)
                    for gateway, each in zip(gateways, costs, strict=True)
                )
            )
        memory = [gateway.process.memory_info().rss / 1e6 for gateway in gateways]
    microphones = f"noise of {NOISE_DBFS:.0f} dBFS" if noisy else "digital silence"
    title = f"CPU of the gateway for a second of a call, {callers} calls at once, {microphones}"
    return [title, *report(*costs, memory)]


def report(before: Costs, now: Costs, memory: list[float]) -> list[str]:
    """Return the rows of both, and the ratio of their calls per core."""
    per_core = [each.call_seconds / each.cpu_seconds for each in (before, now)]
    return [
        row("before", before.cpu_shares, "ms", 1000),
        row("now", now.cpu_shares, "ms", 1000),
        f"  resident memory, MB: {memory[0]:.0f} before, {memory[1]:.0f} now",
        verdict("calls per core, ratio", per_core[1] / per_core[0], MIN_RATIO, "", at_least=True),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cores", description=__doc__)
    parser.add_argument("before", type=Path, help="the folder of the other build")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of calls ({ROUNDS})")
    parser.add_argument("--callers", type=int, nargs="*", default=CALLERS, help="at once (3 4)")
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    builds = args.before.resolve(), ROOT
    for callers, noisy in itertools.product(args.callers, (False, True)):
        with tempfile.TemporaryDirectory(prefix="voice-cores.") as folder:
            lines = asyncio.run(measure(builds, Path(folder), callers, args.rounds, noisy))
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
