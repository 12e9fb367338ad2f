"""Rules and alerts: promtool takes them, and each is tried both ways."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.monitoring.programs import promtool
from tests.monitoring.shipped import ALERTS, FOLDER, RECORDS, ROOT, TEST_FILES, cases, minutes


@pytest.mark.parametrize("name", ["rules.yml", "alerts.yml"])
def test_prometheus_takes_the_rules(name: str) -> None:
    assert "SUCCESS" in promtool("check", "rules", FOLDER / name)


@pytest.mark.parametrize("name", ["prometheus.yml", "scrape.yml"])
def test_prometheus_takes_the_configuration(name: str) -> None:
    assert "SUCCESS" in promtool("check", "config", FOLDER / name)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_alerts_fire_and_clear_and_records_have_the_value_they_should(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_case_in_which_it_fires_and_then_clears(name: str) -> None:
    for case in cases():
        checks = [it for it in case.get("alert_rule_test", []) if it["alertname"] == name]
        fires = [minutes(it["eval_time"]) for it in checks if it["exp_alerts"]]
        quiet = [minutes(it["eval_time"]) for it in checks if not it["exp_alerts"]]
        if fires and quiet and min(quiet) < min(fires) and max(quiet) > max(fires):
            return
    raise AssertionError(f"{name} is in no case quiet, firing and quiet again")


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_is_quiet_on_a_normal_day(name: str) -> None:
    checks = [it for it in cases()[_normal_day()]["alert_rule_test"] if it["alertname"] == name]
    assert [it["exp_alerts"] for it in checks] == [[]]


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_has_an_expected_value(name: str) -> None:
    checks = [it for case in cases() for it in case.get("promql_expr_test", [])]
    assert [it for it in checks if it["expr"] == name and it["exp_samples"]]


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_named_level_metric_operation(name: str) -> None:
    assert re.fullmatch(r"instance:voice_[a-z_]+:[a-z_]+\d+[mhd]", name)


def test_records_of_one_kind_differ_in_the_window_that_their_name_says() -> None:
    kinds: dict[str, set[str]] = {}
    for name, expression in RECORDS.items():
        kind, window = re.fullmatch(r"(.*:(?:ratio_rate|increase))(\d+[mhd])", name).groups()  # type: ignore[union-attr]
        assert set(re.findall(r"\[(\w+)\]", expression)) == {window}, name
        kinds.setdefault(kind, set()).add(expression.replace(f"[{window}]", "[]"))
    assert {kind for kind, expressions in kinds.items() if len(expressions) > 1} == set()


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_how_bad_it_is_and_what_it_means(name: str) -> None:
    rule = ALERTS[name]
    assert re.fullmatch(r"([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"


def test_an_alert_that_wakes_somebody_says_which_appliance() -> None:
    silent = [name for name, it in ALERTS.items() if "instance" not in it["annotations"]["summary"]]
    assert silent == []


def test_the_example_scrapes_as_the_job_to_be_pasted_does() -> None:
    example, job = (
        yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["scrape_configs"]
        for name in ("prometheus.yml", "scrape.yml")
    )
    assert example == job


def test_the_job_has_the_name_that_the_alert_asks_for_and_the_port_of_the_exporter() -> None:
    from appliance.settings import ExporterConfig

    [job] = yaml.safe_load((FOLDER / "scrape.yml").read_text(encoding="utf-8"))["scrape_configs"]
    assert f'up{{job="{job["job_name"]}"}}' in ALERTS["ApplianceDown"]["expr"]
    assert job["static_configs"][0]["targets"] == [f"127.0.0.1:{ExporterConfig().port}"]


def test_the_files_name_no_file_that_is_not_there() -> None:
    for path in [*FOLDER.glob("*.yml"), ROOT / "docs" / "slo.md", ROOT / "docs" / "alerts.md"]:
        for named in re.findall(r"docs/[a-z-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / named).exists(), f"{path.name} names {named}"


def _normal_day() -> int:
    """The case that asks of every alert."""
    asked = [{it["alertname"] for it in case.get("alert_rule_test", [])} for case in cases()]
    return asked.index(set(ALERTS))
