"""Recordings of human speech from Debian's packages, downloaded into `.cache/voices`.

The packages are never committed and never part of the image. `asterisk-core-sounds-*-wav` hold
prompts, digits and letters of one speaker per language, 8 kHz; `klettres-data` holds letters of
further speakers; `asterisk-moh-opsound-wav` holds music on hold.
"""

from __future__ import annotations

import gzip
import re
import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]
import soxr

from appliance.link.engine import INPUT_SAMPLE_RATE

PACKAGES = (
    "asterisk-core-sounds-en",
    "asterisk-core-sounds-en-wav",
    "asterisk-core-sounds-es-wav",
    "asterisk-core-sounds-fr-wav",
    "asterisk-core-sounds-it-wav",
    "asterisk-core-sounds-ru-wav",
    "asterisk-moh-opsound-wav",
    "klettres-data",
)
SPEAKERS = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
LEVEL_DBFS = -23.0  # of the active speech, after scaling


class NotAvailable(Exception):
    """The packages are not in the cache and cannot be downloaded."""


def download(folder: Path) -> None:
    """Download and unpack the packages that `folder` lacks.

    Raises NotAvailable if `apt-get` or the network is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        done = folder / f".{package}"
        if done.exists():
            continue
        try:
            subprocess.run(
                ["apt-get", "download", package], cwd=folder, check=True, capture_output=True
            )
            for archive in folder.glob(f"{package}_*.deb"):
                subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True)
                archive.unlink()
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotAvailable(f"{package} could not be downloaded with apt-get") from error
        done.touch()


class Recordings:
    """Loads recordings as 16 kHz mono float32 samples without the silence around them."""

    def __init__(self, folder: Path) -> None:
        self._share = folder / "usr/share"
        self.load = lru_cache(maxsize=None)(self._load)

    def _load(self, path: Path) -> np.ndarray:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return scaled(trimmed(soxr.resample(samples.mean(axis=1), rate, INPUT_SAMPLE_RATE)))

    def sound(self, language: str, name: str) -> np.ndarray:
        """Return the recording `name`, such as "digits/5", of the language's speaker."""
        return self.load(self._sounds(language) / f"{name}.wav")

    def has(self, language: str, name: str) -> bool:
        """Return whether the language's speaker has the recording `name`."""
        return (self._sounds(language) / f"{name}.wav").exists()

    def letters(self, speaker: str) -> list[np.ndarray]:
        """Return the letters of the alphabet, spoken by a speaker of klettres-data."""
        return [
            self.load(p)
            for p in sorted((self._share / "klettres" / speaker / "alpha").glob("?.ogg"))
        ]

    def music(self) -> list[np.ndarray]:
        """Return the pieces of music on hold."""
        return [self.load(path) for path in sorted((self._share / "asterisk/moh").glob("**/*.wav"))]

    def prompts(self) -> dict[str, str]:
        """Return the text of each English prompt that has a recording and only spoken words."""
        path = self._share / "doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
        found = {}
        for line in gzip.decompress(path.read_bytes()).decode("utf-8", "replace").splitlines():
            name, _, text = line.partition(":")
            text = text.strip()
            if text and not re.search(r"[\[\]]|\.\.\.", text) and self.has("en", name):
                found[name] = text
        return found

    def _sounds(self, language: str) -> Path:
        return self._share / "asterisk/sounds" / SPEAKERS[language]


def envelope_db(samples: np.ndarray) -> np.ndarray:
    """Return the level of each 10 ms, in dBFS."""
    size = INPUT_SAMPLE_RATE // 100
    blocks = samples[: len(samples) // size * size].reshape(-1, size)
    return np.asarray(10 * np.log10(np.mean(blocks**2, axis=1) + 1e-10))


def trimmed(samples: np.ndarray, below_peak_db: float = 35.0) -> np.ndarray:
    """Return `samples` from the first to the last 10 ms within `below_peak_db` of the loudest."""
    level = envelope_db(samples)
    loud = np.flatnonzero(level > level.max() - below_peak_db)
    size = INPUT_SAMPLE_RATE // 100
    return samples[loud[0] * size : (loud[-1] + 1) * size]


def scaled(samples: np.ndarray, dbfs: float = LEVEL_DBFS) -> np.ndarray:
    """Return `samples` with the active speech at `dbfs`."""
    level = envelope_db(samples)
    active = level[level > level.max() - 30]
    now = 10 * np.log10(np.mean(10 ** (active / 10)))
    return np.asarray(samples * 10 ** ((dbfs - now) / 20), dtype=np.float32)
