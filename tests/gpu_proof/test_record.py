"""The record: its JSON, what is removed from it, and comparisons."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from appliance.gpu_proof.record import (
    Measurement,
    Record,
    Step,
    compare,
    from_tree,
    summarise,
    to_tree,
)

MACHINE = {"card": "NVIDIA L4 (22.1 GiB)", "driver": "580.95.05"}
UUID = "GPU-5d3b1a77-0c42-9d1e-4a6f-2f9b8c7d6e5f"
OTHER_UUID = "GPU-11111111-2222-3333-4444-555555555555"


def record(*steps: Step) -> Record:
    return Record("gpu-proof", "0.1.0", "2026-11-28T09:00:00+00:00", MACHINE, steps)


def step(name: str = "ultravox", **values: float) -> Step:
    measurements = [summarise(name, [value], "ms") for name, value in values.items()]
    return Step(name, "measured", measurements=measurements)


def test_record_survives_json() -> None:
    original = record(
        Step(
            "kokoro",
            "partly",
            "compiled vocoder: no compiler",
            12.5,
            (summarise("time to audio", [3.0, 1.0, 2.0], "ms", {"phonemes": 40}),),
            ("a note",),
            {"plan": ["line"]},
        )
    )
    assert from_tree(json.loads(json.dumps(to_tree(original)))) == original


@pytest.mark.parametrize(
    ("values", "median", "p95"),
    [([5.0], 5.0, 5.0), ([1.0, 2.0, 9.0], 2.0, 9.0), ([4.0, 1.0], 2.5, 4.0)],
)
def test_summary_has_median_and_nearest_rank_p95(
    values: list[float], median: float, p95: float
) -> None:
    assert summarise("x", values, "ms") == Measurement("x", "ms", median, p95, len(values))


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_value_that_is_not_a_number_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="decode"):
        summarise("decode", values, "ms")


def test_serials_and_bus_addresses_are_numbered_instead() -> None:
    text = f"card {UUID} at 00000000:65:00.0"
    data = {"calls": {f'byUUID("{UUID}")': [text, OTHER_UUID]}}
    tree = to_tree(record(Step("driver", "measured", data=data)))
    assert tree["steps"][0]["data"] == {
        "calls": {'byUUID("GPU-00000001")': ["card GPU-00000001 at pci-2", "GPU-00000003"]}
    }


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schema": 2}, "schema 2"),
        ({"tool": 5}, "tool"),
        ({"machine": {"card": None}}, "card"),
        ({"steps": [{}]}, "not a record"),
        ({"steps": [{"name": "x", "state": "done", "measurements": []}]}, "unknown state"),
        ({"steps": None}, "not a record"),
    ],
)
def test_file_that_is_not_a_record_is_refused_with_the_reason(
    changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        from_tree({**to_tree(record()), **changes})


@pytest.mark.parametrize("tree", [None, [], "text", {}, 5])
def test_other_json_is_refused(tree: object) -> None:
    with pytest.raises(ValueError, match="not a record"):
        from_tree(tree)


def test_repeated_step_replaces_the_earlier_result() -> None:
    both = record(step(prefill=9.0)).with_step(step("kokoro")).with_step(step(prefill=7.0))
    assert [each.name for each in both.steps] == ["ultravox", "kokoro"]
    assert both.steps[0].measurements[0].median == 7.0


def test_result_without_values_does_not_replace_one_with_values() -> None:
    both = record(step(prefill=9.0)).with_step(Step("ultravox", "not reached", "no time"))
    assert both.steps[0].measurements[0].median == 9.0
    assert both.steps[0].notes == ("a later run: not reached; no time",)


def test_comparison_has_only_what_both_measured_under_equal_conditions() -> None:
    def decode(value: float, sequences: int) -> Step:
        conditions = {"sequences": sequences}
        return Step(
            "ultravox",
            "measured",
            measurements=[summarise("decode step", [value], "ms", conditions)],
        )

    same = compare(record(decode(10.0, 1)), record(decode(5.0, 1)))
    assert [each.ratio for each in same] == [0.5]
    assert compare(record(decode(10.0, 1)), record(decode(5.0, 8))) == []


def test_comparison_with_a_base_of_zero_has_no_ratio() -> None:
    (only,) = compare(record(step(prefill=0.0)), record(step(prefill=1.0)))
    assert math.isnan(only.ratio)
