"""Recordings of human speech from Debian's packages, downloaded into `.cache/voices`.

Run as a program, it downloads what the test suite needs.

The packages are never committed and never part of the image. `asterisk-core-sounds-*-wav` hold
prompts, digits and letters of one speaker per language, 8 kHz, and `-en-g722` the English ones with
16 kHz; `klettres-data` holds letters of further speakers; `pocketsphinx-testdata` holds sentences
from an audiobook; `asterisk-moh-opsound-wav` holds music on hold, `tuxpaint-data` sounds of a game.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import soundfile  # type: ignore[import-untyped]
import soxr
from av.audio.codeccontext import AudioCodecContext

from appliance.link.engine import INPUT_SAMPLE_RATE

PACKAGES = (
    "asterisk-core-sounds-en",
    "asterisk-core-sounds-en-g722",
    "asterisk-core-sounds-en-wav",
    "asterisk-core-sounds-es-wav",
    "asterisk-core-sounds-fr-wav",
    "asterisk-core-sounds-it-wav",
    "asterisk-core-sounds-ru-wav",
    "asterisk-moh-opsound-wav",
    "klettres-data",
    "pocketsphinx-testdata",
    "tuxpaint-data",
)
# What the compact set of `make test` needs.
TEST_PACKAGES = (
    "asterisk-core-sounds-en",
    "asterisk-core-sounds-en-g722",
    "asterisk-core-sounds-en-wav",
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


def missing(folder: Path, packages: Iterable[str] = PACKAGES) -> list[str]:
    """Return the packages that `folder` lacks."""
    return [package for package in packages if not (folder / f".{package}").exists()]


def download(folder: Path, packages: Iterable[str] = PACKAGES) -> None:
    """Download and unpack the packages that `folder` lacks.

    Raises NotAvailable if `apt-get` or the network is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in missing(folder, packages):
        try:
            _download(package, folder)
            for archive in folder.glob(f"{package}_*.deb"):
                subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True)
                archive.unlink()
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotAvailable(f"{package} could not be downloaded with apt-get") from error
        (folder / f".{package}").touch()


def _download(package: str, folder: Path) -> None:
    """Download a package, with package lists of our own if those of the machine do not have it."""
    lists = folder / "lists"
    if not lists.is_dir():
        done = subprocess.run(["apt-get", "download", package], cwd=folder, capture_output=True)
        if not done.returncode:
            return
        (lists / "partial").mkdir(parents=True)
        _apt_get(folder, lists, "update")
    _apt_get(folder, lists, "download", package)


def _apt_get(folder: Path, lists: Path, *arguments: str) -> None:
    options = ("-o", f"Dir::State::lists={lists.resolve()}", "-o", "Dir::Cache::pkgcache=")
    subprocess.run(["apt-get", *options, *arguments], cwd=folder, check=True, capture_output=True)


class Recordings:
    """Loads recordings as 16 kHz mono float32 samples without the silence around them."""

    def __init__(self, folder: Path) -> None:
        self._share = folder / "usr/share"
        self.load = lru_cache(maxsize=None)(self._load)

    def _load(self, path: Path) -> np.ndarray:
        if path.suffix == ".g722":
            samples, rate = decoded(path.read_bytes(), "g722"), INPUT_SAMPLE_RATE
        else:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return scaled(trimmed(soxr.resample(samples.mean(axis=1), rate, INPUT_SAMPLE_RATE)))

    def sound(self, language: str, name: str) -> np.ndarray:
        """Return the recording `name`, such as "digits/5", of the language's speaker."""
        return self.load(self._sounds(language) / f"{name}.wav")

    def wide(self, name: str) -> np.ndarray:
        """Return the English recording `name` with the full band of 16 kHz."""
        return self.load(self._sounds("en") / f"{name}.g722")

    def librivox(self) -> list[tuple[str, str, np.ndarray]]:
        """Return name, text and samples of each sentence from the audiobook."""
        folder = self._share / "pocketsphinx/test/data/librivox"
        lines = (folder / "transcription").read_text().splitlines()
        found = [re.fullmatch(r"<s> (.*) </s> \((.*)\)", line.strip()) for line in lines]
        return [
            (line[2], line[1], self.load(folder / f"{line[2]}.wav"))
            for line in found
            if line is not None
        ]

    def noises(self) -> list[str]:
        """Return the names of the game's sounds that hold no words."""
        spoken = ("areyousure", "youcannot")
        names = sorted(path.stem for path in (self._share / "tuxpaint/sounds").glob("*.wav"))
        return [name for name in names if not name.startswith(spoken)]

    def noise(self, name: str) -> np.ndarray:
        """Return a sound of the game."""
        return self.load(self._share / f"tuxpaint/sounds/{name}.wav")

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


def decoded(data: bytes, codec: str) -> np.ndarray:
    """Decode bare frames of a codec. Returns samples x 1, float32."""
    decoder = AudioCodecContext.create(codec, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout = INPUT_SAMPLE_RATE, "mono"
    blocks = [data[start : start + 4000] for start in range(0, len(data), 4000)]
    frames = [x for block in blocks for x in decoder.decode(av.Packet(block))]
    samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    return samples.astype(np.float32)[:, np.newaxis] / 32768


def opus(samples: np.ndarray, bits_per_second: int) -> np.ndarray:
    """Return what is left of 16 kHz samples after Opus."""
    encoder = AudioCodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = INPUT_SAMPLE_RATE, "mono", "s16"
    encoder.bit_rate = bits_per_second
    encoder.open()
    size = INPUT_SAMPLE_RATE // 50
    pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
    pcm = np.pad(pcm, (0, -len(pcm) % size))
    packets = []
    for start in range(0, len(pcm), size):
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis, start : start + size], "s16", "mono")
        frame.sample_rate, frame.pts = INPUT_SAMPLE_RATE, start
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = AudioCodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "mono"
    frames = [x for packet in packets for x in decoder.decode(packet)]
    samples48 = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    scale = 32768 if samples48.dtype.kind == "i" else 1
    return np.asarray(
        soxr.resample(samples48.astype(np.float32) / scale, frames[0].sample_rate, 16_000),
        np.float32,
    )


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


if __name__ == "__main__":
    try:
        download(Path(".cache/voices"), TEST_PACKAGES)
    except NotAvailable as error:
        sys.exit(str(error))
