"""`python -m appliance.gpu`."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.gpu import page
from appliance.gpu.__main__ import main


def test_it_prints_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    for table in page.TABLES.values():
        assert table() in printed


def test_it_writes_between_the_marks_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    mark = "<!-- kv: made by python -m appliance.gpu -->"
    path.write_text(f"before\n{mark}\nold\n<!-- end -->\nafter\n")
    assert main([str(path)]) == 0
    assert path.read_text() == f"before\n{mark}\n{page.TABLES['kv']()}\n<!-- end -->\nafter\n"
