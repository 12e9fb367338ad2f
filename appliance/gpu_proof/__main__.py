"""`python -m appliance.gpu_proof`: run the proof, or compare two records. See ops/gpu-proof."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance.gpu_proof import page, parcels, runner
from appliance.gpu_proof.machine import ROOT
from appliance.gpu_proof.record import compare
from appliance.gpu_proof.record_file import read
from appliance.gpu_proof.steps import STEPS, StepPlan

DEFAULT_MINUTES = 12.0
EXIT_INTERRUPTED = 130
STATE = Path("/var/tmp/voice-gpu-proof")


def main(argv: Sequence[str]) -> int:
    """Run the command line. Exit code 0 if at least one step was measured, else 1."""
    parser = argparse.ArgumentParser(prog="ops/gpu-proof", description=__doc__)
    add_options(parser)
    return run(parser.parse_args(argv))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options, also of `python -m appliance gpu-proof`."""
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES, help="time for all steps")
    parser.add_argument(
        "--out", type=Path, default=Path("gpu-proof"), help="folder for the results"
    )
    parser.add_argument("--weights", type=Path, default=ROOT / "weights")
    parser.add_argument("--scratch", type=Path, help="folder for large files; default: a new one")
    parser.add_argument("--only", type=_steps, default=STEPS, metavar="STEP[,STEP...]")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in tiny sizes")
    parser.add_argument("--receive", type=Path, metavar="FOLDER", help="take over a parcel first")
    parser.add_argument("--state", type=Path, default=STATE, help="where received files are kept")
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("BASE", "OTHER"))


def run(args: argparse.Namespace) -> int:
    """Run the proof, or compare two records."""
    try:
        if args.compare:
            base, other = map(read, args.compare)
            print(page.format_comparison(compare(base, other)))
            return 0
        if args.receive:
            _receive(args.receive, args.state)
            args.weights = args.state / "weights"
        return _run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, runner.Interrupted):
        print("interrupted; what was measured is in the record", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(args: argparse.Namespace) -> int:
    scratch = args.scratch or Path(tempfile.mkdtemp(prefix="gpu-proof."))
    options = runner.RunOptions(
        out=args.out.resolve(),
        weights=args.weights.resolve(),
        scratch=scratch.resolve(),
        seconds=60 * args.minutes,
        device="cpu" if args.rehearse else "cuda",
        size="tiny" if args.rehearse else "full",
    )
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends the steps, too
        signal.signal(number, _exit)
    try:
        record = runner.run(args.only, options, lambda line: print(line, flush=True))
    finally:
        if args.scratch is None:
            shutil.rmtree(scratch, ignore_errors=True)
    print()
    print(page.format_table(record))
    print(f"\n{options.out / runner.RECORD}\n{options.out / runner.PAGE}")
    return 0 if any(step.measurements for step in record.steps) else 1


def _exit(_number: int, _frame: object) -> None:
    raise SystemExit(EXIT_INTERRUPTED)


def _receive(parcel: Path, state: Path) -> None:
    """Take over a parcel, and make its Python packages importable by the steps."""
    arrivals = parcels.receive(parcel, state)
    for name, left in arrivals.missing_bytes.items():
        print(f"{name}: {left:,} bytes have not arrived yet")
    site = state / parcels.SITE
    wheels = sorted(map(str, (state / parcels.WHEELS).glob("*.whl")))
    if wheels:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        command += ["--no-compile", "--upgrade", f"--target={site}", *wheels]
        done = subprocess.run([*command, "--disable-pip-version-check"], check=False)
        if done.returncode:
            print("not all packages could be installed; steps without them still run")
        sys.path.insert(0, str(site))
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)


def _steps(text: str) -> tuple[StepPlan, ...]:
    names = {step.name: step for step in STEPS}
    wanted = text.split(",")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(names)}")
    return tuple(step for step in STEPS if step.name in wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
