"""Triton's one module in C, compiled while the image is built.

Triton 3.7 wants a C compiler when its first kernel runs, for the module that launches all kernels
(`driver.c`; the kernels themselves go through its own assembler and the driver). The sealed image
has no compiler, and nothing in its memory can be run. So the module is compiled beforehand, into
Triton's own folder, and Triton is told of this class with TRITON_CACHE_MANAGER.

`python triton_cache.py` compiles: it needs gcc and Python's headers, and no card.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from triton.backends.nvidia import driver
from triton.runtime import build
from triton.runtime.cache import FileCacheManager, get_cache_manager

COMPILED = Path(driver.dirname) / "compiled"
NAME = "cuda_utils"  # as Triton's driver.py calls it


class SealedFirst(FileCacheManager):  # type: ignore[misc]
    """Triton's cache, in memory, in front of which lies what came with the image."""

    def get_file(self, filename: str) -> str | None:
        """The path of a cached file, or None."""
        sealed = COMPILED / self.key / filename
        return str(sealed) if sealed.is_file() else super().get_file(filename)


def compile_module() -> Path:
    """Compiles the module to where `SealedFirst` looks; raises CalledProcessError."""
    source = (Path(driver.dirname) / "driver.c").read_text(encoding="utf-8")
    key = hashlib.sha256((source + build.platform_key()).encode()).hexdigest()
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / f"{NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"
        headers = (*driver.include_dirs, sysconfig.get_path("include", "posix_prefix"))
        _gcc(
            made,
            *("-O3", "-fPIC", "-Wno-psabi", *(f"-I{folder}" for folder in headers)),
            str(Path(driver.dirname) / "driver.c"),
            # The driver's library comes with the host; what we link against is an empty one.
            *("-Wl,--no-as-needed", str(_stand_in(Path(scratch)))),
        )
        target = COMPILED / str(get_cache_manager(key).key) / made.name
        target.parent.mkdir(parents=True)
        shutil.copyfile(made, target)
    return target


def _stand_in(folder: Path) -> Path:
    (library,) = driver.libraries
    _gcc(folder / library, f"-Wl,-soname,{library}", "-x", "c", "/dev/null")
    return folder / str(library)


def _gcc(into: Path, *options: str) -> None:
    subprocess.run(["gcc", "-shared", "-o", str(into), *options], check=True)


if __name__ == "__main__":
    print(compile_module())
