"""Measure the speed of export, verification and import: python -m tests.bench.carry [--lock FILE].

Without --lock it builds an image of this folder's weights and Python packages, with the layers of
the real one: weights, packages, code. Our commands alternate with the plain commands that they are
compared with. Save and export compress with zstd level 3 and a thread per core. The verdict is the
ratio of the best times of `--runs`, because other load can only slow a run down. The medians and
the CPU time, which other load changes less, are printed, too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from appliance.weights import manifest, seal
from tests.bench.figures import machine, verdict
from tests.host import hosts
from tests.host.hosts import OPS, ROOT, Host


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--lock", type=Path, help="lock of an image in podman's store; default: build one"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each command (3)")
    parser.add_argument(
        "--folder", type=Path, help="scratch folder; needs six times the size of the image"
    )
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="voice-carry.", dir=args.folder) as name:
        folder = Path(name)
        with hosts.host(folder / "connected") as host:
            if args.lock:
                measure(LocalHost(), args.lock.resolve(), None, folder, args.runs)
            else:
                old, new = build_two_versions(host)
                measure(host, old, new, folder, args.runs)


class LocalHost(Host):
    """The current user's own podman."""

    def __init__(self) -> None:
        super().__init__(Path.cwd())

    @property
    def environ(self) -> dict[str, str]:
        return dict(os.environ)


def measure(host: Host, lock: Path, newer: Path | None, folder: Path, runs: int) -> None:
    """Measure the image of `lock` and the delta to the image of `newer`, and print the results."""
    size = sum(layer["size_bytes"] for layer in json.loads(lock.read_text())["image"]["layers"])
    print(f"  image {size / 1e6:,.0f} MB in layers, {runs} runs each", flush=True)
    plain, releases = folder / "plain.tar.zst", folder / "releases"
    saves, exports, loads, imports = [], [], [], []
    for _ in range(runs):
        saves.append(measure_run(lambda: save(host, lock, plain)))
        shutil.rmtree(releases, ignore_errors=True)
        exports.append(measure_run(lambda: export(host, releases, "--lock", lock)))
    (release,) = releases.glob("voice-appliance-*")
    exported = sum(path.stat().st_size for path in release.rglob("*") if path.is_file())
    print(f"  export {exported / 1e6:,.0f} MB; plain zstd {plain.stat().st_size / 1e6:,.0f} MB")
    compare("export", "podman save | zstd", size, exports, saves, 1.15)
    load_command = ("podman", "load", "--input", plain)
    import_command = (release / "import", "--signers", release / "allowed_signers.example")
    for _ in range(runs):
        with empty_host(folder) as offline:
            loads.append(measure_run(lambda: offline.must(*load_command)))
        with empty_host(folder) as offline:
            imports.append(measure_run(lambda: offline.must(*import_command)))
    compare("import", "podman load", size, imports, loads, 1.25)
    if newer:
        export(host, releases, "--lock", newer, "--since", lock)
        (delta,) = releases.glob("*-since-*")
        parts = sum(part.stat().st_size for part in delta.glob("*.part"))
        print(verdict("delta for a change of one line of code", parts / 1e6, 20, "MB"))
        print(verdict("  of the full export", parts / exported * 100, 1, "%"), flush=True)
    measure_verification(sorted(release.glob("*.part")), runs)


class Times(NamedTuple):
    """The times of several runs of one command, in seconds; `cpu` is user and system time."""

    best: float
    median: float
    median_cpu: float

    @classmethod
    def of(cls, runs: list[Run]) -> Times:
        seconds = [run.seconds for run in runs]
        return cls(min(seconds), median(seconds), median(run.cpu_seconds for run in runs))


def compare(
    name: str, plain: str, size: int, our_runs: list[Run], their_runs: list[Run], target: float
) -> None:
    """Print the times of both commands, the speed in MB of image per second, and the ratios."""
    ours, theirs = Times.of(our_runs), Times.of(their_runs)
    for label, times in ((name, ours), (plain, theirs)):
        print(
            f"  {label}: best {times.best:.1f} s ({size / 1e6 / times.best:.0f} MB/s), "
            f"median {times.median:.1f} s, CPU {times.median_cpu:.1f} s"
        )
    best, middle, cpu = (our / their for our, their in zip(ours, theirs, strict=True))
    print(verdict(f"{name}, time against {plain}", best, target, "x"))
    print(f"    by the medians {middle:.2f} x, by CPU time {cpu:.2f} x", flush=True)


