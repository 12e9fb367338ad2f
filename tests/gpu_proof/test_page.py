"""The record as a table, as a page, and beside another record."""

from __future__ import annotations

import re

from appliance.gpu_proof.constants import constants
from appliance.gpu_proof.page import format_comparison, format_table, render
from appliance.gpu_proof.record import Record, Step, compare, summarise

MEASURED = Step(
    "ultravox",
    "partly",
    "linear layers in int4: RuntimeError: <no kernel>",
    61.0,
    (
        summarise("prefill arithmetic", [60.5], "TFLOP/s", {"tokens": 600}),
        summarise("prefill arithmetic", [80.0], "TFLOP/s", {"tokens": 2048}),
        summarise("encoder arithmetic", [30.25], "TFLOP/s", {"seconds": 5, "clips": 1}),
        summarise("decode bytes", [240.0], "GB/s", {"launch": "CUDA graph", "sequences": 1}),
        summarise("decode bytes", [90.0], "GB/s", {"launch": "one by one", "sequences": 1}),
        summarise("linear layers, bytes", [255.0], "GB/s", {"weights": "fp8", "sequences": 1}),
    ),
)
RECORD = Record(
    "gpu-proof",
    "0.1.0",
    "2026-11-28T09:00:00+00:00",
    {"card": "NVIDIA L4 (22.1 GiB)", "driver": "580"},
    (Step("driver", "measured", seconds=2.0), MEASURED, Step("engine", "unavailable", "no vllm")),
)


def test_constants_are_shares_of_the_data_sheet() -> None:
    assert {each.name: each.measured for each in constants(RECORD)} == {
        "prefill utilisation": 0.5,
        "encoder utilisation": 0.25,
        "decode, share of the bandwidth": 0.8,
        "linear layers in fp8, share of the bandwidth": 0.85,
    }


def test_card_without_a_data_sheet_has_no_constants() -> None:
    unknown = Record("gpu-proof", "0.1.0", "", {"card": "Quadro"}, RECORD.steps)
    assert constants(unknown) == []


def test_table_names_every_step_its_state_and_why_not() -> None:
    table = format_table(RECORD)
    assert re.search(r"driver +measured +2 ", table)
    assert re.search(r"ultravox +partly +61 +6  linear layers in int4", table)
    assert re.search(r"engine +unavailable .*no vllm", table)
    assert "prefill utilisation: 0.50 (60 of 121 TFLOP/s in bf16); the plan assumes 0.5" in table


def test_page_escapes_what_a_library_said_and_loads_nothing() -> None:
    page = render(RECORD)
    assert "&lt;no kernel&gt;" in page
    assert "default-src 'none'" in page
    assert not re.search(r"<script|src=|href=|url\(", page)


def test_comparison_prints_both_values_and_their_ratio() -> None:
    faster = Record(
        "smoke-test", "0.2.0", "", RECORD.machine,
        (Step("ultravox", "measured", measurements=(
            summarise("prefill arithmetic", [121.0], "TFLOP/s", {"tokens": 600}),)),),
    )  # fmt: skip
    table = format_comparison(compare(RECORD, faster))
    assert re.search(r"60\.5 +121 +2\.00  ultravox: prefill arithmetic \(tokens 600\)", table)


def test_records_without_common_values_say_so() -> None:
    assert "no measurement in common" in format_comparison([])
