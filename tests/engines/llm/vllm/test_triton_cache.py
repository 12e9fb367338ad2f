"""Triton's C module, compiled in advance. The tests use a fake Triton, which is not installed."""

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
    int number = 0;
    cuDriverGetVersion(&number);
    return PyLong_FromLong(number);
}
static PyMethodDef methods[] = {{"version", version, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "cuda_utils", 0, -1, methods};
PyMODINIT_FUNC PyInit_cuda_utils(void) { return PyModule_Create(&module); }
"""


class FileCacheManager:
    """Fake of Triton's cache: files in a folder named after the key."""

    folder: Path

    def __init__(self, key: str) -> None:
        self.key = key

    def get_file(self, filename: str) -> str | None:
        path = self.folder / self.key / filename
        return str(path) if path.is_file() else None


@pytest.fixture
def triton_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import the module with fakes of the parts of Triton that it uses."""
    (tmp_path / "nvidia").mkdir()
    (tmp_path / "nvidia/driver.c").write_text(SOURCE)
    FileCacheManager.folder = tmp_path / "memory"
    parts: dict[str, dict[str, object]] = {
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
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            monkeypatch.setattr(sys.modules[parent], child, module, raising=False)
    monkeypatch.delitem(sys.modules, "appliance.engines.llm.vllm.triton_cache", raising=False)
    yield importlib.import_module("appliance.engines.llm.vllm.triton_cache")
    sys.modules.pop("appliance.engines.llm.vllm.triton_cache")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="requires gcc")
def test_compiled_module_is_found_without_a_compiler(
    triton_cache: ModuleType,
) -> None:
    compiled = triton_cache.compile_module()
    path = triton_cache.SealedFirst(compiled.parent.name).get_file(compiled.name)
    assert path == str(compiled)
    assert b"libcuda.so.1" in compiled.read_bytes(), "the module is not linked against the driver"


def test_other_files_are_cached_in_memory(triton_cache: ModuleType) -> None:
    cache = triton_cache.SealedFirst("KERNEL")
    assert cache.get_file("kernel.cubin") is None
    cached = FileCacheManager.folder / "KERNEL/kernel.cubin"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"")
    assert cache.get_file("kernel.cubin") == str(cached)
