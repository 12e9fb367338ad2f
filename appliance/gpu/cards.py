"""Cards as the driver describes them, and a table of data sheet values. No I/O.

Bandwidth and bf16 speed are from NVIDIA's data sheets, without sparsity. Memory is the part that
CUDA can use, which is less than the nominal size; the values are rounded down from `torch.cuda`
messages in public issues. The table is for cards that are not installed. The driver reports the
memory and bandwidth of an installed card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GIB = 1 << 30

# vLLM needs this compute capability for bfloat16 (vllm/platforms/cuda.py, supported_dtypes).
BFLOAT16_CAPABILITY = (8, 0)
# From this capability on, cards compute in FP8 (Ada, Hopper, ...); see vLLM's schemes/w8a8_fp8.py.
# Older cards would unpack FP8 weights into bfloat16. That is untested here, so it is refused.
FP8_CAPABILITY = (8, 9)
# From this capability on (Blackwell), vLLM has no INT8 kernels: "INT8 W8A8" in its documentation.
NO_INT8_CAPABILITY = (10, 0)


@dataclass(frozen=True, slots=True)
class GpuCard:
    """A card, or one MIG instance of a card, as the driver describes it.

    memory_bytes     memory usable by CUDA: the total minus what the driver reserves
    free_bytes       the part of memory_bytes that no process uses now
    capability       CUDA compute capability, e.g. (8, 9)
    bytes_per_second peak memory bandwidth; 0 if unknown
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
        """Name and memory, for messages."""
        return f"{self.name} ({self.memory_bytes / GIB:.1f} GiB)"


@dataclass(frozen=True, slots=True)
class CardModel:
    """Data sheet values of a card; `pattern` matches the name that the driver reports."""

    name: str
    pattern: str
    gib: float
    capability: tuple[int, int]
    gigabytes_per_second: float
    teraflops: float

    @property
    def short_name(self) -> str:
        """The name used on the command line, e.g. L4, RTX-4090 or A100-80GB."""
        return re.sub(r"^(NVIDIA|Tesla|GeForce| )*", "", self.name).replace(" ", "-")

    def as_card(self) -> GpuCard:
        """Return a card of this model, with all of its memory free."""
        size = int(self.gib * GIB)
        bandwidth = self.gigabytes_per_second * 1e9
        return GpuCard(self.name, size, size, self.capability, "", bytes_per_second=bandwidth)


CARD_MODELS = (
    CardModel("NVIDIA A10", r"A10\b", 22.1, (8, 6), 600, 125),
    CardModel("NVIDIA A10G", r"A10G\b", 22.1, (8, 6), 600, 70),
    CardModel("NVIDIA L4", r"L4\b", 22.0, (8, 9), 300, 121),
    CardModel("NVIDIA A30", r"A30\b", 23.5, (8, 0), 933, 165),
    CardModel("NVIDIA GeForce RTX 3090", r"RTX 3090\b", 23.5, (8, 6), 936, 71),
    CardModel("NVIDIA GeForce RTX 4090", r"RTX 4090\b", 23.5, (8, 9), 1008, 165),
    CardModel("NVIDIA A100-40GB", r"A100.*40GB", 39.3, (8, 0), 1555, 312),
    CardModel("NVIDIA A40", r"A40\b", 44.3, (8, 6), 696, 150),
    CardModel("NVIDIA L40S", r"L40S\b", 44.3, (8, 9), 864, 362),
    CardModel("NVIDIA A100-80GB", r"A100.*80GB", 79.1, (8, 0), 1935, 312),
    CardModel("NVIDIA H100 PCIe", r"H100 PCIe", 79.1, (9, 0), 2000, 756),
    CardModel("NVIDIA H100 80GB HBM3", r"H100 80GB HBM3", 79.1, (9, 0), 3350, 989),
    CardModel("NVIDIA H200", r"H200\b", 139.7, (9, 0), 4800, 989),
    CardModel("Tesla T4", r"T4\b", 14.5, (7, 5), 320, 65),
)


def model_of(driver_name: str) -> CardModel | None:
    """Return the model of an installed card; None if unknown, or for a MIG instance."""
    if "MIG" in driver_name:
        return None
    return next((m for m in CARD_MODELS if re.search(rf"\b{m.pattern}", driver_name)), None)


def find_model(name: str) -> CardModel | None:
    """Find a model by a name that people use: `L4`, `a100-80gb`, `4090` or the full name."""
    return next((m for m in CARD_MODELS if _normalize(m.name) == _normalize(name)), None)


def bytes_per_second(card: GpuCard) -> float:
    """Return the memory bandwidth from the driver, or else from the table; 0 if unknown."""
    model = model_of(card.name)
    return card.bytes_per_second or (model.gigabytes_per_second * 1e9 if model else 0.0)


def flops_per_second(card: GpuCard) -> float:
    """Return the dense bf16 operations per second from the data sheet; 0 if unknown."""
    model = model_of(card.name)
    return model.teraflops * 1e12 if model else 0.0


def recommend_weights(card: GpuCard) -> tuple[tuple[str, ...], str]:
    """Recommend kinds of weights for a card. Returns them, best first, and the reason.

    The kinds are those of checkpoint.Checkpoint.quantization; `bf16` is the published model.
    """
    has_fp8 = card.capability >= FP8_CAPABILITY
    gib = card.memory_bytes / GIB
    if card.capability < BFLOAT16_CAPABILITY:
        return (), "no bfloat16 below compute capability 8.0"
    if gib >= 36 and bytes_per_second(card) >= 1.5e12:
        second = "fp8" if has_fp8 else "w4a16"
        return ("bf16", second), "enough memory and bandwidth for the published weights"
    if gib < 20:
        return ("w4a16",), "little memory"
    if has_fp8:
        return ("fp8", "w4a16"), "FP8 in hardware: half the bytes per token, little quality loss"
    return ("w4a16", "int8"), "no FP8 in hardware; a quarter of the bytes per token"


def _normalize(name: str) -> str:
    letters = re.sub(r"[^A-Z0-9]", "", name.upper())
    return re.sub("^(NVIDIA|TESLA|GEFORCE|RTX)*", "", letters)
