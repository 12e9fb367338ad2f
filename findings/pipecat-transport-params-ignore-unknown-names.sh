#!/usr/bin/env bash
# Pipecat 1.14.0: transport parameters accept any keyword and drop the ones they do not know. Code
# written for Pipecat 0.0.x passes `vad_analyzer` and `turn_analyzer` to the transport; with 1.x it runs
# without an error or a warning, and without voice activity detection: the bot never answers.
#
# Seen with pipecat-ai 1.14.0 on Python 3.11, 2026-11-28:
#   accepted: True, kept: False

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'pipecat-ai[websocket]==1.14.0'
"$folder/venv/bin/python" -W error::DeprecationWarning:__main__ - <<'PY'
from loguru import logger

logger.remove()
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams

params = FastAPIWebsocketParams(audio_in_enabled=True, vad_analyzer=object())
kept = hasattr(params, "vad_analyzer")
print(f"accepted: True, kept: {kept}")
assert not kept
PY
