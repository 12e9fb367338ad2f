"""The hardware guide shows what was measured beside what the plan assumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.gpu_proof.hardware import MARK, main, measured_table, update
from appliance.gpu_proof.record_file import read, write
from tests.gpu_proof.test_page import RECORD

ROOT = Path(__file__).parents[2]


def test_guide_shows_the_records_in_the_repository() -> None:
    page = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
    records = [read(path) for path in sorted((ROOT / "docs" / "gpu-proofs").glob("*.json"))]
    command = "python -m appliance.gpu_proof.hardware docs/hardware.md docs/gpu-proofs"
    assert update(page, records) == page, f"run: {command}"


def test_constant_stands_beside_its_assumption() -> None:
    table = measured_table([RECORD])
    row = "| NVIDIA L4 (22.1 GiB) | prefill utilisation | 0.50 (60 of 121 TFLOP/s in bf16) | 0.5 |"
    assert row in table


def test_without_a_record_the_guide_says_so() -> None:
    page = update(f"before\n{MARK}\nold\n<!-- end -->\nafter\n", [])
    assert page == f"before\n{MARK}\nNo GPU has been measured yet.\n<!-- end -->\nafter\n"


def test_page_without_the_mark_is_refused() -> None:
    with pytest.raises(ValueError, match="measured: generated"):
        update("no table here", [])


def test_rehearsal_does_not_get_into_the_guide(tmp_path: Path) -> None:
    page = tmp_path / "hardware.md"
    page.write_text(f"{MARK}\n<!-- end -->\n")
    (tmp_path / "records").mkdir()
    write(tmp_path / "records" / "cpu.json", RECORD)
    with pytest.raises(ValueError, match="not measured on a GPU"):
        main([str(page), str(tmp_path / "records")])
