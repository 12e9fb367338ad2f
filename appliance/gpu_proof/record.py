"""The record of measurements on a card: types, JSON, comparison. No I/O.

`ops/gpu-proof`, `ops/smoke-test` and `make bench-engine` write the same record, so that any two
runs can be compared: of two cards, or of two versions on one card.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

SCHEMA = 1
StepState = Literal["measured", "partly", "unavailable", "failed", "not reached"]
Condition = str | int | float

_SERIALS = re.compile(
    r"\b(?P<kind>GPU|MIG)-[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}"
    r"|\b[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.\d\b"
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured quantity.

    unit        ms, s, GB/s, tokens/s, ratio, ...
    median      of `n` values
    p95         nearest rank; equal to the median for a single value
    conditions  the same quantity is measured under several, such as {"tokens": 512}
    """

    name: str
    unit: str
    median: float
    p95: float
    n: int
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, tuple[tuple[str, Condition], ...]]:
        """What has to be equal so that two values can be compared."""
        return self.name, self.unit, tuple(sorted(self.conditions.items()))

    @property
    def title(self) -> str:
        """Name and conditions, for people."""
        conditions = ", ".join(f"{name} {value}" for name, value in self.conditions.items())
        return f"{self.name} ({conditions})" if conditions else self.name


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one step.

    why           why nothing, or not everything, was measured; empty for `measured`
    seconds       how long the step ran
    notes         sentences for people
    data          values that are not measurements, such as the replies of the driver
    """

    name: str
    state: StepState
    why: str = ""
    seconds: float = 0.0
    measurements: Sequence[Measurement] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One run, or several that continue each other on one machine.

    tool        gpu-proof, smoke-test or bench-engine
    version     of the appliance
    started_at  UTC, ISO 8601
    machine     card, driver, versions of libraries, processor; `run` says whether it is a rehearsal
    """

    tool: str
    version: str
    started_at: str
    machine: Mapping[str, str]
    steps: Sequence[Step] = ()

    def with_step(self, step: Step) -> Record:
        """The same record with this step's result in place of an earlier one.

        A result without measurements does not replace one that has some.
        """
        earlier = self.step(step.name)
        if earlier is not None and earlier.measurements and not step.measurements:
            note = f"a later run: {step.state}; {step.why}"
            step = replace(earlier, notes=(*earlier.notes, note))
        steps = [step if old.name == step.name else old for old in self.steps]
        if step.name not in {old.name for old in self.steps}:
            steps.append(step)
        return replace(self, steps=tuple(steps))

    def step(self, name: str) -> Step | None:
        """The result of a step, or None."""
        return next((step for step in self.steps if step.name == name), None)


def summarise(
    name: str, values: Sequence[float], unit: str, conditions: Mapping[str, Condition] | None = None
) -> Measurement:
    """A measurement from its values. Raises ValueError without values or for one not finite."""
    if not values or not all(map(math.isfinite, values)):
        raise ValueError(f"{name}: no values, or not finite ones: {list(values)}")
    median, p95 = statistics.median(values), percentile(values, 0.95)
    return Measurement(name, unit, median, p95, len(values), dict(conditions or {}))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of `values` for a share from 0 to 1.

    It is the smallest value such that at least this share of the values does not exceed it. Raises
    ValueError if there are no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def to_tree(record: Record) -> dict[str, Any]:
    """The record as JSON values. Serial numbers and bus addresses are replaced."""
    tree: dict[str, Any] = without_serials({"schema": SCHEMA, **asdict(record)})
    return tree


def from_tree(tree: Any) -> Record:
    """The record from JSON values. Raises ValueError for anything else."""
    try:
        if tree["schema"] != SCHEMA:
            raise ValueError(f"schema {tree['schema']!r}; this version reads {SCHEMA}")
        steps = [_step(step) for step in tree["steps"]]
        texts = {name: tree[name] for name in ("tool", "version", "started_at")}
        machine = dict(tree["machine"])
        for name, text in [*texts.items(), *machine.items()]:
            if not isinstance(text, str):
                raise ValueError(f"{name} is not a text")
        return Record(**texts, machine=machine, steps=tuple(steps))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record of measurements: {error!r}") from error


def _step(tree: Mapping[str, Any]) -> Step:
    if tree["state"] not in get_args(StepState):
        raise ValueError(f"unknown state {tree['state']!r}")
    measurements = tuple(measurement(entry) for entry in tree["measurements"])
    return Step(**{**tree, "measurements": measurements, "notes": tuple(tree["notes"])})


def measurement(tree: Mapping[str, Any]) -> Measurement:
    """A measurement from JSON values. Raises ValueError and TypeError."""
    result = Measurement(**tree)
    if not (math.isfinite(result.median) and math.isfinite(result.p95) and result.n > 0):
        raise ValueError(f"{result.name} is not a finite number")
    return result


def without_serials(tree: Any) -> Any:
    """The same JSON value with UUIDs of cards and PCI addresses replaced by numbered ones."""
    replacements: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        number = len(replacements) + 1
        kind = match["kind"]
        return replacements.setdefault(match[0], f"{kind}-{number:08}" if kind else f"pci-{number}")

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return _SERIALS.sub(replace, value)
        if isinstance(value, Mapping):
            return {clean(key): clean(item) for key, item in value.items()}
        return [clean(item) for item in value] if isinstance(value, Sequence) else value

    return clean(tree)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A quantity that two records have; `ratio` is other / base."""

    step: str
    base: Measurement
    other: Measurement

    @property
    def ratio(self) -> float:
        return self.other.median / self.base.median if self.base.median else math.nan


def compare(base: Record, other: Record) -> list[Comparison]:
    """What both records measured under the same conditions, in the order of `base`."""
    values = {(step, each.key): each for step, each in _measurements(other)}
    return [
        Comparison(step, each, values[step, each.key])
        for step, each in _measurements(base)
        if (step, each.key) in values
    ]


def _measurements(record: Record) -> Iterator[tuple[str, Measurement]]:
    for step in record.steps:
        for each in step.measurements:
            yield step.name, each
