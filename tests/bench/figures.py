"""Collect figures and print them: rows, ratios, targets, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil

from appliance.gpu_proof.machine import CPUINFO, processor_name
from appliance.gpu_proof.record import percentile

LOOP_STEPS = 3_000_000


class Figure(NamedTuple):
    """What was measured, and its unit."""

    name: str
    unit: str


@dataclass(slots=True)
class Samples:
    """Everything that one build was measured with.

    values  the samples of each figure, in the order of the measurement
    notes   what was not measured and why, and other lines to print below the figures
    """

    values: dict[Figure, list[float]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, unit: str, *values: float) -> None:
        """Add samples of a figure. A figure without samples gets a row, too."""
        self.values[Figure(name, unit)] += values

    def merge(self, other: Samples) -> None:
        """Add the samples of a later round. Notes that are here already are not repeated."""
        for figure, values in other.values.items():
            self.values[figure] += values
        self.notes += [note for note in other.notes if note not in self.notes]

    def rows(self) -> list[str]:
        """Return a line for each figure, and the notes."""
        rows = [row(name, values, unit) for (name, unit), values in self.values.items()]
        return rows + [f"  {note}" for note in self.notes]


def compare(before: Samples, now: Samples) -> Iterable[str]:
    """Return a table with median, p95 and number of samples of both builds.

    A ratio is this build divided by the other; above 1, this build is slower. A figure that only
    one build has gets a row without ratios.
    """
    head = f"{'before':>9}{'now':>9}{'ratio':>7}"
    yield f"  {'':46}{'p50':>25}{'p95':>28}"
    yield f"  {'':46}{head}   {head}   n before, now"
    for figure in dict.fromkeys([*before.values, *now.values]):
        old, new = before.values.get(figure, []), now.values.get(figure, [])
        cells = "   ".join(_compare_cells(old, new, share) for share in (0.5, 0.95))
        yield f"  {f'{figure.name}, {figure.unit}':46}{cells}   {len(old)}, {len(new)}"
    yield from (f"  before: {note}" for note in before.notes)
    yield from (f"  now: {note}" for note in now.notes)


def _compare_cells(old: Sequence[float], new: Sequence[float], share: float) -> str:
    """Return the percentile of both builds and the ratio, each `-` if it cannot be computed."""
    points = [percentile(values, share) if values else None for values in (old, new)]
    cells = [f"{'-':>9}" if point is None else f"{point:9.3f}" for point in points]
    ratio = f"{points[1] / points[0]:7.3f}" if points[0] and points[1] is not None else f"{'-':>7}"
    return "".join(cells) + ratio


def row(name: str, values: Sequence[float], unit: str = "s", scale: float = 1.0) -> str:
    """Return a line with p50, p95, minimum and maximum."""
    if not values:
        return f"  {name:42} none"
    shown = [value * scale for value in values]
    p50, p95 = percentile(shown, 0.5), percentile(shown, 0.95)
    low, high = min(shown), max(shown)
    return (
        f"  {name:42} p50 {p50:7.2f} {unit}   p95 {p95:7.2f} {unit}"
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
