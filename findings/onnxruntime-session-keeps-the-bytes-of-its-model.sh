#!/usr/bin/env bash
# onnxruntime 1.28.0, Python: an InferenceSession that is made from bytes keeps them as long as it lives, beside the
# weights that it has parsed from them. A program that reads a model itself, for example to check its hash, and then
# drops its own reference, therefore needs the size of the file once more than one that passes the path. Only a
# comment in onnxruntime's code says so; microsoft/onnxruntime#21165 and #21992 are about another copy, in C++.
#
# Seen with onnxruntime 1.28.0 and Kokoro-82M int8 (92 MB) on Python 3.11, 2026-11-29: 129 MiB resident by path, 217 by
# bytes. The script uses smart-turn v3.2 of pipecat-ai 1.14.0:
#   made from a path:  it keeps 0 of 8679182 bytes
#   made from bytes:   it keeps 8679182 of 8679182 bytes

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'onnxruntime==1.28.0' 'numpy==2.3.4'
"$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$folder" \
    'pipecat-ai==1.14.0'
ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import tracemalloc
import zipfile
from pathlib import Path

import onnxruntime

(wheel,) = Path(sys.argv[1]).glob("pipecat_ai-*.whl")
with zipfile.ZipFile(wheel) as opened:
    (name,) = (n for n in opened.namelist() if n.endswith("smart-turn-v3.2-cpu.onnx"))
    path = Path(opened.extract(name, sys.argv[1]))
size = path.stat().st_size
providers = ["CPUExecutionProvider"]
tracemalloc.start()  # counts Python's objects, not the weights in onnxruntime's own memory


def kept(get_model):
    """Return the session, and the bytes of Python objects that stay with it."""
    before = tracemalloc.get_traced_memory()[0]
    session = onnxruntime.InferenceSession(get_model(), providers=providers)
    return session, tracemalloc.get_traced_memory()[0] - before


by_path, of_path = kept(lambda: str(path))
by_bytes, of_bytes = kept(path.read_bytes)
for way, count in (("a path: ", of_path), ("bytes:  ", of_bytes)):
    print(f"made from {way} it keeps {count // size * size} of {size} bytes")
assert of_path < 0.1 * size, "a session by path keeps the file"
assert of_bytes >= size, "a session by bytes no longer keeps them"
PY
