"""python -m tests.bench.image: the image's size by layer, its build, and how fast it gets ready.

Export and import are measured by tests/bench/carry.py. Asserts nothing.
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
from tests.image.sealed import Built, Network, Sealed

STARTS = 3

# The container's peak, files it read included, by either version of cgroups.
PEAK = """
from pathlib import Path
group = Path("/sys/fs/cgroup")
files = (group / "memory.peak", group / "memory/memory.max_usage_in_bytes")
print(next(path.read_text() for path in files if path.exists()))
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-image", description=__doc__)
    parser.add_argument("--from-nothing", action="store_true", help="build without any cache")
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="voice-bench.") as folder,
        sealed.store(sealed.STORE) as host,
        sealed.network() as network,
    ):
        with _timed("build, nothing cached" if args.from_nothing else "build, as cached"):
            options = ("--no-cache",) if args.from_nothing else ()
            built = sealed.build(host, sealed.STORE / "out/cpu", *options)
        print("\n".join(sizes(built)), flush=True)
        print("\n".join(seal_speed(built)), flush=True)
        for number in range(STARTS):
            cold = number == 0
            if cold:
                forget_files()
            place = Path(tempfile.mkdtemp(dir=folder))
            print(
                f"  {'cold' if cold else 'warm'} start: {start(built, network, place)}", flush=True
            )


def sizes(built: Built) -> list[str]:
    """Every layer's size, and the whole against its target."""
    image = built.lock["image"]
    lines = ["Layers, uncompressed, lowest first"]
    lines += [
        f"  {layer['size_bytes'] / 1e6:8.1f} MB  {layer['holds']}"
        for layer in image["layers"]
        if layer["size_bytes"] > 10_000
    ]
    lines.append(verdict("image", image["size_bytes"] / 1e9, 2.5, "GB"))
    lines.append(
        verdict("a code fix, uncompressed", image["layers"][-1]["size_bytes"] / 1e6, 20, "MB")
    )
    return lines


def seal_speed(built: Built) -> list[str]:
    """The check of every byte, as each first start does it, from the page cache."""
    with tempfile.TemporaryDirectory() as place:
        weights = Path(place)
        for folder in sorted((built.out / "context").glob("weights-*")):
            for path in folder.iterdir():
                _mirror(path, weights / path.name)
        lock = manifest.read(built.lock_path)
        return [f"  {seal.verify(weights, lock, 'cpu')}" for _ in range(2)][1:]


def start(built: Built, network: Network, folder: Path) -> str:
    """Runs a container until it is ready, asks one question, stops it; how long each took."""
    container = Sealed(built, network, folder)
    try:
        began = time.monotonic()
        container.start().wait_ready()
        ready = time.monotonic() - began
        checked = container.metric("voice_seal_verify_seconds")
        turns = container.say(QUESTIONS[0])
        first = turns[0]["voice_to_voice_seconds"]
        memory = int(container.inside(PEAK)) / 1e6
        began = time.monotonic()
        code = container.stop()
        stopped = time.monotonic() - began
    finally:
        container.remove()
    return (
        f"ready after {ready:5.1f} s, {checked:.1f} s of them the seal; first answer after "
        f"{first:.2f} s; {memory:,.0f} MB of memory at most; stopped in {stopped:.1f} s with "
        f"exit code {code}"
    )


def forget_files() -> None:
    """Empties the page cache, so that a start reads from the disk."""
    Path("/proc/sys/vm/drop_caches").write_text("3")


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"  {what}: {time.monotonic() - began:.0f} s", flush=True)


def _mirror(path: Path, target: Path) -> None:
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            inside = target / file.relative_to(path)
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.symlink_to(file)


if __name__ == "__main__":
    main()
