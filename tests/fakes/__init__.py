"""Fakes with the interfaces of the real components."""

from tests.fakes.audio import tone
from tests.fakes.engines import (
    InstantLLMEngine,
    InstantLLMSession,
    InstantTTSEngine,
    InstantTTSSession,
    echo,
)
from tests.fakes.gateway import FakeCaller, FakeGateway
from tests.fakes.network import VanishingPath, vanishing_path
from tests.fakes.nvml import NVML_A10, NVML_H100, NVML_L4, NVML_MIG, FakeNvml, NvmlAnswers
from tests.fakes.sound import FakeSound, FakeStream

__all__ = [
    "NVML_A10",
    "NVML_H100",
    "NVML_L4",
    "NVML_MIG",
    "FakeCaller",
    "FakeGateway",
    "FakeNvml",
    "FakeSound",
    "FakeStream",
    "InstantLLMEngine",
    "InstantLLMSession",
    "InstantTTSEngine",
    "InstantTTSSession",
    "NvmlAnswers",
    "VanishingPath",
    "echo",
    "tone",
    "vanishing_path",
]
