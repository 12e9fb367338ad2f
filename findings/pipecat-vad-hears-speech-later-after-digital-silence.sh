#!/usr/bin/env bash
# Pipecat 1.14.0, SileroVADAnalyzer: between words, a perfectly silent microphone makes the start of speech be
# detected later than one that hisses. Below the absolute gate of BS.1770 (-70 LUFS) the volume is 0, and the smoothed
# volume takes several windows to climb from there to min_volume (0.6); from a hiss at -60 dBFS it starts at about 0.5.
# Noise suppression, gates and mute send zeros, so they cost 0.1 s at each start of speech, and a few short words
# altogether, which Silero does not recognize out of complete silence. Counted in audio, not on a clock.
#
# Seen with pipecat-ai 1.14.0 and onnxruntime 1.28.0 on Python 3.11, 2026-11-29, with the letters a to z of Debian's
# asterisk-core-sounds-en-wav 1.6.1, each after 2 s without speech:
#   zeros: 21 of 26 words detected, median 0.34 s
#   noise at -60 dBFS: 23 of 26 words detected, median 0.24 s

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download 'asterisk-core-sounds-en-wav=1.6.1*'
dpkg -x asterisk-core-sounds-en-wav*.deb sounds
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'pipecat-ai==1.14.0' 'onnxruntime==1.28.0'
venv/bin/python -W ignore - sounds <<'PY'
import asyncio
import statistics
import string
import sys
import wave
from pathlib import Path

import numpy as np
import soxr
from loguru import logger

logger.remove()
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADState

RATE = 16_000
WINDOW = 512  # samples of one verdict
(folder,) = Path(sys.argv[1]).rglob("letters")


def word(letter):
    with wave.open(str(folder / f"{letter}.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype("f4")
        samples = soxr.resample(samples / np.abs(samples).max() / 2, file.getframerate(), RATE)
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    return samples[loud[0] : loud[-1]]


async def detected_after(samples, noise_dbfs):
    """Return the seconds from the start of the word to its detection; None: never."""
    silence = np.zeros(2 * RATE)
    heard = np.concatenate([silence, samples, silence[: RATE // 2]])
    if noise_dbfs is not None:
        heard += np.random.default_rng(1).normal(0, 10 ** (noise_dbfs / 20), len(heard))
    pcm = (heard * 32767).astype("<i2")
    analyzer = SileroVADAnalyzer(sample_rate=RATE)
    analyzer.set_sample_rate(RATE)
    for end in range(WINDOW, len(pcm), WINDOW):
        if await analyzer.analyze_audio(pcm[end - WINDOW : end].tobytes()) == VADState.SPEAKING:
            return end / RATE - 2
    return None


medians = {}
words = [word(letter) for letter in string.ascii_lowercase]
for name, noise_dbfs in (("zeros", None), ("noise at -60 dBFS", -60)):
    times = [asyncio.run(detected_after(samples, noise_dbfs)) for samples in words]
    heard = [time for time in times if time is not None]
    medians[name] = statistics.median(heard)
    print(f"{name}: {len(heard)} of {len(words)} words detected, median {medians[name]:.2f} s")
assert medians["zeros"] - medians["noise at -60 dBFS"] > 0.06, "silence no longer delays detection"
PY
