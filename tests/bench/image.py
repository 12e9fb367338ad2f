"""Measure the image: size by layer, build time, and the time until a container is ready.

tests/bench/carry.py measures export and import.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.weights import manifest, seal
from tests.bench.figures import machine, verdict
from tests.e2e.appliance import QUESTIONS
from tests.image import sealed
from tests.image.sealed import Built, Network, SealedContainer

STARTS = 3

# The container's peak memory, including the page cache of files it read. cgroup v2 or v1.
PEAK = """
from pathlib import Path
group = Path("/sys/fs/cgroup")
files = (group / "memory.peak", group / "memory/memory.max_usage_in_bytes")
print(next(path.read_text() for path in files if path.exists()))
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-image", description=__doc__)
    parser.add_argument("--no-cache", action="store_true", help="build without any cache")
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="voice-bench.") as folder,
        sealed.store(sealed.STORE) as host,
        sealed.network() as network,
    ):
        with _print_seconds("build without a cache" if args.no_cache else "build with the cache"):
            options = ("--no-cache",) if args.no_cache else ()
            built = sealed.build(host, sealed.STORE / "out/cpu", *options)
        print("\n".join(render_sizes(built)), flush=True)
        print("\n".join(measure_seal(built)), flush=True)
        for number in range(STARTS):
            is_cold = number == 0
            if is_cold:
                drop_page_cache()
            line = measure_start(built, network, Path(tempfile.mkdtemp(dir=folder)))
            print(f"  {'cold' if is_cold else 'warm'} start: {line}", flush=True)


def render_sizes(built: Built) -> list[str]:
    """Return lines with the size of every layer and of the image."""
    image = built.lock["image"]
    lines = ["Layers, uncompressed, lowest first"]
    lines += [
        f"  {layer['size_bytes'] / 1e6:8.1f} MB  {layer['holds']}"
        for layer in image["layers"]
        if layer["size_bytes"] > 10_000
    ]
    lines.append(verdict("image", image["size_bytes"] / 1e9, 2.3, "GB"))
    lines.append(
        verdict("a code fix, uncompressed", image["layers"][-1]["size_bytes"] / 1e6, 20, "MB")
    )
    return lines


def measure_seal(built: Built) -> list[str]:
    """Measure the full seal check of the first start, but from the page cache."""
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(scratch)
        for folder in sorted((built.out / "context").glob("weights-*")):
            for path in folder.iterdir():
                _link_files(path, weights / path.name)
        lock = manifest.read(built.lock_path)
        return [f"  {seal.verify(weights, lock, 'cpu')}" for _ in range(2)][1:]


def measure_start(built: Built, network: Network, folder: Path) -> str:
    """Start a container, wait until it is ready, ask one question and stop it. Return the times."""
    container = SealedContainer(built, network, folder)
    try:
        began = time.monotonic()
        container.start().wait_ready()
        ready_seconds = time.monotonic() - began
        seal_seconds = container.metric("voice_seal_verify_seconds")
        turns = container.say(QUESTIONS[0])
        answer_seconds = turns[0]["voice_to_voice_seconds"]
        memory_mb = int(container.inside(PEAK)) / 1e6
        began = time.monotonic()
        exit_code = container.stop()
        stop_seconds = time.monotonic() - began
    finally:
        container.remove()
    return (
        f"ready after {ready_seconds:5.1f} s, of which the seal took {seal_seconds:.1f} s; first "
        f"answer after {answer_seconds:.2f} s; peak memory {memory_mb:,.0f} MB; stopped in "
        f"{stop_seconds:.1f} s with exit code {exit_code}"
    )


def drop_page_cache() -> None:
    """Drop the page cache, so that the next start reads from the disk."""
    Path("/proc/sys/vm/drop_caches").write_text("3")


@contextmanager
def _print_seconds(name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"  {name}: {time.monotonic() - began:.0f} s", flush=True)


def _link_files(path: Path, target: Path) -> None:
    """Link a file, or every file of a folder, into `target`."""
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            link = target / file.relative_to(path)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)


if __name__ == "__main__":
    main()
