"""The audio of a golden folder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
_PART = re.compile(r"(\w+)\[(\d+):(\d+)\]")


class Clips:
    """Clips by name, as samples in -1..1 that int16 represents exactly.

    A name is that of an array in audio.npz, such as `a45`, or a part of one in samples, such as
    `a45[16000:27200]`. An array holds float32 in -1..1, or int16.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError or ValueError when the folder has no such file."""
        with np.load(folder / "audio.npz", allow_pickle=False) as audio:
            self._arrays = {name: to_int16(audio[name]) for name in audio}

    def pcm(self, name: str) -> npt.NDArray[np.int16]:
        """Return a clip as a client sends it. Raises KeyError for an unknown name."""
        part = _PART.fullmatch(name)
        if part is None:
            return self._arrays[name]
        array, start, stop = part[1], int(part[2]), int(part[3])
        return self._arrays[array][start:stop]

    def samples(self, name: str) -> Samples:
        """Return a clip as an encoder hears it. Raises KeyError for an unknown name."""
        return self.pcm(name).astype(np.float32) / np.float32(32768)


def to_int16(samples: npt.NDArray[np.float32] | npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Convert samples in -1..1 to 16-bit PCM; louder ones are clipped. Keep int16 as it is."""
    if samples.dtype == np.int16:
        return samples.astype("<i2")
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")