def measure_verification(parts: list[Path], runs: int) -> None:
    """Compare the seal's check of the weights, and import's hash of parts, with sha256sum."""
    weights = ROOT / "weights"
    lock = manifest.read(ROOT / "image-manifest.lock")
    listed = [weights / weight.path for weight in lock.weights if (weights / weight.path).exists()]

    def sha256sum_seconds(paths: list[Path]) -> float:
        names = "\0".join(str(path) for path in paths).encode()
        command = ["xargs", "-0", "-n", "1", "-P", str(os.cpu_count()), "sha256sum"]
        return measure_seconds(
            lambda: subprocess.run(command, input=names, check=True, stdout=subprocess.DEVNULL)
        )

    def hash_parts() -> None:
        names = "\0".join(str(path) for path in parts)
        script = f"source {OPS}/common.sh; source {OPS}/release.sh; hash_large_files"
        subprocess.run(
            ["bash", "-c", script], input=names, text=True, check=True, stdout=subprocess.DEVNULL
        )

    def print_speed(name: str, paths: list[Path], action: Callable[[], object]) -> None:
        size = sum(path.stat().st_size for path in paths)
        pairs = [(measure_seconds(action), sha256sum_seconds(paths)) for _ in range(runs)]
        ours, theirs = (size / 1e9 / min(times) for times in zip(*pairs, strict=True))
        print(f"  {name}: {ours:.2f} GB/s; sha256sum on all cores: {theirs:.2f} GB/s", flush=True)

    if listed:
        print_speed("make verify", listed, lambda: seal.verify(weights, lock, "cpu"))
    print_speed("import's check of the parts", parts, hash_parts)


class Run(NamedTuple):
    """How long a command ran, and the CPU time of its processes that ended."""

    seconds: float
    cpu_seconds: float


def measure_run(action: Callable[[], object]) -> Run:
    """Measure a command and its child processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = measure_seconds(action)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu)


def measure_seconds(action: Callable[[], object]) -> float:
    os.sync()  # so that no action has to flush the writes of the previous one
    began = time.monotonic()
    action()
    return time.monotonic() - began


def save(host: Host, lock: Path, into: Path) -> None:
    """Save the image without ops/export: as one stream to one file, without checks."""
    image = hosts.image_id(lock)
    host.must("bash", "-c", f"podman save -q {image} | zstd -q -f -3 -T0 -o {into}")


def export(host: Host, into: Path, *options: str | Path) -> None:
    host.must(OPS / "export", "--without-sbom", "--without-client", "--out", into, *options)


@contextmanager
def empty_host(folder: Path) -> Iterator[Host]:
    """Return a host without images. Its store is initialised, to exclude this from measurements."""
    with hosts.host(folder / "offline") as host:
        host.ids()
        yield host


def build_two_versions(host: Host) -> tuple[Path, Path]:
    """Build two images that differ in one line of code. Return their lock files."""
    context = host.folder / "context"
    code = context / "code"
    shutil.copytree(ROOT / "weights", context / "weights")
    shutil.copytree(ROOT / ".venv/lib", context / "packages", symlinks=True)
    shutil.copytree(ROOT / "appliance", code, ignore=shutil.ignore_patterns("__pycache__"))
    (context / "Dockerfile").write_text(
        "FROM scratch\nCOPY weights/ /opt/voice/weights/\nCOPY packages/ /opt/voice/venv/lib/\n"
        "COPY code/ /opt/voice/appliance/\n"
    )
    locks = []
    for version in ("1", "2"):
        with (code / "settings/__init__.py").open("a", encoding="utf-8") as module:
            module.write(f"# version {version}\n")
        # fmt: off
        host.must(
            "buildah", "build", "--quiet", "--format", "oci", "--timestamp", "0", "--layers",
            "--tag", f"localhost/tiny:{version}", context,
        )
        # fmt: on
        locks.append(hosts.lock(host, version))
    shutil.rmtree(context)
    return locks[0], locks[1]


if __name__ == "__main__":
    main()
