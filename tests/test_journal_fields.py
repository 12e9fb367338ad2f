"""Log lines contain listed fields only, and exceptions without their values."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import BadFrame
from appliance.journal_fields import (
    CATALOGUE_FIELDS,
    EVENT,
    FIELDS,
    STAGES,
    FieldFilter,
    UnlistedFieldError,
    describe,
)

CANARY = "zanzibar"
ROOT = Path(__file__).parents[1]


def kept(event: str = "turn ended", strict: bool = False, **fields: Any) -> dict[str, object]:
    """Return the fields of a line that are written."""
    return dict(
        FieldFilter(messages=False, strict=strict)(None, "info", {"event": event, **fields})
    )


def described(failing: Callable[[], object]) -> dict[str, object]:
    """Return the fields of the exception that `failing` raises."""
    with pytest.raises(Exception) as caught:
        failing()
    fields = describe(caught.value)
    assert CANARY not in str(fields)
    return fields


def test_values_of_the_wrong_type_are_dropped() -> None:
    line = kept(tokens=CANARY, reason={"a": CANARY}, seconds=float("nan"), files=7)
    assert line == {"event": "turn ended", "files": 7, "dropped_fields": 3}


def test_error_texts_are_kept_for_catalogued_errors_only() -> None:
    assert kept(what=CANARY, advice=CANARY) == {"event": "turn ended", "dropped_fields": 2}
    fields: dict[str, Any] = describe(BadFrame(what="audio at 44100 Hz"))
    line = kept(**fields)
    assert line["reason"] == "bad_frame"
    assert "44100 Hz" in str(line["what"])
    assert line["advice"] == BadFrame.advice


@pytest.mark.parametrize("event", [f"The caller said: {CANARY}!", "one, two", "x" * 61, ""])
def test_event_that_is_not_a_fixed_name_is_replaced(event: str) -> None:
    assert kept(event) == {"event": "unnamed", "dropped_fields": 1}


def test_strict_mode_raises_for_unlisted_fields() -> None:
    with pytest.raises(UnlistedFieldError, match="text"):
        kept(strict=True, text="hello")
    with pytest.raises(UnlistedFieldError):
        kept("Not a name: %s", strict=True)
    assert kept(strict=True, reason=None) == {"event": "turn ended"}


def test_errno_and_missing_module_are_logged() -> None:
    assert described(lambda: Path(f"/{CANARY}").read_text())["errno"] == "ENOENT"
    assert described(lambda: __import__("no_such_module"))["module"] == "no_such_module"


def test_exception_group_is_described_with_its_first_exception() -> None:
    group = ExceptionGroup(CANARY, [ValueError(CANARY), KeyError(CANARY)])
    fields = describe(group)
    assert fields["caused_by"] == ["ValueError"]
    assert CANARY not in str(fields)


METHODS = {"debug", "info", "warning", "error", "exception", "critical"}


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted((ROOT / "appliance").rglob("*.py")):
        source = path.read_text()
        if "journal" not in source or path.name == "journal.py":
            continue
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in METHODS
                and re.search("log|journal", ast.unparse(node.func.value))
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_log_calls_in_the_source_use_listed_fields_only() -> None:
    direct = FIELDS - CATALOGUE_FIELDS  # those come from exc_info
    for place, call in log_calls():
        for keyword in call.keywords:
            allowed = keyword.arg in direct | {"exc_info", None}
            assert allowed, f"{place}: {keyword.arg} would be dropped; see journal_fields.py"


def test_every_listed_field_is_used_in_the_source() -> None:
    written: set[object] = {keyword.arg for _, call in log_calls() for keyword in call.keywords}
    for name in ("journal.py", "journal_fields.py", "gateway/turn_report.py", "gateway/session.py"):
        tree = ast.parse((ROOT / "appliance" / name).read_text())
        written |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        written |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    written |= {f"{stage}_seconds" for stage in STAGES}
    assert written >= FIELDS


def string_constants(node: ast.AST) -> list[str]:
    values = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return [value for value in values if isinstance(value, str)]


def module_strings(path: Path) -> dict[str, list[str]]:
    """Return the strings in the value of each module-level name."""
    strings: dict[str, list[str]] = {}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    strings[target.id] = string_constants(statement.value)
    return strings


def test_every_event_in_the_source_is_a_fixed_name() -> None:
    calls = list(log_calls())
    for place, call in calls:
        first = call.args[0]
        assert len(call.args) == 1, place
        assert not isinstance(first, ast.JoinedStr), f"{place}: an event may not be an f-string"
        names = string_constants(first)
        by_name = module_strings(ROOT / place.partition(":")[0])
        for part in ast.walk(first):
            if isinstance(part, ast.Name):
                names += by_name.get(part.id, [])
        assert any(map(EVENT.fullmatch, names)), f"{place}: it would be written as unnamed"
    assert len(calls) > 5
