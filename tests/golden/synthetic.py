"""Write the checkpoint and the audio of the second golden folder.

    python -m tests.golden.synthetic FOLDER

The checkpoint has random weights in other sizes than the first one; tokenizer and processor
settings are the same. The audio is a row of harmonic tones of random pitch and loudness, with
pauses. All depends only on the seed and on numpy's generator.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.weights.checkpoint import configs
from appliance.weights.checkpoint.tensors import expected
from tests.golden.parts import CHECKPOINT, save, to_bfloat16

SEED = 2
SECONDS = 31.37
AUDIO = {
    "d_model": 80,
    "encoder_layers": 3,
    "num_hidden_layers": 3,
    "encoder_attention_heads": 5,
    "encoder_ffn_dim": 192,
}
PROJECTOR = {"hidden_size": 160}
TEXT = {
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
}
COPIED = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


def write_checkpoint(folder: Path, random: np.random.Generator) -> None:
    """Write a complete checkpoint to a new folder."""
    config: dict[str, Any] = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    config |= PROJECTOR
    config["audio_config"] |= AUDIO
    config["text_config"] |= TEXT
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    for name in COPIED:
        shutil.copy(CHECKPOINT / name, folder)
    shape = configs.parse(folder / "config.json", config)
    tensors = {
        name: to_bfloat16(random_values(random, name, tensor.shapes[0]))
        for name, tensor in expected(shape).items()
    }
    save(folder / "model.safetensors", tensors)


def random_values(
    random: np.random.Generator, name: str, sizes: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Values whose spread lets every layer, and every frame of a clip, change the reply."""
    if name.endswith("embed_positions.weight"):
        return sinusoids(*sizes)
    mean, spread = 0.0, 1 / math.sqrt(math.prod(sizes[1:]))
    if name.endswith(".bias"):
        spread = 0.02
    elif name.endswith(("ln_pre.weight", "ln_mid.weight")):
        mean, spread = 0.4, 0.05
    elif len(sizes) == 1:
        mean, spread = 1.0, 0.1
    elif name.endswith("embed_tokens.weight"):
        spread = 0.5
    return random.normal(mean, spread, sizes).astype(np.float32)


def sinusoids(length: int, width: int) -> npt.NDArray[np.float32]:
    """Whisper's position embeddings."""
    rates = np.exp(-np.log(10_000) * np.arange(width // 2) / (width // 2 - 1))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def synthesize(random: np.random.Generator, seconds: float) -> npt.NDArray[np.int16]:
    """Tones of 0.1 to 0.5 s, 40 dB apart at most, with pauses of up to 0.3 s and faint noise.

    The lowest bits are zero, so that a file of it is small.
    """
    pieces, length = list[npt.NDArray[np.float64]](), round(seconds * 16_000)
    while sum(len(piece) for piece in pieces) < length:
        tone = np.arange(int(16_000 * random.uniform(0.1, 0.5))) / 16_000
        pitch, loudness = random.uniform(90, 260), 10 ** random.uniform(-2, 0)
        strengths = random.uniform(0, 1, 20) / np.arange(1, 21)
        waves = [
            strength * np.sin(2 * np.pi * pitch * number * tone)
            for number, strength in enumerate(strengths, 1)
        ]
        envelope = np.sin(np.pi * np.arange(len(tone)) / len(tone))
        pieces += [loudness * envelope * np.sum(waves, axis=0)]
        pieces += [np.zeros(int(16_000 * random.uniform(0, 0.3)))]
    samples = np.concatenate(pieces)[:length]
    samples = 0.4 * samples / np.abs(samples).max() + random.normal(0, 0.001, length)
    return np.asarray(np.rint(samples * 1024) * 32, np.int16)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    folder, random = Path(arguments[0]), np.random.default_rng(SEED)
    write_checkpoint(folder / "checkpoint", random)
    np.savez_compressed(folder / "audio.npz", b31=synthesize(random, SECONDS))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
