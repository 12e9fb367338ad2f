"""Compile Triton's C module during the image build, and load it at run time.

When the first kernel runs, Triton 3.7 compiles a C module (`driver.c`) that launches all kernels.
Kernels themselves do not need a C compiler. The sealed image contains no compiler, and its
in-memory file systems are mounted noexec. Therefore, the image build compiles the module into
Triton's own folder. The image sets TRITON_CACHE_MANAGER to `SealedFirst`, which looks there first.

`python triton_cache.py` compiles the module. This requires gcc and Python's headers, but no GPU.
This file must not import the appliance, because the image build runs it as a standalone script.
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
MODULE = "cuda_utils"  # name of the module in Triton's driver.py


class SealedFirst(FileCacheManager):  # type: ignore[misc]
    """Triton's cache, which looks up files in the image before the in-memory folder."""

    def get_file(self, filename: str) -> str | None:
        """Return the path of a cached file; None if it is not cached."""
        sealed = COMPILED / self.key / filename
        return str(sealed) if sealed.is_file() else super().get_file(filename)


def compile_module() -> Path:
    """Compile the module into the folder of `SealedFirst`. Raises CalledProcessError."""
    source = (Path(driver.dirname) / "driver.c").read_text(encoding="utf-8")
    key = hashlib.sha256((source + build.platform_key()).encode()).hexdigest()
    with tempfile.TemporaryDirectory() as scratch:
        library = Path(scratch) / f"{MODULE}{sysconfig.get_config_var('EXT_SUFFIX')}"
        headers = (*driver.include_dirs, sysconfig.get_path("include", "posix_prefix"))
        _gcc(
            library,
            *("-O3", "-fPIC", "-Wno-psabi", *(f"-I{folder}" for folder in headers)),
            str(Path(driver.dirname) / "driver.c"),
            # The host provides the driver library; for linking, an empty library is sufficient.
            *("-Wl,--no-as-needed", str(_compile_stub(Path(scratch)))),
        )
        target = COMPILED / str(get_cache_manager(key).key) / library.name
        target.parent.mkdir(parents=True)
        shutil.copyfile(library, target)
    return target


def _compile_stub(folder: Path) -> Path:
    (library,) = driver.libraries
    _gcc(folder / library, f"-Wl,-soname,{library}", "-x", "c", "/dev/null")
    return folder / str(library)


def _gcc(output: Path, *options: str) -> None:
    subprocess.run(["gcc", "-shared", "-o", str(output), *options], check=True)


if __name__ == "__main__":
    print(compile_module())
