"""What may stand in a line: the listed fields, and nothing that a caller said."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.errors import BadFrame
from appliance.journal_fields import (
    CATALOGUE_FIELDS,
    EVENT,
    FIELDS,
    Gate,
    UnlistedFieldError,
    describe,
)
from appliance.metrics import STAGES

CANARY = "zanzibar"
ROOT = Path(__file__).parents[1]


def passed(event: str = "turn ended", strict: bool = False, **fields: object) -> dict[str, object]:
    """What of a line is written."""
    return dict(Gate(messages=False, strict=strict)(None, "info", {"event": event, **fields}))


def raised(failing: Callable[[], object]) -> dict[str, object]:
    """What is told of the exception with which it fails."""
    with pytest.raises(Exception) as caught:
        failing()
    told = describe(caught.value)
    assert CANARY not in str(told)
    return told


def test_a_number_field_takes_no_words_and_a_text_field_no_objects() -> None:
    kept = passed(tokens=CANARY, reason={"a": CANARY}, seconds=float("nan"), files=7)
    assert kept == {"event": "turn ended", "files": 7, "dropped_fields": 3}


def test_the_text_of_an_error_comes_from_the_catalogue_only() -> None:
    assert passed(what=CANARY, advice=CANARY) == {"event": "turn ended", "dropped_fields": 2}
    told = describe(BadFrame(what="audio at 44100 Hz"))
    kept = passed(**told)
    assert kept["reason"] == "bad_frame"
    assert "44100 Hz" in str(kept["what"])
    assert kept["advice"] == BadFrame.advice


@pytest.mark.parametrize("event", [f"The caller said: {CANARY}!", "one, two", "x" * 61, ""])
def test_an_event_that_is_no_fixed_name_is_not_written(event: str) -> None:
    assert passed(event) == {"event": "unnamed", "dropped_fields": 1}


def test_in_tests_what_is_not_listed_is_an_error() -> None:
    with pytest.raises(UnlistedFieldError, match="text"):
        passed(strict=True, text="hello")
    with pytest.raises(UnlistedFieldError):
        passed("Not a name: %s", strict=True)
    assert passed(strict=True, reason=None) == {"event": "turn ended"}


def test_what_the_system_refused_and_which_module_is_missing_are_told() -> None:
    assert raised(lambda: Path(f"/{CANARY}").read_text())["errno"] == "ENOENT"
    assert raised(lambda: __import__("no_such_module"))["module"] == "no_such_module"


def test_an_exception_group_tells_what_is_inside() -> None:
    group = ExceptionGroup(CANARY, [ValueError(CANARY), KeyError(CANARY)])
    told = describe(group)
    assert told["caused_by"] == ["ValueError"]
    assert CANARY not in str(told)


METHODS = {"debug", "info", "warning", "error", "exception", "critical"}


def calls_of_the_journal() -> Iterator[tuple[str, ast.Call]]:
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


def test_every_call_in_the_source_uses_listed_fields_only() -> None:
    by_hand = FIELDS - CATALOGUE_FIELDS  # those come with exc_info
    for place, call in calls_of_the_journal():
        for keyword in call.keywords:
            allowed = keyword.arg in by_hand | {"exc_info", None}
            assert allowed, f"{place}: {keyword.arg} would be dropped; see journal_fields.py"


def test_every_listed_field_is_written_somewhere() -> None:
    written = {keyword.arg for _, call in calls_of_the_journal() for keyword in call.keywords}
    for name in ("journal.py", "journal_fields.py", "gateway/turn_report.py", "gateway/session.py"):
        tree = ast.parse((ROOT / "appliance" / name).read_text())
        written |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        written |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
    written |= {f"{stage}_seconds" for stage in STAGES}
    assert written >= FIELDS


def test_every_event_in_the_source_is_a_fixed_name() -> None:
    found = 0
    for place, call in calls_of_the_journal():
        found += 1
        first = call.args[0]
        parts = [n.value for n in ast.walk(first) if isinstance(n, ast.Constant)]
        assert len(call.args) == 1, place
        assert not isinstance(first, ast.JoinedStr), f"{place}: an event may not be an f-string"
        names = [part for part in parts if isinstance(part, str) and EVENT.fullmatch(part)]
        assert names, f"{place}: it would be written as unnamed"
    assert found > 5
