#!/usr/bin/env bash
# Pipecat 1.14.0, LocalSmartTurnAnalyzerV3: after an incomplete sentence, SmartTurnParams.stop_secs of
# silence end the turn. The silence is counted in the audio that arrives, not in time. A client that
# stops sending (muted, or push-to-talk was released) therefore never ends the turn this way, however long it
# stays silent; only the turn controller's `user_turn_stop_timeout` (5 s) does.
#
# Seen with pipecat-ai 1.14.0 on Python 3.11, 2026-11-28 (stop_secs=0.5):
#   0.8 s of silent audio: COMPLETE
#   0.8 s without audio, then one frame of 40 ms: INCOMPLETE

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    'pipecat-ai==1.14.0' 'onnxruntime==1.28.0'
"$folder/venv/bin/python" -W ignore - <<'PY'
import time

import numpy as np
from loguru import logger

logger.remove()
from pipecat.audio.turn.smart_turn.base_smart_turn import SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3

FRAME_SECONDS = 0.04
SAMPLES = round(FRAME_SECONDS * 16_000)
noise = np.random.default_rng(1).normal(0, 3000, SAMPLES).astype("<i2").tobytes()
silence = bytes(2 * SAMPLES)


def after_speech():
    analyzer = LocalSmartTurnAnalyzerV3(params=SmartTurnParams(stop_secs=0.5))
    analyzer.set_sample_rate(16_000)
    for _ in range(20):
        analyzer.append_audio(noise, True)
    return analyzer


analyzer = after_speech()
states = [analyzer.append_audio(silence, False) for _ in range(20)]
sent = next((state for state in states if state.name == "COMPLETE"), states[-1])
print(f"0.8 s of silent audio: {sent.name}")

analyzer = after_speech()
time.sleep(0.8)
muted = analyzer.append_audio(silence, False)
print(f"0.8 s without audio, then one frame of 40 ms: {muted.name}")
assert sent.name == "COMPLETE" and muted.name == "INCOMPLETE"
PY
