"""Loads the files of ops/monitoring, and finds the metrics in an expression."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ops" / "monitoring"
TEST_FILES = sorted(FOLDER.glob("*.test.yml"))

# Values of Grafana's variables that suit the test's Prometheus, which scrapes every two seconds.
GRAFANA = {"$__rate_interval": "2m", "$__range": "5m", "$window": "15m"}


def _rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


RECORDS = {rule["record"]: str(rule["expr"]) for rule in _rules("rules.yml")}
ALERTS = {rule["alert"]: rule for rule in _rules("alerts.yml")}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    loaded = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def panels() -> list[dict[str, Any]]:
    """All panels except the row headings."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_expressions() -> Iterator[tuple[str, str]]:
    """The expressions of the dashboard, each with the name "TITLE / LEGEND"."""
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} / {target['legendFormat']}", target["expr"]


def expressions() -> Iterator[tuple[str, str]]:
    """The expressions of all files, each with a name."""
    yield from RECORDS.items()
    yield from ((name, str(rule["expr"])) for name, rule in ALERTS.items())
    yield from panel_expressions()


def substitute_variables(expression: str, instance: str) -> str:
    """The expression with Grafana's variables replaced."""
    for variable, value in (*GRAFANA.items(), ("$instance", instance)):
        expression = expression.replace(variable, value)
    return expression


def metric_names(expression: str) -> set[str]:
    """The metrics and recorded series in an expression."""
    code = re.sub(r'"[^"]*"|\[[^]]*\]', "", expression)
    words = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", code)
    return {word for word in words if ":" in word or word.startswith("voice_")}


def cases() -> list[dict[str, Any]]:
    """The cases of the promtool tests."""
    return [
        case for path in TEST_FILES for case in yaml.safe_load(path.read_text("utf-8"))["tests"]
    ]


def minutes(eval_time: str) -> int:
    """The time of a check; these files use minutes throughout."""
    match = re.fullmatch(r"(\d+)m", eval_time)
    assert match, eval_time
    return int(match[1])
