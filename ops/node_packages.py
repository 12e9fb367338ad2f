"""Installs the npm packages that tests and checks use: `python -m ops.node_packages`.

They are locked in `tests/*/package-lock.json` and installed beside it, in `node_modules`. Nothing
of them is shipped. Without an npm on this machine, the pinned one is installed for that time:
TypeScript and esbuild are programs that need no Node.js to run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ops.bundle.packages import npm_command

ROOT = Path(__file__).parent.parent
LOCK = "package-lock.json"
STAMP = ".installed"  # below node_modules: the sha256 of the lock that was installed


def folders(root: Path = ROOT) -> list[Path]:
    """Return the folders with a lock."""
    return [path.parent for path in sorted((root / "tests").glob(f"*/{LOCK}"))]


def is_current(folder: Path) -> bool:
    """Return whether the packages of the folder's lock are installed."""
    stamp = folder / "node_modules" / STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _wanted(folder)


def install(folder: Path, npm: list[str]) -> int:
    """Install the packages of the lock; return npm's exit code. No package's script is run."""
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    done = subprocess.run([*npm, "ci", *options], cwd=folder, check=False)
    if done.returncode == 0:
        (folder / "node_modules" / STAMP).write_text(_wanted(folder), encoding="utf-8")
    return done.returncode


def _wanted(folder: Path) -> str:
    return hashlib.sha256((folder / LOCK).read_bytes()).hexdigest()


def main() -> int:
    """Install what is not up to date."""
    outdated = [folder for folder in folders() if not is_current(folder)]
    if not outdated:
        return 0
    scratch = Path(tempfile.mkdtemp(prefix="npm-"))
    try:
        npm = npm_command(scratch)
        return max(install(folder, npm) for folder in outdated)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main())
