"""Measure the speed of the vLLM engine on this machine. Nothing is asserted, only printed."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from appliance import journal, offline, settings
from appliance.errors import ApplianceError
from appliance.gpu_proof.engine_speed import TOKENS, engine_settings, measure
from appliance.gpu_proof.machine import machine_facts
from appliance.gpu_proof.record import Record
from appliance.gpu_proof.record_file import write as write_record
from appliance.gpu_proof.results import Results
from appliance.gpu_proof.runner import interpret
from tests.bench.figures import machine
from tests.bench.random_weights import SIZES, write

TINY = Path(__file__).parents[1] / "golden" / "ultravox-tiny" / "checkpoint"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench-engine", description=__doc__)
    parser.add_argument("--model", type=Path, default=TINY, help="a sealed model folder")
    parser.add_argument("--random-weights", choices=SIZES, help="generate this model instead")
    parser.add_argument("--dtype", default="auto", help="float32, bfloat16, auto (default)")
    parser.add_argument("--rounds", type=int, default=10, help="of each measurement (10)")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of every reply (32)")
    parser.add_argument("--sessions", type=int, default=8, help="most concurrent sessions (8)")
    parser.add_argument(
        "--record", type=Path, help="also write a record that ops/gpu-proof --compare reads"
    )
    args = parser.parse_args(arguments)
    offline.apply(os.environ)
    with tempfile.TemporaryDirectory(prefix="voice-bench.") as scratch:
        folder = args.model.resolve()
        lines = Path(scratch) / "results.jsonl"
        try:
            if args.random_weights:
                folder = Path(scratch) / f"random-{args.random_weights}"
                print(f"writing random weights to {folder}", flush=True)
                write(folder, args.random_weights)
            config = engine_settings(folder, args.dtype)
            journal.configure(config.journal, "bench")
            print(f"On {machine()}\n{folder.name}, {args.tokens} tokens per reply", flush=True)
            results = Results(lines, seconds=0.0)
            asyncio.run(measure(config, results, args.rounds, args.tokens, args.sessions))
        except ApplianceError as problem:
            print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
            return 1
        if args.record:
            step = interpret("engine", lines.read_text("utf-8").splitlines(), 0, 0.0, "")
            now = datetime.now(UTC).isoformat(timespec="seconds")
            facts = {**machine_facts(), "model": folder.name}
            record = Record("bench-engine", settings.VERSION, now, facts, [step])
            write_record(args.record, record)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
