"""Percentiles and how seconds are written. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that `share` (0..1) of all values do not exceed.

    Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def seconds(value: float) -> str:
    """For people: milliseconds below a second."""
    return f"{value * 1000:.0f} ms" if abs(value) < 1 else f"{value:.2f} s"


def ticks(longest: float, wanted: int = 5) -> list[float]:
    """Round steps of an axis from 0 to at least `longest`: 1, 2 or 5 times a power of ten."""
    rough = max(longest, 1e-3) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * 0.999)
    return [round(number * step, 6) for number in range(math.ceil(longest / step - 1e-9) + 1)]
