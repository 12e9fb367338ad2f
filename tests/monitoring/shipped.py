"""Loads the files of ops/monitoring, and finds the metrics in an expression."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
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
POOL_RECORDS = {rule["record"]: str(rule["expr"]) for rule in _rules("pool-rules.yml")}
POOL_ALERTS = {rule["alert"]: rule for rule in _rules("pool-alerts.yml")}


def dashboard(name: str = "dashboard.json") -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    loaded = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def pool_dashboard() -> dict[str, Any]:
    """The dashboard of a pool."""
    return dashboard("pool-dashboard.json")


def panels(board: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """All panels except the row headings."""
    shown = (board or dashboard())["panels"]
    return [panel for panel in shown if panel["type"] != "row"]


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
    """The metrics of appliances and the recorded series of their rules in an expression."""
    names = {word for word in _words(expression) if ":" in word or word.startswith("voice_")}
    return names - set(POOL_RECORDS)


def proxy_metric_names(expression: str) -> set[str]:
    """The metrics of HAProxy in an expression."""
    return {word for word in _words(expression) if word.startswith("haproxy_")}


def _words(expression: str) -> list[str]:
    code = re.sub(r'"[^"]*"|\[[^]]*\]', "", expression)
    return re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", code)


@cache
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
