"""Compare the vLLM engine with recorded references.

Each folder is laid out like tests/golden/ultravox-tiny. Default: all folders in tests/golden.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path

from appliance import journal, offline, settings
from appliance.errors import ApplianceError
from tests.golden.comparison import TOLERANCES, compare_all
from tests.golden.reference import FOLDERS, Reference


async def run(reference: Reference, config: settings.Settings, tolerance: float) -> int:
    """Start the engine and print a line per case. Return 1 if any case fails, else 0."""
    failed = 0
    async with contextlib.aclosing(compare_all(reference, config)) as comparisons:
        async for comparison in comparisons:
            passed = comparison.passes(tolerance)
            failed += not passed
            print(f"{'pass' if passed else 'FAIL'}  {comparison}", flush=True)
    print(f"{len(reference.cases) - failed} of {len(reference.cases)} cases pass")
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make golden", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="folder")
    parser.add_argument("--dtype", default="float32", help="float32 (default), bfloat16, auto")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="of log-probabilities; default: "
        + ", ".join(f"{limit} in {dtype}" for dtype, limit in TOLERANCES.items()),
    )
    args = parser.parse_args(arguments)
    offline.apply(os.environ)
    folders = [folder.resolve() for folder in args.folders or FOLDERS]
    tolerance = args.tolerance
    if tolerance is None:
        tolerance = TOLERANCES.get(args.dtype, max(TOLERANCES.values()))
    return max([compare_folder(folder, args.dtype, tolerance) for folder in folders])


def compare_folder(folder: Path, dtype: str, tolerance: float) -> int:
    """Compare all cases of a folder. Returns the exit status."""
    try:
        reference = Reference(folder)
        config = settings.load(
            {
                **{name: value for name, value in os.environ.items() if name.startswith("VOICE_")},
                "VOICE_PATHS_WEIGHTS": str(reference.checkpoint.parent),
                "VOICE_LLM_ENGINE": "vllm",
                "VOICE_LLM_MODEL": reference.checkpoint.name,
                "VOICE_LLM_DTYPE": dtype,
                "VOICE_LLM_TODAY": reference.today,
                "VOICE_JOURNAL_LEVEL": "warning",
            }
        )
    except (OSError, KeyError, ValueError) as problem:
        print(f"error: {folder} is not laid out like {FOLDERS[0]}: {problem}", file=sys.stderr)
        return 2
    except ApplianceError as problem:
        print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
        return 2
    journal.configure(config.journal, "golden")
    print(f"{folder}, {dtype}", flush=True)
    try:
        return asyncio.run(run(reference, config, tolerance))
    except ApplianceError as problem:
        print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
