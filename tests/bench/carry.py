"""Measure the speed of export, verification and import: python -m tests.bench.carry [--lock FILE].

Without --lock it measures the real image of profile cpu, and builds it if it has to. Export does
all that a release gets: comparison with advisories, licences, the client, the seal's list,
checksums and the signature; import checks signature, revoked keys, every file and every layer. The
advisories are made up, ADVISORIES of each ecosystem, none about a package of the image. SBOMs
belong to the build: they are written once, as ops/image does it, and their time is printed. Every
export contains them.

Our commands alternate with the plain commands that they are compared with. Save and export compress
with zstd level 3 and a thread per core. The verdict is the ratio of the best times of `--runs`,
because other load can only slow a run down. The medians and the CPU time, which other load changes
less, are printed, too. Before the first run, export is run once without being measured: it
downloads the client's packages, which later exports reuse.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from appliance.weights import manifest, seal
from tests.bench.figures import machine, verdict
from tests.host import hosts
from tests.host.hosts import OPS, ROOT, Host
from tests.image import sealed

ADVISORIES = 20_000  # of each ecosystem
ECOSYSTEMS = ("PyPI", "Debian:12")
LIMIT_SECONDS = 1800  # for a busy machine
HOME = os.environ.get("HOME", "/root")  # settings of pip, which downloads syft and the client
DOCUMENTS = (  # that every measured release must have
    "sbom.cdx.json",
    "sbom.spdx.json",
    "vulnerabilities.json",
    "licences/models.txt",
    "code.list",
    "client",
    "SHA256SUMS.sig",
)


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
        make_advisories(folder / "advisories")
        if args.lock:
            measure(LocalHost(), args.lock.resolve(), None, folder, args.runs)
            return
        with sealed.store(sealed.STORE) as host:
            sources = sealed.repository(folder / "repository")
            built = sealed.build_once(host, sealed.STORE / "out/cpu", sources)
            newer = sealed.build_next(built, sources, folder / "next", "0.1.1")
            try:
                measure(host, built.lock_path, newer.lock_path, folder, args.runs)
            finally:
                host.run("podman", "rmi", "--force", newer.tag)


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
    own_lock = write_sboms(host, lock, folder / "built")
    options = ("--advisories", folder / "advisories", "--lock", own_lock)
    saves, exports, loads, imports = [], [], [], []
    export(host, releases, *options)
    for _ in range(runs):
        saves.append(measure_run(lambda: save(host, lock, plain)))
        shutil.rmtree(releases)
        exports.append(measure_run(lambda: export(host, releases, *options)))
    (release,) = releases.glob("voice-appliance-*")
    check_documents(release)
    exported = sum(path.stat().st_size for path in release.rglob("*") if path.is_file())
    print(f"  export {exported / 1e6:,.0f} MB; plain zstd {plain.stat().st_size / 1e6:,.0f} MB")
    compare("export", "podman save | zstd", size, exports, saves, 1.15)
    load_command = ("podman", "load", "--input", plain)
    signers = ("--signers", release / "allowed_signers.example")
    import_command = (release / "import", *signers, "--revoked", revoked_key(folder))
    for _ in range(runs):
        with empty_host(folder) as offline:
            loads.append(measure_run(lambda: run(offline, *load_command)))
        with empty_host(folder) as offline:
            imports.append(measure_run(lambda: run(offline, *import_command)))
    compare("import", "podman load", size, imports, loads, 1.25)
    if newer:
        export(host, releases, "--without-sbom", "--lock", newer, "--since", lock)
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
    run(host, "bash", "-c", f"podman save -q {image} | zstd -q -f -3 -T0 -o {into}")


def write_sboms(host: Host, lock: Path, folder: Path) -> Path:
    """Write the SBOMs of the image as ops/image does; return the copy of `lock` beside them."""
    folder.mkdir()
    copy = Path(shutil.copy(lock, folder))
    image = json.loads(lock.read_text(encoding="utf-8"))["image"]
    facts = {"IMAGE_ID": image["id"], "PROFILE": image["profile"], "VERSION": image["version"]}
    source = f"source {OPS}/common.sh; source {OPS}/sbom.sh"
    run(host, "bash", "-c", f"{source}; ensure_syft", HOME=HOME)
    took = measure_run(lambda: run(host, "bash", "-c", f"{source}; keep_sboms {copy}", **facts))
    print(f"  SBOMs, once a build: {took.seconds:.1f} s, CPU {took.cpu_seconds:.1f} s", flush=True)
    return copy


def export(host: Host, into: Path, *options: str | Path) -> None:
    """Export with the shipped command, and print the steps that it reports."""
    print(textwrap.indent(run(host, OPS / "export", "--out", into, *options, HOME=HOME), "    "))


def run(on: Host, *command: str | Path, **environ: str) -> str:
    """Run a command that has to succeed; return its output."""
    done = on.run_within(LIMIT_SECONDS, *command, **environ)
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def check_documents(release: Path) -> None:
    """Raises SystemExit if a document is missing, or the advisories were not compared."""
    missing = [name for name in DOCUMENTS if not (release / name).exists()]
    if missing or "NOT CHECKED" in (release / "README").read_text(encoding="utf-8"):
        raise SystemExit(f"the export was not complete: {', '.join(missing) or 'NOT CHECKED'}")


def make_advisories(folder: Path) -> None:
    """Write made-up advisories, as OSV offers them: an archive for each ecosystem."""
    for ecosystem in ECOSYSTEMS:
        path = folder / ecosystem.partition(":")[0] / "all.zip"
        path.parent.mkdir(parents=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(ADVISORIES):
                archive.writestr(f"BENCH-{number}.json", json.dumps(advisory(ecosystem, number)))


def advisory(ecosystem: str, number: int) -> dict[str, object]:
    events = [{"introduced": "0"}, {"fixed": "1.0"}]
    return {
        "id": f"BENCH-{number}",
        "modified": "2026-11-01T00:00:00Z",
        "summary": "Made up for a measurement.",
        "details": "A text of the usual length. " * 40,
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": f"no-such-package-{number}"},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
            }
        ],
    }


def revoked_key(folder: Path) -> Path:
    """Make a key that has signed nothing; return the file of its public half."""
    key = folder / "revoked"
    command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    subprocess.run(command, check=True)
    return key.with_suffix(".pub")


@contextmanager
def empty_host(folder: Path) -> Iterator[Host]:
    """Return a host without images. Its store is initialised, to exclude this from measurements."""
    with hosts.host(folder / "offline") as host:
        host.ids()
        yield host


if __name__ == "__main__":
    main()
