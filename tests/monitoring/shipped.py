"""The files of ops/monitoring, read; and what stands in an expression."""

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

# What Grafana puts in place of its variables; the test's Prometheus scrapes every other second.
GRAFANA = {"$__rate_interval": "2m", "$__range": "5m", "$window": "15m"}


def _rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


RECORDS = {rule["record"]: str(rule["expr"]) for rule in _rules("rules.yml")}
ALERTS = {rule["alert"]: rule for rule in _rules("alerts.yml")}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana gets it."""
    loaded = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def panels() -> list[dict[str, Any]]:
    """All panels but the rows' headings."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def shown() -> Iterator[tuple[str, str]]:
    """Each expression of the dashboard, with a name for it."""
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} / {target['legendFormat']}", target["expr"]


def expressions() -> Iterator[tuple[str, str]]:
    """Each expression of all files, with a name for it."""
    yield from RECORDS.items()
    yield from ((name, str(rule["expr"])) for name, rule in ALERTS.items())
    yield from shown()


def as_grafana_asks(expression: str, instance: str) -> str:
    """The expression with its variables replaced."""
    for variable, value in (*GRAFANA.items(), ("$instance", instance)):
        expression = expression.replace(variable, value)
    return expression


def names(expression: str) -> set[str]:
    """The metrics and recorded series an expression asks for."""
    code = re.sub(r'"[^"]*"|\[[^]]*\]', "", expression)
    found = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", code)
    return {name for name in found if ":" in name or name.startswith("voice_")}


def cases() -> list[dict[str, Any]]:
    """The cases of the promtool tests."""
    return [
        case for path in TEST_FILES for case in yaml.safe_load(path.read_text("utf-8"))["tests"]
    ]


def minutes(eval_time: str) -> int:
    """The time of a check; these files give all of them in minutes."""
    match = re.fullmatch(r"(\d+)m", eval_time)
    assert match, eval_time
    return int(match[1])
