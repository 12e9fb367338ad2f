"""Print figures: percentiles, rows, targets, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence

import psutil

from appliance.gpu_proof.machine import CPUINFO, processor_name
from appliance.gpu_proof.record import percentile

LOOP_STEPS = 3_000_000


def row(name: str, values: Sequence[float], unit: str = "s", scale: float = 1.0) -> str:
    """Return a line with p50, p95, minimum and maximum, which tests/bench/compare.py parses."""
    if not values:
        return f"  {name:34} none"
    shown = [value * scale for value in values]
    p50, p95 = percentile(shown, 0.5), percentile(shown, 0.95)
    low, high = min(shown), max(shown)
    return (
        f"  {name:34} p50 {p50:7.2f} {unit}   p95 {p95:7.2f} {unit}"
        f"   {low:.2f}..{high:.2f}   n={len(shown)}"
    )


def verdict(name: str, value: float, target: float, unit: str, at_least: bool = False) -> str:
    """Return a line that compares a figure with its target."""
    met = value >= target if at_least else value <= target
    sign = ">=" if at_least else "<="
    return (
        f"  {name:44} {value:8.2f} {unit:9} target {sign} {target:g}  {'met' if met else 'MISSED'}"
    )


def machine() -> str:
    """Describe the machine and its current speed, which varies on a shared machine."""
    model = processor_name(CPUINFO.read_text(encoding="utf-8"))
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} x {model}, {memory:.0f} GiB, Python {platform.python_version()}, "
        f"load {load:.1f} before; {LOOP_STEPS / 1e6:g} million steps of a loop in "
        f"{_loop_seconds():.2f} s"
    )


def _loop_seconds() -> float:
    began, total = time.perf_counter(), 0
    for step in range(LOOP_STEPS):
        total += step * step
    return time.perf_counter() - began
