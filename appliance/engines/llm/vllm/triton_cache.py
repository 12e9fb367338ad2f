"""Compile Triton's C module while the image is built, and find it at run time.

When its first kernel runs, Triton 3.7 compiles a C module that launches all kernels (`driver.c`;
the kernels themselves need only its own assembler and the driver). The sealed image has no
compiler, and its file systems in memory are mounted noexec. So the module is compiled into Triton's
own folder while the image is built. The image sets TRITON_CACHE_MANAGER to `SealedFirst`, which
finds it there.

`python triton_cache.py` compiles the module. It needs gcc and Python's headers, but no card. This
file must not import the appliance, because the image build runs it on its own.
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
MODULE = "cuda_utils"  # its name in Triton's driver.py


class SealedFirst(FileCacheManager):  # type: ignore[misc]
    """Triton's cache in memory, with the files of the image in front of it."""

    def get_file(self, filename: str) -> str | None:
        """The path of a cached file; None if there is none."""
        sealed = COMPILED / self.key / filename
        return str(sealed) if sealed.is_file() else super().get_file(filename)


def compile_module() -> Path:
    """Compile the module to where `SealedFirst` looks. Raises CalledProcessError."""
    source = (Path(driver.dirname) / "driver.c").read_text(encoding="utf-8")
    key = hashlib.sha256((source + build.platform_key()).encode()).hexdigest()
    with tempfile.TemporaryDirectory() as scratch:
        library = Path(scratch) / f"{MODULE}{sysconfig.get_config_var('EXT_SUFFIX')}"
        headers = (*driver.include_dirs, sysconfig.get_path("include", "posix_prefix"))
        _gcc(
            library,
            *("-O3", "-fPIC", "-Wno-psabi", *(f"-I{folder}" for folder in headers)),
            str(Path(driver.dirname) / "driver.c"),
            # The real driver library comes with the host; an empty one is enough to link against.
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
