#!/usr/bin/env bash
# soxr 1.0.0: digital silence does not stay silent. For int16 the library adds dither to its output, also where the
# input is all zeros: nearly a quarter of the samples become 1 or -1, at every quality. No argument turns it off. So
# behind the resampler nothing recognizes a muted microphone by its zeros, skips them, or compresses them well. With
# int32 or float32, zeros stay zeros. Pipecat 1.14.0 resamples int16: a muted microphone at 48 kHz enters the pipeline
# as noise. dofuuz/python-soxr#10 to #12 are about the pattern of the dither; soxr's documents do not mention it.
#
# Seen with soxr 1.0.0 on Python 3.11, 2026-11-29 (1 s of zeros, 48 to 16 kHz):
#   int16: 23 % of the samples are not zero
#   int32: 0 % of the samples are not zero
#   float32: 0 % of the samples are not zero

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'soxr==1.0.0' 'numpy==2.3.4'
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import soxr

noisy = {}
for dtype in ("int16", "int32", "float32"):
    silence = np.zeros(48_000, dtype)
    output = soxr.resample(silence, 48_000, 16_000)
    noisy[dtype] = np.count_nonzero(output) / len(output)
    print(f"{dtype}: {noisy[dtype]:.0%} of the samples are not zero")
stream = soxr.ResampleStream(48_000, 16_000, 1, dtype="int16")
chunks = [stream.resample_chunk(np.zeros(960, "int16")) for _ in range(50)]
assert noisy["int16"] > 0.1 and np.count_nonzero(np.concatenate(chunks)), "silence stays silent"
assert noisy["int32"] == noisy["float32"] == 0
PY
