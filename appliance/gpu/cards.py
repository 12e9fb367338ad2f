"""Graphics cards: what we are told of one, and what is known of those a customer is likely to have.

Bandwidth and bf16 speed are NVIDIA's data sheets', without sparsity. The memory is what CUDA sees,
which is less than what is printed on the box: rounded down from `torch.cuda` messages in public
issues, and used only where a card is asked about that is not here. Of a card that is here, the
driver tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GIB = 1 << 30

# Below, vLLM has no bfloat16 (vllm/platforms/cuda.py, supported_dtypes).
BFLOAT16_CAPABILITY = (8, 0)
# From here on the card calculates in FP8 (Ada, Hopper, ...): vLLM's schemes/w8a8_fp8.py. Below,
# vLLM unpacks FP8 weights into bfloat16; nothing here has tried that, so it is not started.
FP8_CAPABILITY = (8, 9)
# From here on vLLM has no INT8 kernels (its documentation, "INT8 W8A8": Blackwell).
NO_INT8_CAPABILITY = (10, 0)


@dataclass(frozen=True, slots=True)
class Card:
    """One card, or one MIG instance of a card, as its driver describes it.

    memory_bytes     what CUDA can use of it: the total less what the driver keeps for itself
    free_bytes       of these, what no process holds now
    capability       CUDA compute capability, e.g. (8, 9)
    bytes_per_second how fast its memory is read at most; 0: not known
    """

    name: str
    memory_bytes: int
    free_bytes: int
    capability: tuple[int, int]
    driver: str
    uuid: str = ""
    bytes_per_second: float = 0.0

    @property
    def title(self) -> str:
        """For people: name and memory."""
        return f"{self.name} ({self.memory_bytes / GIB:.1f} GiB)"


@dataclass(frozen=True, slots=True)
class Known:
    """One line of the table. `pattern` finds it in the name that the driver gives."""

    name: str
    pattern: str
    gib: float
    capability: tuple[int, int]
    gigabytes_per_second: float
    teraflops: float

    def as_card(self) -> Card:
        """Such a card with nothing on it."""
        size = int(self.gib * GIB)
        speed = self.gigabytes_per_second * 1e9
        return Card(self.name, size, size, self.capability, "", bytes_per_second=speed)


KNOWN = (
    Known("NVIDIA A10", r"A10\b", 22.1, (8, 6), 600, 125),
    Known("NVIDIA A10G", r"A10G\b", 22.1, (8, 6), 600, 70),
    Known("NVIDIA L4", r"L4\b", 22.0, (8, 9), 300, 121),
    Known("NVIDIA A30", r"A30\b", 23.5, (8, 0), 933, 165),
    Known("NVIDIA GeForce RTX 3090", r"RTX 3090\b", 23.5, (8, 6), 936, 71),
    Known("NVIDIA GeForce RTX 4090", r"RTX 4090\b", 23.5, (8, 9), 1008, 165),
    Known("NVIDIA A100-40GB", r"A100.*40GB", 39.3, (8, 0), 1555, 312),
    Known("NVIDIA A40", r"A40\b", 44.3, (8, 6), 696, 150),
    Known("NVIDIA L40S", r"L40S\b", 44.3, (8, 9), 864, 362),
    Known("NVIDIA A100-80GB", r"A100.*80GB", 79.1, (8, 0), 1935, 312),
    Known("NVIDIA H100 PCIe", r"H100 PCIe", 79.1, (9, 0), 2000, 756),
    Known("NVIDIA H100 80GB HBM3", r"H100 80GB HBM3", 79.1, (9, 0), 3350, 989),
    Known("NVIDIA H200", r"H200\b", 139.7, (9, 0), 4800, 989),
    Known("Tesla T4", r"T4\b", 14.5, (7, 5), 320, 65),
)


def known(name: str) -> Known | None:
    """The line of the table for a card's name; a MIG instance is none of the whole cards."""
    if "MIG" in name:
        return None
    return next((one for one in KNOWN if re.search(rf"\b{one.pattern}", name)), None)


def asked_for(name: str) -> Known | None:
    """The line that a person means by `L4`, `a100-80gb`, `4090` or the full name."""
    return next((one for one in KNOWN if _short(one.name) == _short(name)), None)


def bytes_per_second(card: Card) -> float:
    """Bandwidth of the card's memory, as the driver told or the table says; 0: not known."""
    line = known(card.name)
    return card.bytes_per_second or (line.gigabytes_per_second * 1e9 if line else 0.0)


def flops_per_second(card: Card) -> float:
    """bf16 operations a second by the data sheet, without sparsity; 0: not known."""
    line = known(card.name)
    return line.teraflops * 1e12 if line else 0.0


def recommended(card: Card) -> tuple[tuple[str, ...], str]:
    """The kinds of weights to take for a card, best first, and why.

    Kinds as in checkpoint.Checkpoint.quantization; `bf16` is the model as it was published.
    """
    has_fp8 = card.capability >= FP8_CAPABILITY
    gib = card.memory_bytes / GIB
    if card.capability < BFLOAT16_CAPABILITY:
        return (), "no bfloat16 below compute capability 8.0"
    if gib >= 36 and bytes_per_second(card) >= 1.5e12:
        second = "fp8" if has_fp8 else "w4a16"
        return ("bf16", second), "room and bandwidth for the weights as they were published"
    if gib < 20:
        return ("w4a16",), "little memory"
    if has_fp8:
        return ("fp8", "w4a16"), "FP8 in hardware; half the bytes to read per token, little lost"
    return ("w4a16", "int8"), "no FP8 in hardware; a quarter of the bytes to read per token"


def _short(name: str) -> str:
    letters = re.sub(r"[^A-Z0-9]", "", name.upper())
    return re.sub("^(NVIDIA|TESLA|GEFORCE|RTX)*", "", letters)
