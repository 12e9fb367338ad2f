"""python -m tests.bench.carry [--lock FILE]: how fast a release is made, checked and taken in.

Without --lock it makes an image of this folder's weights and Python packages, in the order of the
real one: weights, packages, code. All times are of the wall, the best of `--runs`, as other work on
the machine only ever adds; the plain commands they are compared with run in turn with ours.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.weights import manifest, seal
from tests.bench.figures import machine, verdict
from tests.image import hosts
from tests.image.hosts import OPS, ROOT, Host


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", type=Path, help="of an image that podman has; default: make one")
    parser.add_argument("--runs", type=int, default=3, help="of each command (3)")
    parser.add_argument("--folder", type=Path, help="where to work; needs six times the image")
    args = parser.parse_args()
    print(f"On {machine()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="voice-carry.", dir=args.folder) as name:
        folder = Path(name)
        with hosts.host(folder / "connected") as made:
            if args.lock:
                report(Ours(), args.lock.resolve(), None, folder, args.runs)
            else:
                one, two = two_versions(made)
                report(made, one, two, folder, args.runs)


class Ours(Host):
    """The podman of whoever runs this."""

    def __init__(self) -> None:
        super().__init__(Path.cwd())

    @property
    def environ(self) -> dict[str, str]:
        return dict(os.environ)


def report(made: Host, one: Path, two: Path | None, folder: Path, runs: int) -> None:
    """Prints all figures of the image that lock `one` names, and of a delta from it to `two`."""
    size = sum(layer["size_bytes"] for layer in json.loads(one.read_text())["image"]["layers"])
    print(f"  image {size / 1e6:,.0f} MB in layers, {runs} runs each", flush=True)
    plain, ours = folder / "plain.tar.zst", folder / "releases"
    saves, exports, loads, imports = [], [], [], []
    for _ in range(runs):
        saves.append(timed(lambda: save(made, one, plain)))
        shutil.rmtree(ours, ignore_errors=True)
        exports.append(timed(lambda: export(made, ours, "--lock", one)))
    (release,) = ours.glob("voice-appliance-*")
    signers = release / "allowed_signers.example"
    for _ in range(runs):
        with empty_host(folder) as offline:
            loads.append(timed(lambda: offline.must("podman", "load", "--input", plain)))
        with empty_host(folder) as offline:
            imports.append(timed(lambda: offline.must(release / "import", "--signers", signers)))
    carried = sum(path.stat().st_size for path in release.rglob("*") if path.is_file())
    print(f"  export {carried / 1e6:,.0f} MB; plain zstd {plain.stat().st_size / 1e6:,.0f} MB")
    compared("export", "podman save | zstd", size, exports, saves, 1.15)
    compared("import", "podman load", size, imports, loads, 1.25)
    if two:
        export(made, ours, "--lock", two, "--since", one)
        (delta,) = ours.glob("*-since-*")
        parts = sum(part.stat().st_size for part in delta.glob("*.part"))
        print(verdict("delta for one line of code", parts / 1e6, 20, "MB"))
        print(verdict("  of the full export", parts / carried * 100, 1, "%"), flush=True)
    verify_speed(sorted(release.glob("*.part")), runs)


def compared(
    what: str, plain: str, size: int, ours: list[float], theirs: list[float], target: float
) -> None:
    """A line with both speeds in MB of image a second, and one with the ratio of the times."""
    times = [min(times) for times in (ours, theirs)]
    speeds = [size / 1e6 / seconds for seconds in times]
    print(f"  {what}: {speeds[0]:.0f} MB/s ({times[0]:.1f} s); {plain}: {speeds[1]:.0f} MB/s")
    print(verdict(f"{what}, time against {plain}", times[0] / times[1], target, "x"), flush=True)


def verify_speed(parts: list[Path], runs: int) -> None:
    """The seal's check of the weights, and import's hash of parts, against sha256sum."""
    weights = ROOT / "weights"
    lock = manifest.read(ROOT / "image-manifest.lock")
    listed = [weights / weight.path for weight in lock.weights if (weights / weight.path).exists()]

    def plain(paths: list[Path]) -> float:
        names = "\0".join(str(path) for path in paths).encode()
        command = ["xargs", "-0", "-n", "1", "-P", str(os.cpu_count()), "sha256sum"]
        return timed(
            lambda: subprocess.run(command, input=names, check=True, stdout=subprocess.DEVNULL)
        )

    def hashed() -> None:
        names = "\0".join(str(path) for path in parts)
        script = f"source {OPS}/common.sh; source {OPS}/release.sh; hash_large_files"
        subprocess.run(
            ["bash", "-c", script], input=names, text=True, check=True, stdout=subprocess.DEVNULL
        )

    def line(what: str, paths: list[Path], action: Callable[[], object]) -> None:
        size = sum(path.stat().st_size for path in paths)
        pairs = [(timed(action), plain(paths)) for _ in range(runs)]
        ours, theirs = (size / 1e9 / min(times) for times in zip(*pairs, strict=True))
        print(f"  {what}: {ours:.2f} GB/s; sha256sum on all cores: {theirs:.2f} GB/s", flush=True)

    if listed:
        line("make verify", listed, lambda: seal.verify(weights, lock, "cpu"))
    line("import's check of the parts", parts, hashed)


def timed(action: Callable[[], object]) -> float:
    os.sync()  # so that none has to write what the one before left
    began = time.monotonic()
    action()
    return time.monotonic() - began


def save(made: Host, lock: Path, into: Path) -> None:
    """What a release is compared with: one stream into one file, nothing checked."""
    image = hosts.image_id(lock)
    made.must("bash", "-c", f"podman save -q {image} | zstd -q -f -3 -T0 -o {into}")


def export(made: Host, into: Path, *options: str | Path) -> None:
    made.must(OPS / "export", "--without-sbom", "--out", into, *options)


@contextmanager
def empty_host(folder: Path) -> Iterator[Host]:
    with hosts.host(folder / "offline") as made:
        made.ids()
        yield made


def two_versions(made: Host) -> tuple[Path, Path]:
    """Two images that differ in one line of code; their locks."""
    context = made.folder / "context"
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
        with (code / "settings/__init__.py").open("a", encoding="utf-8") as changed:
            changed.write(f"# version {version}\n")
        # fmt: off
        made.must(
            "buildah", "build", "--quiet", "--format", "oci", "--timestamp", "0", "--layers",
            "--tag", f"localhost/tiny:{version}", context,
        )
        # fmt: on
        locks.append(hosts.lock(made, version))
    shutil.rmtree(context)
    return locks[0], locks[1]


if __name__ == "__main__":
    main()
