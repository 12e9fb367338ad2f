"""Every promise of docs/security.md is held by a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
STRIDE = set("STRIDE")


def promises() -> list[list[str]]:
    """Return the rows of all tables, as threat, promise and tests."""
    rows = re.findall(r"^\| ([A-Z]) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    return [list(row) for row in rows]


@cache
def names_in(path: str) -> set[str]:
    """Return the names of the functions in a file."""
    parsed = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(parsed) if isinstance(node, functions)}


def test_every_promise_names_tests_that_exist() -> None:
    for _, promise, cell in promises():
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", cell)
        assert named and len(named) == cell.count("::"), promise
        for path, name in named:
            assert name in names_in(path), f"{promise}: {path} has no {name}"


def test_every_row_of_the_page_is_a_promise_with_a_threat() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    rows = [row for row in rows if not row.startswith(("| 4.", "| 5."))]  # tests/units/test_cis.py
    headers = sum(line.startswith(("| threat ", "| CIS ", "|---")) for line in rows)
    assert len(promises()) == len(rows) - headers
    assert {threat for threat, _, _ in promises()} <= STRIDE
