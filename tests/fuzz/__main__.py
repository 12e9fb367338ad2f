"""Feed a target with inputs that atheris finds by coverage: python -m tests.fuzz TARGET [OPTIONS].

Needs atheris, which ops/fuzz installs. OPTIONS are those of libFuzzer, such as -max_total_time=60.
Exits with 0 if every property held. An input that broke one is written to .cache/fuzz.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.fuzz.targets import PLANTED, TARGETS, Target

FOUND = Path(__file__).parents[2] / ".cache/fuzz"


def instrument(module: ModuleType, atheris: Any) -> None:
    """Let atheris see which lines of the module's functions and methods run."""
    owners = [module, *(each for _, each in inspect.getmembers(module, inspect.isclass))]
    for owner in owners:
        for name, function in list(vars(owner).items()):
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                setattr(owner, name, atheris.instrument_func(function))


def run(name: str, target: Target, options: list[str]) -> None:
    """Run the target until the options end it. Does not return: libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    for module in target.modules:
        instrument(importlib.import_module(module), atheris)
    FOUND.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="voice-fuzz."))
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    found = f"-artifact_prefix={FOUND}/{name}-"
    atheris.Setup([sys.argv[0], found, *options, str(folder)], target.feed)
    atheris.Fuzz()


def main() -> None:
    targets = TARGETS | {"planted": PLANTED}
    if len(sys.argv) < 2 or sys.argv[1] not in targets:
        sys.exit(f"{__doc__}\nThe targets are: {', '.join(TARGETS)}")
    run(sys.argv[1], targets[sys.argv[1]], sys.argv[2:])


if __name__ == "__main__":
    main()
