"""The npm packages of the tests: `ops/setup --tests` installs them from the lock here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PACKAGES = FOLDER / "node_modules"


def package_file(path: str) -> Path:
    """Return a file of a package, by its path below node_modules. Skips the test without it."""
    found = next(iter(sorted(PACKAGES.glob(path))), None)
    if found is None:
        pytest.skip(f"{path.split('*')[0]}: not installed; ops/setup --tests installs it with npm")
    return found


def bundle(entry: Path, output: Path) -> None:
    """Write a script with the entry module and all that it imports. esbuild is a native program."""
    program = package_file("@esbuild/*/bin/esbuild")
    options = ["--bundle", "--format=esm", "--log-level=warning", f"--outfile={output}"]
    subprocess.run([program, entry, *options], cwd=FOLDER, check=True)
