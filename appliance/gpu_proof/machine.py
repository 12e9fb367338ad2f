"""Describes this machine: GPU, driver, processor, packages, models.

Needs only the standard library, so that the GPU proof starts where nothing is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from appliance.gpu_proof.steps import (
    CONVERTER_PACKAGES,
    KOKORO_FOLDER,
    KOKORO_MODELS,
    Machine,
    StepPlan,
)

ROOT = Path(__file__).parents[2]
CPUINFO = Path("/proc/cpuinfo")
LIBRARIES = ("torch", "transformers", "triton", "vllm", "kokoro", "onnxruntime", "nvidia-ml-py")


def survey(steps: Sequence[StepPlan], weights: Path) -> Machine:
    """Find out which packages and models are there, without importing any of them."""
    names = {package for step in steps for package in step.packages} | set(CONVERTER_PACKAGES)
    has_torch_model = (weights / KOKORO_FOLDER / KOKORO_MODELS[0]).exists()
    return Machine(
        packages={name for name in names if importlib.util.find_spec(name) is not None},
        has_model=any((weights / KOKORO_FOLDER / name).exists() for name in KOKORO_MODELS),
        has_checkout=(ROOT / "tests" / "golden").is_dir(),
        model_packages=() if has_torch_model else CONVERTER_PACKAGES,
    )


def machine_facts() -> dict[str, str]:
    """Card, driver, versions and processor, for people and for comparisons."""
    from appliance.gpu import nvml

    listing = nvml.list_cards()
    facts = {
        "card": ", ".join(card.title for card in listing.cards) or f"none: {listing.problem}",
        "driver": listing.cards[0].driver if listing.cards else "",
        "python": platform.python_version(),
        "processor": processor_name(CPUINFO.read_text(encoding="utf-8")),
        "cores": str(os.cpu_count()),
    }
    return {**facts, **_versions(LIBRARIES)}


def _versions(libraries: Sequence[str]) -> Mapping[str, str]:
    versions: dict[str, str] = {}
    for name in libraries:
        for distribution in (name, f"{name}-cpu"):
            with contextlib.suppress(metadata.PackageNotFoundError):
                versions.setdefault(name, metadata.version(distribution))
    return versions


def processor_name(cpuinfo: str) -> str:
    """Return the name of the first processor (proc(5), cpuinfo), else the architecture."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    names = (value.strip() for key, _, value in lines if key.strip() == "model name")
    return next(names, platform.machine())


def version() -> str:
    """The version of the appliance; unknown where pydantic is not installed."""
    try:
        from appliance.settings import VERSION
    except ImportError:
        return "unknown"
    return VERSION
