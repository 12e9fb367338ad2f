"""The dashboard of a pool: its variables, layout, and the metrics in its expressions."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from tests.monitoring.shipped import (
    POOL_ALERTS,
    POOL_RECORDS,
    RECORDS,
    metric_names,
    panels,
    pool_dashboard,
    proxy_metric_names,
)

PANELS = panels(pool_dashboard())
CORE = {"stat", "timeseries", "state-timeline"}  # no panel that needs a plugin


def _title(panel: dict[str, Any]) -> str:
    return str(panel["title"])


def test_host_and_pool_can_be_selected() -> None:
    board = pool_dashboard()
    assert board["id"] is None  # Grafana assigns one
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert list(variables) == ["datasource", "pool", "host"]
    for name in ("pool", "host"):
        assert variables[name]["includeAll"] and variables[name]["allValue"] == ".*"


def test_panels_have_ids_titles_and_places_of_their_own() -> None:
    shown = pool_dashboard()["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    assert len({panel["title"] for panel in shown}) == len(shown)
    boxes = [panel["gridPos"] for panel in shown]
    for box in boxes:
        assert 0 <= box["x"] <= 24 - box["w"]
    for a, b in itertools.combinations(boxes, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]


@pytest.mark.parametrize("panel", PANELS, ids=_title)
def test_panel_uses_the_variables_and_has_a_unit(panel: dict[str, Any]) -> None:
    assert panel["type"] in CORE and panel["fieldConfig"]["defaults"]["unit"]
    for query in (panel, *panel["targets"]):
        assert query["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        assert target["legendFormat"].strip()
        for selector in re.findall(r"\{([^}]*)\}", target["expr"]):
            assert 'pool=~"$pool"' in selector, target["expr"]


def test_names_of_hosts_filter_what_hosts_report() -> None:
    """A name in hosts.toml is the label `server` of the proxy and `instance` of the host."""
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            if "haproxy_server_status" in expression:
                assert 'server=~"$host"' in expression
            if "voice_sessions_active" in expression:
                assert 'instance=~"$host"' in expression


def test_recorded_series_exist() -> None:
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    recorded = {name for each in expressions for name in metric_names(each) if ":" in name}
    assert recorded <= set(RECORDS)


def test_budget_is_the_objective_of_the_alerts() -> None:
    [panel] = [panel for panel in PANELS if "budget" in panel["title"]]
    assert "/ 0.005" in panel["targets"][0]["expr"]
    assert "* 0.005" in POOL_ALERTS["PoolCallsFailing"]["expr"]
    record = POOL_RECORDS["pool:voice_calls_failed_per_attempt:ratio_rate1h"]
    assert proxy_metric_names(panel["targets"][0]["expr"]) == proxy_metric_names(record)
