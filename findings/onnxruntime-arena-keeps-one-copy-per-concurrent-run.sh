#!/usr/bin/env bash
# onnxruntime 1.28.0, CPU: one InferenceSession that several threads run at the same time holds one more
# set of activations for each further concurrent run, and keeps it for the life of the session. With
# smart-turn v3.2 (8.7 MB on disk) that is about 14 MiB per caller who ever paused at the same moment as
# the others: it looks like a leak and stops growing at the highest concurrency seen. Running alone
# afterwards gives nothing back.
#
# Seen with onnxruntime 1.28.0 and the model in pipecat-ai 1.14.0, 2026-11-28 (resident MiB above the
# state after 20 runs alone): 1 thread 0, 2 threads 15, 4 threads 44, 8 threads 106, 1 again 106.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'onnxruntime==1.28.0' 'numpy==2.3.4'
"$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$folder" \
    'pipecat-ai==1.14.0'
ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime

(wheel,) = Path(sys.argv[1]).glob("pipecat_ai-*.whl")
with zipfile.ZipFile(wheel) as opened:
    (name,) = (n for n in opened.namelist() if n.endswith("smart-turn-v3.2-cpu.onnx"))
    model = opened.read(name)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
(tensor,) = session.get_inputs()
shape = [size if isinstance(size, int) else 1 for size in tensor.shape]
features = np.zeros(shape, np.float32)


def resident_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def run_together(count):
    barrier = threading.Barrier(count)

    def work():
        barrier.wait()
        for _ in range(5):
            session.run(None, {tensor.name: features})

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


for _ in range(20):
    session.run(None, {tensor.name: features})
base = resident_mib()
grown = {}
for count in (1, 2, 4, 8):
    run_together(count)
    grown[count] = resident_mib() - base
    print(f"{count} threads at once: {grown[count]:+.0f} MiB")
run_together(1)
kept = resident_mib() - base
print(f"1 thread again: {kept:+.0f} MiB")
assert grown[1] < 5 and grown[8] > 40, "memory no longer grows with concurrency"
assert kept > 0.8 * grown[8], "memory is given back"
PY
