"""python -m tests.golden [DIR]: `make golden`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from appliance import journal, offline, settings
from appliance.errors import ApplianceError
from appliance.link import protocol as p
from appliance.link.client import EngineClient
from appliance.link.server import listening
from tests.golden.comparison import TOLERANCE, Verdict, compare
from tests.golden.reference import Reference

HERE = Path(__file__).parent / "ultravox-tiny"


async def judge(reference: Reference, given: settings.Settings, tolerance: float) -> int:
    """Starts the engine, prints a line a case; 1 when one misses."""
    from appliance.engines.llm.vllm.engine import VllmEngine

    engine = VllmEngine(given)
    await engine.start()
    failed = 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "llm.sock"
            status = lambda: p.Report(ready=True)  # noqa: E731
            async with listening(path, status, engine):
                client = EngineClient("llm", path, stall_seconds=600)
                for case in reference.cases:
                    verdict: Verdict = await compare(client, reference, case)
                    passed = verdict.passes(tolerance)
                    failed += not passed
                    print(f"{'pass' if passed else 'FAIL'}  {verdict}", flush=True)
                await client.close()
    finally:
        await engine.stop()
    print(f"{len(reference.cases) - failed} of {len(reference.cases)} cases pass")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make golden", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE)
    parser.add_argument("--dtype", default="float32", help="float32 (default), bfloat16, auto")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="of log-probabilities")
    asked = parser.parse_args(arguments)
    folder = asked.folder.resolve()
    try:
        offline.apply(os.environ)
        reference = Reference(folder)
        given = settings.load(
            {
                **{name: value for name, value in os.environ.items() if name.startswith("VOICE_")},
                "VOICE_PATHS_WEIGHTS": str(reference.checkpoint.parent),
                "VOICE_LLM_ENGINE": "vllm",
                "VOICE_LLM_MODEL": reference.checkpoint.name,
                "VOICE_LLM_DTYPE": asked.dtype,
                "VOICE_LLM_TODAY": reference.today,
                "VOICE_JOURNAL_LEVEL": "warning",
            }
        )
    except (OSError, KeyError, ValueError) as problem:
        print(f"error: {folder} is not laid out like {HERE}: {problem}", file=sys.stderr)
        return 2
    except ApplianceError as problem:
        print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
        return 2
    journal.configure(given.journal, "golden")
    print(f"{folder}, {asked.dtype}", flush=True)
    try:
        return asyncio.run(judge(reference, given, asked.tolerance))
    except ApplianceError as problem:
        print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
