#!/usr/bin/env bash
# vLLM 0.32.0 declares torch==2.13.0, but most of its CUDA kernels do not need it. Of its 13 extension
# modules, only one refers to C++ symbols of PyTorch (c10::, at::, torch::): third_party/deep_gemm, for
# FP8 mixtures of experts on Hopper. The others use the stable C interface (aoti_torch_*, torch_*).
# PyTorch 2.11.0 exports every symbol of it that they need, except three of _qutlass_C, for FP4 weights.
# So a machine with PyTorch 2.11 lacks less than pip says. Only dynamic symbols are compared here;
# nothing is run on a GPU.
#
# Seen with the wheels of vllm 0.32.0 (326,518,482 bytes) and torch 2.11.0 for x86-64, 2026-11-28:
# C++ interface: deep_gemm/_C_extension; missing: torch_exception_get_what and
# torch_exception_get_what_without_backtrace in both modules, torch_new_stable_ivalue in _qutlass_C.
# The script downloads 0.9 GB.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" --quiet --disable-pip-version-check)
"${pip[@]}" install 'pyelftools==0.32'
"${pip[@]}" download --no-deps --dest "$folder" --only-binary=:all: --python-version 3.12 \
    --implementation cp --platform manylinux_2_28_x86_64 'vllm==0.32.0' 'torch==2.11.0'
"$folder/venv/bin/python" - "$folder" <<'PY'
import io
import re
import sys
import zipfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

STABLE = ("aoti_torch_", "torch_")


def libraries(wheel):
    (path,) = Path(sys.argv[1]).glob(wheel)
    with zipfile.ZipFile(path) as opened:
        for name in opened.namelist():
            if ".so" in name.rpartition("/")[2]:
                yield name, ELFFile(io.BytesIO(opened.read(name)))


def symbols(elf, defined):
    section = elf.get_section_by_name(".dynsym")
    for symbol in section.iter_symbols() if section else ():
        if (symbol["st_shndx"] != "SHN_UNDEF") == defined:
            yield symbol.name


def is_cpp_of_pytorch(name):
    return re.match(r"_ZT?[NVI]?N?K?(3c10|2at|5torch)", name) is not None


exported = {name for _, elf in libraries("torch-*.whl") for name in symbols(elf, True)}
missing, with_cpp, modules = {}, [], []
for path, elf in libraries("vllm-*.whl"):
    needed = set(symbols(elf, False))
    modules.append(path)
    if any(map(is_cpp_of_pytorch, needed)):
        with_cpp.append(path)
    lacking = sorted(n for n in needed if n.startswith(STABLE) and n not in exported)
    if lacking:
        missing[path] = lacking
print(f"{len(modules)} modules; C++ interface of PyTorch used by {with_cpp}; missing: {missing}")
assert len(modules) == 13, "other modules than before"
assert with_cpp == ["vllm/third_party/deep_gemm/_C_extension.abi3.so"], "C++ interface used elsewhere"
assert set(missing) == {*with_cpp, "vllm/_qutlass_C.abi3.so"}, "other modules lack symbols"
PY
