"""One round of the benchmark: start an appliance of one build, measure it, stop it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from client.errors import ClientError
from tests.bench import external, independent, recordings
from tests.bench.figures import Samples
from tests.e2e.appliance import ROOT, Appliance

CACHE = ROOT / ".cache/bench"
PARTS = ("speed", "recordings", "callers", "voicebench")
CALLER_COUNTS = (3, 4)
TURNS_PER_CALLER = 3


def rotate(files: Sequence[bytes], count: int) -> list[bytes]:
    """Return the files, beginning with the one after the first `count`, round and round."""
    first = count % len(files)
    return [*files[first:], *files[:first]]


def add_options(parser: argparse.ArgumentParser, parts: tuple[str, ...]) -> None:
    """Add the options that both kinds of benchmark have."""
    parser.add_argument(
        "--turns",
        type=int,
        default=21,
        help="turns of each build with the bench's questions, and with recordings (21)",
    )
    parser.add_argument("--barge-ins", type=int, default=8, help="interruptions of each build (8)")
    parser.add_argument("--only", choices=parts, help="run only this part")


def measure(
    build: Path, folder: Path, turns: int, barge_ins: int, only: str | None, number: int = 0
) -> Samples:
    """Run an appliance of the build in `build` and measure the parts.

    folder  for the appliance's log
    number  of the round, from 0: each round goes on with the recordings after those of the last
    """
    appliance = Appliance(folder, root=build)
    appliance.start()
    try:
        parts = PARTS if only is None else (only,)
        return asyncio.run(_measure(appliance, turns, barge_ins, parts, number))
    finally:
        appliance.stop()


async def _measure(
    appliance: Appliance, turns: int, barge_ins: int, parts: tuple[str, ...], number: int
) -> Samples:
    samples = Samples()

    async def add(name: str, part: Callable[[], Awaitable[Samples]]) -> None:
        try:
            samples.merge(await part())
        except (
            ClientError,
            recordings.RecordingsUnavailable,
            independent.VoicebenchFailed,
        ) as error:
            samples.notes.append(f"{name}: not measured: {error}")

    async def human() -> Samples:
        sounds = await asyncio.to_thread(recordings.fetch, CACHE)
        files = rotate(recordings.load(sounds), number * turns)
        return await external.measure_recordings(appliance, files, turns)

    if "speed" in parts:
        await add("questions", lambda: external.measure_questions(appliance, turns))
        await add("phrases", lambda: external.measure_phrases(appliance, turns))
        await add("barge-in", lambda: external.measure_barge_in(appliance, barge_ins))
    if "recordings" in parts:
        await add("human", human)
    if "callers" in parts:
        for callers in CALLER_COUNTS:
            await add(
                f"{callers} callers",
                partial(external.measure_callers, appliance, callers, TURNS_PER_CALLER),
            )
    samples.merge(external.measure_memory(appliance))
    if "voicebench" in parts:
        await add("voicebench", lambda: independent.measure(appliance, CACHE))
    return samples
