"""Compares the measurements with the constants of the plan (appliance/gpu/speed.py). No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.gpu.cards import CardModel, model_of
from appliance.gpu.speed import PREFILL_UTILISATION
from appliance.gpu_proof.record import Measurement, Record

PROMPT_TOKENS = 600  # the prompt for which docs/hardware.md computes the prefill
CLIP_SECONDS = 5
DECODE_SHARE = (0.75, 0.85)  # of the bandwidth that good kernels reach, as docs/hardware.md assumes


@dataclass(frozen=True, slots=True)
class Constant:
    """An assumption of the plan and its measured value, as shares of the card's data sheet."""

    name: str
    assumed: str
    measured: float
    explanation: str


def constants(record: Record) -> list[Constant]:
    """The constants that this record contains; empty for a card without a data sheet."""
    step, model = record.step("ultravox"), model_of(record.machine.get("card", ""))
    if step is None or model is None:
        return []
    values = {each.key: each for each in step.measurements}
    wanted = [
        _share_of_arithmetic(
            "prefill utilisation",
            _find(values, "prefill arithmetic", "TFLOP/s", tokens=PROMPT_TOKENS),
            model,
        ),
        _share_of_arithmetic(
            "encoder utilisation",
            _find(values, "encoder arithmetic", "TFLOP/s", seconds=CLIP_SECONDS, clips=1),
            model,
        ),
        _share_of_bandwidth(
            "decode, share of the bandwidth",
            _find(values, "decode bytes", "GB/s", launch="CUDA graph", sequences=1),
            model,
        ),
    ]
    for kind in ("bf16", "fp8", "int4"):
        rate = _find(values, "linear layers, bytes", "GB/s", weights=kind, sequences=1)
        wanted.append(
            _share_of_bandwidth(f"linear layers in {kind}, share of the bandwidth", rate, model)
        )
    return [constant for constant in wanted if constant is not None]


def _find(
    values: Mapping[Any, Measurement], name: str, unit: str, **conditions: int | str
) -> Measurement | None:
    return values.get((name, unit, tuple(sorted(conditions.items()))))


def _share_of_arithmetic(name: str, rate: Measurement | None, model: CardModel) -> Constant | None:
    if rate is None:
        return None
    explanation = f"{rate.median:.0f} of {model.teraflops:.0f} TFLOP/s in bf16"
    return Constant(name, f"{PREFILL_UTILISATION:g}", rate.median / model.teraflops, explanation)


def _share_of_bandwidth(name: str, rate: Measurement | None, model: CardModel) -> Constant | None:
    if rate is None:
        return None
    limit = model.gigabytes_per_second
    low, high = DECODE_SHARE
    explanation = f"{rate.median:.0f} of {limit:.0f} GB/s"
    return Constant(name, f"{low:g} to {high:g}", rate.median / limit, explanation)
