"""Triton's module comes with the image. Triton itself is not here: its parts are stand-ins."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = """
#include <Python.h>
int cuDriverGetVersion(int *version);
static PyObject *version(PyObject *self, PyObject *unused) {
    int found = 0;
    cuDriverGetVersion(&found);
    return PyLong_FromLong(found);
}
static PyMethodDef methods[] = {{"version", version, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "cuda_utils", 0, -1, methods};
PyMODINIT_FUNC PyInit_cuda_utils(void) { return PyModule_Create(&module); }
"""


class FileCacheManager:
    """As Triton's: files below a folder named by the key."""

    folder: Path

    def __init__(self, key: str) -> None:
        self.key = key

    def get_file(self, filename: str) -> str | None:
        path = self.folder / self.key / filename
        return str(path) if path.is_file() else None


@pytest.fixture
def triton_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, imported beside stand-ins of what it uses of Triton."""
    (tmp_path / "nvidia").mkdir()
    (tmp_path / "nvidia/driver.c").write_text(SOURCE)
    FileCacheManager.folder = tmp_path / "memory"
    parts = {
        "triton": {},
        "triton.backends": {},
        "triton.backends.nvidia": {},
        "triton.backends.nvidia.driver": {
            "dirname": str(tmp_path / "nvidia"),
            "include_dirs": [],
            "libraries": ["libcuda.so.1"],
        },
        "triton.runtime": {},
        "triton.runtime.build": {"platform_key": lambda: "x86_64,Linux"},
        "triton.runtime.cache": {
            "FileCacheManager": FileCacheManager,
            "get_cache_manager": lambda key: FileCacheManager(key.upper()),
        },
    }
    for name, names in parts.items():
        made = ModuleType(name)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, name, made)
        parent, _, child = name.rpartition(".")
        if parent:
            monkeypatch.setattr(sys.modules[parent], child, made, raising=False)
    monkeypatch.delitem(sys.modules, "appliance.engines.llm.vllm.triton_cache", raising=False)
    yield importlib.import_module("appliance.engines.llm.vllm.triton_cache")
    sys.modules.pop("appliance.engines.llm.vllm.triton_cache")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="NO GCC ON THIS MACHINE")
def test_what_was_compiled_with_the_image_is_found_where_no_compiler_is(
    triton_cache: ModuleType,
) -> None:
    made = triton_cache.compile_module()
    found = triton_cache.SealedFirst(made.parent.name).get_file(made.name)
    assert found == str(made)
    assert b"libcuda.so.1" in made.read_bytes(), "the driver is looked for when it is loaded"


def test_what_is_not_in_the_image_is_looked_for_in_memory(triton_cache: ModuleType) -> None:
    cache = triton_cache.SealedFirst("KERNEL")
    assert cache.get_file("kernel.cubin") is None
    kept = FileCacheManager.folder / "KERNEL/kernel.cubin"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"")
    assert cache.get_file("kernel.cubin") == str(kept)
