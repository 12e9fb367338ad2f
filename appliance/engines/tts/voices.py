"""Voice packs: which style vector shapes a voice, and blends of several voices.

A pack holds one style per length of text: 510 x 1 x 256 float32, row n-1 for n phonemes (Kokoro's
own rule). `voices/NAME.bin` are the raw numbers, as kokoro-js ships them; `NAME.safetensors` hold
them as their only tensor. The first letter of a name is the accent: a American, b British.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.errors import BadSetting, MissingWeights, UnknownVoice

Style = NDArray[np.float32]  # 1 x 256

LENGTHS, WIDTH = 510, 256
PACK_BYTES = LENGTHS * WIDTH * 4


class Voices:
    """The voice packs of one folder, read when first asked for."""

    def __init__(self, folder: Path) -> None:
        """Raises MissingWeights when the folder holds no voice."""
        self._files = {
            path.stem: path
            for path in sorted(folder.glob("*"))
            if path.suffix in (".bin", ".safetensors")
        }
        self._packs: dict[str, NDArray[np.float32]] = {}
        if not self._files:
            raise MissingWeights(path=str(folder / "*.bin"))

    @property
    def names(self) -> list[str]:
        """Every voice there is, sorted."""
        return list(self._files)

    def check(self, voice: str) -> None:
        """Raises UnknownVoice unless `voice` is a voice or a blend of voices."""
        self._parse(voice)

    def british(self, voice: str) -> bool:
        """Whether the voice, or the heaviest of a blend, is British."""
        return max(self._parse(voice), key=lambda part: part[1])[0].startswith("b")

    def style(self, voice: str, phonemes: int) -> Style:
        """The style for a text of so many phonemes; of a blend, the weighted mean.

        Raises UnknownVoice.
        """
        row = min(max(phonemes, 1), LENGTHS) - 1
        parts = self._parse(voice)
        total = sum(weight for _, weight in parts)
        mixed = sum(self._pack(name)[row] * (weight / total) for name, weight in parts)
        return np.asarray(mixed, dtype=np.float32)

    def _parse(self, voice: str) -> list[tuple[str, float]]:
        parts = []
        for part in voice.split(","):
            name, colon, given = part.strip().partition(":")
            try:
                weight = float(given) if colon else 1.0
            except ValueError:
                weight = 0.0
            if name not in self._files or not (0 < weight < math.inf):
                raise UnknownVoice(voice=voice, known=", ".join(self._files))
            parts.append((name, weight))
        return parts

    def _pack(self, name: str) -> NDArray[np.float32]:
        if name not in self._packs:
            path = self._files[name]
            raw = path.read_bytes()
            if path.suffix == ".safetensors":
                raw = _only_tensor(raw)
            if len(raw) != PACK_BYTES:
                raise BadSetting(
                    name="tts.voice",
                    why=f"{path.name} is no pack of {LENGTHS} x {WIDTH} numbers",
                )
            self._packs[name] = np.frombuffer(raw, dtype="<f4").reshape(LENGTHS, 1, WIDTH)
        return self._packs[name]


def _only_tensor(raw: bytes) -> bytes:
    """The bytes of the one float32 tensor of a safetensors file; b'' if it is no such file.

    The format: 8 bytes length of the header, a JSON header, the tensors' bytes. Read here because
    the cpu profile installs no safetensors.
    """
    length = int.from_bytes(raw[:8], "little")
    try:
        header = json.loads(raw[8 : 8 + length])
        (tensor,) = (entry for name, entry in header.items() if name != "__metadata__")
        start, end = tensor["data_offsets"]
        return raw[8 + length + start : 8 + length + end] if tensor["dtype"] == "F32" else b""
    except (ValueError, KeyError, AttributeError):
        return b""
