"""What TLS, tokens and limits cost: the gateway with them, and the same one without (bare.py).

Both run on instant engines and are called at the same time, so that the speed of the machine, which
changes, affects both: called in turn on a busy machine, the ratio of a round was 0.74 to 1.03.
Two processes of the same build differ by up to 5 % as long as they run, so several pairs are
measured, one after the other. The calls of each gateway begin at a random moment: otherwise the
frames of all of them would arrive in the same order every 40 ms.
Compared are the time from the user's last word to the first sound, and the CPU time of the gateway
process for each second of a call, including the start of the call: that of a TLS handshake and a
token.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from appliance.gpu_proof.record import percentile
from client.config import Config
from client.wire import FRAME_SECONDS
from tests.bench.capacity import call
from tests.bench.figures import machine, row, verdict
from tests.bench.gateway import SETTINGS, MeasuredGateway, as_a_site_has_it, running
from tests.e2e.appliance import Appliance

PAIRS = 6  # of gateways, one after the other
ROUNDS = 1  # of calls for each pair
CALLERS = 10  # of each gateway at the same time: a busy gateway costs less for each call
TURNS = 4  # of each caller in a round, 10 s each; the first one of a call is not counted
MAX_VOICE_TO_VOICE_RATIO = 1.02
MIN_CALLS_PER_CORE_RATIO = 0.97


@dataclasses.dataclass(slots=True)
class Costs:
    """The samples of gateways of one kind: a time for each turn, a quotient for each round.

    cpu_shares  CPU seconds of the gateway process for each second of a call
    """

    voice_to_voice_seconds: list[float] = dataclasses.field(default_factory=list)
    cpu_shares: list[float] = dataclasses.field(default_factory=list)
    cpu_seconds: float = 0.0
    call_seconds: float = 0.0

    async def hold_round(
        self,
        gateway: MeasuredGateway,
        callers: int = CALLERS,
        turns: int = TURNS,
        noisy: bool = False,
    ) -> None:
        """Hold `callers` calls at once, and add their samples. `noisy`: see noise.py."""
        before, began = gateway.cpu_seconds(), time.monotonic()
        start = random.uniform(0, FRAME_SECONDS)
        calls = [
            call(gateway.config, start + number * 0.37, turns, number if noisy else None)
            for number in range(callers)
        ]
        records = await asyncio.gather(*calls)
        lasted = callers * (time.monotonic() - began)
        used = gateway.cpu_seconds() - before
        self.cpu_shares.append(used / lasted)
        self.cpu_seconds += used
        self.call_seconds += lasted
        for each in records:
            waits = [record.voice_to_voice_seconds for record in each[1:]]
            self.voice_to_voice_seconds += [wait for wait in waits if wait is not None]


async def measure(
    folder: Path,
    rounds: int = ROUNDS,
    pairs: int = PAIRS,
    callers: int = CALLERS,
    turns: int = TURNS,
) -> list[str]:
    """Measure the pairs of gateways. Return the lines to print."""
    without, guarded = Costs(), Costs()
    for number in range(pairs):
        async with (
            _bare(folder / f"without-{number}") as bare,
            as_a_site_has_it(folder / f"with-{number}") as site,
        ):
            for gateway in (bare, site):
                await call(gateway.config, 0, 1)  # the first call of a process loads modules
            for _ in range(rounds):
                await asyncio.gather(
                    without.hold_round(bare, callers, turns),
                    guarded.hold_round(site, callers, turns),
                )
    load = f"  load of the machine at the end, this bench included: {os.getloadavg()[0]:.1f}"
    return [*report(without, guarded), load]


def report(without: Costs, guarded: Costs) -> list[str]:
    """Return the rows of both and their ratios."""
    calls_per_core = [each.call_seconds / each.cpu_seconds for each in (without, guarded)]
    rounds: Sequence[float] = [
        plain / secured
        for plain, secured in zip(without.cpu_shares, guarded.cpu_shares, strict=True)
    ]
    return [
        "TLS, tokens and limits: a gateway with them, and one without",
        row("voice to voice without", without.voice_to_voice_seconds, "ms", 1000),
        row("voice to voice with", guarded.voice_to_voice_seconds, "ms", 1000),
        row("CPU of a call without", without.cpu_shares, "%", 100),
        row("CPU of a call with", guarded.cpu_shares, "%", 100),
        row("calls per core, ratio of each round", rounds, ""),
        verdict(
            "voice to voice, ratio of the medians",
            percentile(guarded.voice_to_voice_seconds, 0.5)
            / percentile(without.voice_to_voice_seconds, 0.5),
            MAX_VOICE_TO_VOICE_RATIO,
            "",
        ),
        verdict(
            "calls per core, ratio over all rounds",
            calls_per_core[1] / calls_per_core[0],
            MIN_CALLS_PER_CORE_RATIO,
            "",
            at_least=True,
        ),
    ]


@contextlib.asynccontextmanager
async def _bare(folder: Path) -> AsyncIterator[MeasuredGateway]:
    appliance = Appliance(folder, SETTINGS)
    async with running(appliance, Config(url=appliance.url), "tests.bench.bare") as gateway:
        yield gateway


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trust", description=__doc__)
    parser.add_argument(
        "--pairs", type=int, default=PAIRS, help=f"of gateways, one after the other ({PAIRS})"
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"of calls for each pair ({ROUNDS})"
    )
    parser.add_argument(
        "--callers", type=int, default=CALLERS, help=f"of each gateway at the same time ({CALLERS})"
    )
    parser.add_argument("--turns", type=int, default=TURNS, help=f"of a call ({TURNS}), 10 s each")
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="voice-trust.") as folder:
        measuring = measure(Path(folder), args.rounds, args.pairs, args.callers, args.turns)
        print("\n".join(asyncio.run(measuring)), flush=True)


if __name__ == "__main__":
    main()
