#!/usr/bin/env bash
# transformers, WhisperFeatureExtractor with padding="longest": the last mel frame of a clip has another
# value when a longer clip is in the same batch. Alone, the end of the clip is reflected into the last
# window (centred STFT); in a batch, the window sees the padding. An encoder whose projector stacks frames,
# such as Ultravox, then gives the clip another last token: in a conversation, old clips change with the
# length of a new one. In log-probabilities of a tiny Ultravox this was 0.0006 to 0.0036.
#
# Seen with transformers 5.19.0 and 4.51.3, numpy 2.3.4, 2026-11-28: frame 99 of 100 differs, no other.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 5.19.0 4.51.3; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "transformers==$version" 'numpy==2.3.4'
    HF_HUB_OFFLINE=1 "$folder/$version/bin/python" - "$version" <<'PY'
import sys

import numpy as np
from transformers import WhisperFeatureExtractor

extractor = WhisperFeatureExtractor(feature_size=128)
random = np.random.default_rng(0)
short, long = (random.normal(0, 0.1, size).astype("float32") for size in (16_000, 48_000))


def features(clips):
    return extractor(
        clips, sampling_rate=16_000, padding="longest", truncation=False, return_tensors="np"
    )["input_features"]


alone, batched = features([short])[0], features([short, long])[0][:, :100]
difference = np.abs(alone - batched).max(axis=0)
differing = np.flatnonzero(difference > 1e-5)
print(f"transformers {sys.argv[1]}: frames that differ {differing}, by {difference.max():.2f}")
assert list(differing) == [99], "other frames differ than before"
PY
done
