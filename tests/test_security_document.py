"""Every promise of docs/security.md is held by a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from appliance.access import signed, token
from appliance.link import client
from appliance.settings import GatewayConfig
from appliance.web import limits, server

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
STRIDE = set("STRIDE")
SCRYPT = token.SecretHash(b"", b"")


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


@pytest.mark.parametrize(
    ("sentence", "numbers"),
    [
        ("at most (16) KiB in (64) lines", (limits.MAX_HEAD_BYTES >> 10, limits.MAX_HEAD_LINES)),
        ("has to come within (10) seconds", (server.HEAD_SECONDS,)),
        ("A request has (10) seconds for its answer", (server.ANSWER_SECONDS,)),
        ("of its body at most (64) KiB are received", (server.MAX_BODY_BYTES >> 10,)),
        ("admits one call, within (30) seconds", (signed.TICKET_SECONDS,)),
        (
            r"hashed with scrypt \(n = 2\^(14), r = (8), p = (1)\)",
            (SCRYPT.log2_n, SCRYPT.r, SCRYPT.p),
        ),
        ("tokens of (256) random bits", (8 * token.SECRET_BYTES,)),
        ("that has been silent for (45) s", (GatewayConfig().yield_seconds,)),
        ("yields after (45) s of silence", (GatewayConfig().yield_seconds,)),
        ("does not answer within (5) seconds", (client.OPEN_SECONDS,)),
        ("clocks of the hosts agree to (5) seconds", (signed.CLOCK_DIFFERENCE_SECONDS,)),
    ],
)
def test_numbers_of_the_page_are_those_of_the_code(
    sentence: str, numbers: tuple[float, ...]
) -> None:
    """The tests of the promises shorten the times, so they do not notice longer ones."""
    found = re.search(sentence.replace(" ", r"\s+"), PAGE)
    assert found, "the page does not say that"
    assert tuple(map(float, found.groups())) == numbers


def test_every_row_of_the_page_is_a_promise_with_a_threat() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    rows = [row for row in rows if not row.startswith(("| 4.", "| 5."))]  # tests/units/test_cis.py
    headers = sum(line.startswith(("| threat ", "| CIS ", "|---")) for line in rows)
    assert len(promises()) == len(rows) - headers
    assert {threat for threat, _, _ in promises()} <= STRIDE
