"""Which parts of a log line may leave the site in a support bundle."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from appliance.console.redact import EVENTS, WORDS, redact
from appliance.gateway import metrics
from appliance.supervision.supervisor_client import ProgramChange
from tests.console import log_lines
from tests.test_journal_fields import log_calls

ROOT = Path(__file__).parents[2]
CANARY = "zanzibar"


def redact_all(*texts: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in redact(texts)]


def redact_one(**fields: object) -> dict[str, Any]:
    (kept,) = redact_all(json.dumps(fields))
    return kept


def test_lines_of_the_gateway_stay_unchanged() -> None:
    ours = [text for text in log_lines.TEXTS if text.startswith("{")]
    assert redact_all(*ours) == [json.loads(text) for text in ours]


HIDDEN: dict[str, dict[str, Any]] = {
    "unknown field": {"user_text": CANARY},
    "sentence in a known field": {"state": f"he said {CANARY}"},
    "sentence in a list": {"trace": [f"he said {CANARY}", "a.py:1:f"]},
    "word that is not one of the fixed ones": {"outcome": CANARY},
    "list in place of a fixed word": {"outcome": [CANARY]},
    "word in place of a number": {"tokens": CANARY},
    "message of a library": {"message": f"LLM says {CANARY}"},
    "text of an error": {"what": f"The file {CANARY} is missing.", "reason": "missing_weights"},
    "advice": {"advice": CANARY},
    "nested object": {"state": {"text": CANARY}},
    "another alphabet": {"state": "занзибар-" + CANARY},
}


@pytest.mark.parametrize("case", HIDDEN)
def test_word_of_a_caller_is_removed(case: str) -> None:
    kept = redact_one(event="turn", level="info", turn=1, **HIDDEN[case])
    assert CANARY not in json.dumps(kept, ensure_ascii=False)
    assert (kept["event"], kept["turn"]) == ("turn", 1)


def test_unknown_event_loses_its_name() -> None:
    kept = redact_one(event=f"they said {CANARY}", files=3)
    assert kept == {"event": "unnamed", "files": 3, "dropped_fields": 1}


def test_event_composed_of_two_words_keeps_its_name() -> None:
    kept = redact_one(event="program restarted", program="tts")
    assert kept == {"event": "program restarted", "program": "tts"}


def test_foreign_lines_are_counted_and_left_out() -> None:
    kept = redact_all(f"{CANARY} on stderr", "", "[1]", log_lines.TEXTS[0])
    assert kept[-1] == {"event": "lines left out", "count": 2}


def test_advice_comes_from_the_catalogue() -> None:
    kept = redact_one(event="crashed", reason="wrong_token", advice=CANARY)
    assert "Authorization" in kept["advice"]


def test_empty_values_stay() -> None:
    kept = redact_one(event="turn", waiting_for="", by="")
    assert kept == {"event": "turn", "waiting_for": "", "by": ""}


def test_dropped_fields_are_added_to_those_the_journal_dropped() -> None:
    assert redact_one(event="turn", dropped_fields=2, a=1, b=2)["dropped_fields"] == 4


def test_events_are_those_in_the_sources() -> None:
    kinds = get_args(get_type_hints(ProgramChange)["kind"])
    composed = {f"program {kind.replace('_', ' ')}" for kind in kinds}
    of_the_journal = {"audit", "crashed", "library", "unnamed"}
    assert {*_events_in_sources(), *composed, *of_the_journal} == EVENTS


def _events_in_sources() -> Iterator[str]:
    """The event names in all log calls."""
    for place, call in log_calls():
        path = ROOT / place.partition(":")[0]
        yield from _event_names(call.args[0], ast.parse(path.read_text(encoding="utf-8")))


def _event_names(node: ast.expr, module: ast.Module) -> Iterator[str]:
    """A literal, either branch of a condition, or the values of a dictionary of the module."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from (*_event_names(node.body, module), *_event_names(node.orelse, module))
    elif isinstance(node, ast.Subscript):
        name = ast.unparse(node.value)
        for statement in module.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
                assert isinstance(statement.value, ast.Dict)
                for value in statement.value.values:
                    yield from _event_names(value, module)


def test_fixed_words_are_those_of_the_metrics() -> None:
    assert WORDS["by"] == set(metrics.TURN_ENDS)
    assert WORDS["outcome"] == {*metrics.TURN_OUTCOMES, *metrics.TOOL_OUTCOMES}
    assert WORDS["reason"] >= set(metrics.SESSION_OUTCOMES)
