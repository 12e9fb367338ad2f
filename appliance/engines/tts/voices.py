"""Voice packs: the style vectors of each voice, and blends of several voices.

A pack contains one style vector per text length: 510 x 1 x 256 float32, where row n-1 is for n
phonemes, as in the package `kokoro`. `NAME.bin` contains the raw little-endian values, as shipped
in kokoro-js; `NAME.safetensors` contains them as its only tensor. The first letter of a name is
the accent: a for American, b for British.

The folder `statistics` next to the packs has a file for each voice, see statistics.py. Only
streamed synthesis needs it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.engines.tts import statistics
from appliance.errors import BadSetting, MissingWeights, UnknownVoice
from appliance.settings import parse_voice

Style = NDArray[np.float32]  # 1 x 256


@dataclass(frozen=True, slots=True)
class VoiceStyle:
    """A voice, for one text.

    vector        the style vector for the length of the text
    coefficients  see statistics.predict; empty if the synthesis is not streamed
    """

    vector: Style
    coefficients: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))


LENGTHS, WIDTH = 510, 256  # rows of a pack; values of a style
STATISTICS = "statistics"  # folder next to that of the packs
PACK_BYTES = LENGTHS * WIDTH * 4


class Voices:
    """The voice packs in a folder, each loaded on first use."""

    def __init__(self, folder: Path) -> None:
        """List the packs. Raises MissingWeights if the folder contains none."""
        self._files = {
            path.stem: path
            for path in sorted(folder.glob("*"))
            if path.suffix in (".bin", ".safetensors")
        }
        self._statistics_folder = folder.parent / STATISTICS
        self._packs: dict[str, NDArray[np.float32]] = {}
        self._coefficients: dict[str, NDArray[np.float32]] = {}
        if not self._files:
            raise MissingWeights(path=str(folder / "*.bin"))

    @property
    def names(self) -> list[str]:
        """All voices, sorted."""
        return list(self._files)

    def check(self, voice: str) -> None:
        """Raise UnknownVoice unless `voice` is a voice or a blend such as af_heart:2,am_adam."""
        self._parse(voice)

    def british(self, voice: str) -> bool:
        """Return whether the voice is British; in a blend, the voice with the highest weight."""
        return max(self._parse(voice), key=lambda part: part[1])[0].startswith("b")

    def style(self, voice: str, phonemes: int) -> Style:
        """Return the style for a text with this number of phonemes; for a blend, the weighted mean.

        Raises UnknownVoice, and BadSetting for a damaged pack.
        """
        row = min(max(phonemes, 1), LENGTHS) - 1
        parts = self._parse(voice)
        total = sum(weight for _, weight in parts)
        blend = sum(self._pack(name)[row] * (weight / total) for name, weight in parts)
        return np.asarray(blend, dtype=np.float32)

    def statistics(self, voice: str) -> NDArray[np.float32]:
        """Return the voice's coefficients for statistics.predict; for a blend, the weighted mean.

        Raises UnknownVoice, MissingWeights, and BadSetting for a damaged file.
        """
        parts = self._parse(voice)
        total = sum(weight for _, weight in parts)
        blend = sum(self._voice_coefficients(name) * (weight / total) for name, weight in parts)
        return np.asarray(blend, dtype=np.float32)

    def _parse(self, voice: str) -> tuple[tuple[str, float], ...]:
        """Return the name and weight of each voice in a blend. Raises UnknownVoice."""
        try:
            parts = parse_voice(voice)
        except ValueError:
            parts = ()
        if not parts or any(name not in self._files for name, _ in parts):
            raise UnknownVoice(voice=voice, known=", ".join(self._files))
        return parts

    def _pack(self, name: str) -> NDArray[np.float32]:
        if name not in self._packs:
            path = self._files[name]
            raw = path.read_bytes()
            if path.suffix == ".safetensors":
                raw = _read_only_tensor(raw)
            if len(raw) != PACK_BYTES:
                raise BadSetting(
                    name="tts.voice",
                    why=f"{path.name} is not a voice pack of {LENGTHS} x {WIDTH} float32 values",
                )
            self._packs[name] = np.frombuffer(raw, dtype="<f4").reshape(LENGTHS, 1, WIDTH)
        return self._packs[name]

    def _voice_coefficients(self, name: str) -> NDArray[np.float32]:
        if name not in self._coefficients:
            path = self._statistics_folder / f"{name}.bin"
            try:
                self._coefficients[name] = statistics.from_bytes(path.read_bytes())
            except FileNotFoundError as missing:
                raise MissingWeights(path=str(path)) from missing
            except ValueError as damaged:
                raise BadSetting(name="tts.voice", why=f"{path.name}: {damaged}") from damaged
        return self._coefficients[name]


def _read_only_tensor(raw: bytes) -> bytes:
    """Return the data of a safetensors file with one float32 tensor; b'' for any other file.

    A file consists of 8 bytes with the header's length, a JSON header and the tensor data. It is
    parsed here because the cpu profile does not install the package safetensors.
    """
    length = int.from_bytes(raw[:8], "little")
    try:
        header = json.loads(raw[8 : 8 + length])
        (tensor,) = (entry for name, entry in header.items() if name != "__metadata__")
        start, end = tensor["data_offsets"]
        return raw[8 + length + start : 8 + length + end] if tensor["dtype"] == "F32" else b""
    except (ValueError, KeyError, AttributeError):
        return b""
