"""Rules and alerts are valid, and each alert is tested firing and quiet."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pytest
import yaml

from appliance.settings import Settings, load
from tests.monitoring.programs import promtool
from tests.monitoring.shipped import (
    ALERTS,
    FOLDER,
    POOL_ALERTS,
    POOL_RECORDS,
    RECORDS,
    ROOT,
    TEST_FILES,
    cases,
    minutes,
)

RULE_FILES = ["rules.yml", "alerts.yml", "pool-rules.yml", "pool-alerts.yml"]
ALL_ALERTS, ALL_RECORDS = ALERTS | POOL_ALERTS, RECORDS | POOL_RECORDS


@pytest.mark.parametrize("name", RULE_FILES)
def test_promtool_accepts_the_rules(name: str) -> None:
    assert "SUCCESS" in promtool("check", "rules", FOLDER / name)


@pytest.mark.parametrize("name", ["prometheus.yml", "scrape.yml", "pool-scrape.yml"])
def test_promtool_accepts_the_configuration(name: str) -> None:
    assert "SUCCESS" in promtool("check", "config", FOLDER / name)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_promtool_cases_pass(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


@pytest.mark.parametrize("name", ALL_ALERTS)
def test_every_alert_is_quiet_then_fires_then_clears_in_one_case(name: str) -> None:
    for case in cases():
        checks = [check for check in case.get("alert_rule_test", []) if check["alertname"] == name]
        fires = [minutes(check["eval_time"]) for check in checks if check["exp_alerts"]]
        quiet = [minutes(check["eval_time"]) for check in checks if not check["exp_alerts"]]
        if fires and quiet and min(quiet) < min(fires) and max(quiet) > max(fires):
            return
    raise AssertionError(f"no case has {name} quiet, firing and quiet again")


@pytest.mark.parametrize("name", ALL_ALERTS)
def test_every_alert_is_quiet_on_a_normal_day(name: str) -> None:
    checks = cases()[_normal_day(POOL_ALERTS if name in POOL_ALERTS else ALERTS)]["alert_rule_test"]
    assert [check["exp_alerts"] for check in checks if check["alertname"] == name] == [[]]


@pytest.mark.parametrize("name", ALL_RECORDS)
def test_every_record_has_an_expected_value(name: str) -> None:
    checks = [check for case in cases() for check in case.get("promql_expr_test", [])]
    named = (name, f"round({name})")
    assert [check for check in checks if check["expr"] in named and check["exp_samples"]]


@pytest.mark.parametrize("name", ALL_RECORDS)
def test_record_name_is_level_metric_operation(name: str) -> None:
    level = "pool" if name in POOL_RECORDS else "instance"
    assert re.fullmatch(rf"{level}:voice_[a-z_]+:[a-z_]+\d+[mhd]", name)


def test_records_of_one_kind_differ_only_in_the_window_in_their_name() -> None:
    kinds: dict[str, set[str]] = {}
    for name, expression in ALL_RECORDS.items():
        kind, window = re.fullmatch(r"(.*:(?:ratio_rate|increase))(\d+[mhd])", name).groups()  # type: ignore[union-attr]
        assert set(re.findall(r"\[(\w+)\]", expression)) == {window}, name
        kinds.setdefault(kind, set()).add(expression.replace(f"[{window}]", "[]"))
    assert {kind for kind, expressions in kinds.items() if len(expressions) > 1} == set()


@pytest.mark.parametrize("name", ALL_ALERTS)
def test_every_alert_has_severity_summary_description_and_runbook(name: str) -> None:
    rule = ALL_ALERTS[name]
    assert re.fullmatch(r"([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"


def test_every_summary_names_the_appliance() -> None:
    for name, rule in ALERTS.items():
        assert "$labels.instance" in rule["annotations"]["summary"], name


def test_example_configuration_contains_the_scrape_job() -> None:
    example, job = (
        yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["scrape_configs"]
        for name in ("prometheus.yml", "scrape.yml")
    )
    assert example == job


@pytest.mark.parametrize(
    "job", ["voice-appliance", "monitoring/voice-appliance", "voice-appliance-gpu"]
)
def test_alert_takes_the_jobs_of_every_installation(job: str) -> None:
    [pattern] = set(re.findall(r'up\{job=~"([^"]+)"\}', ALERTS["ApplianceDown"]["expr"]))
    assert re.fullmatch(pattern, job)


def test_no_rule_requires_one_name_of_a_job() -> None:
    for name, rule in ALL_ALERTS.items():
        assert 'job="' not in rule["expr"], name


def test_hosts_of_a_pool_have_names_and_its_jobs_those_of_the_alerts() -> None:
    text = (FOLDER / "pool-scrape.yml").read_text(encoding="utf-8")
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    alerts = {
        "voice-pool": POOL_ALERTS["PoolProxyDown"],
        "voice-appliance": ALERTS["ApplianceDown"],
    }
    for job, rule in alerts.items():
        [pattern] = set(re.findall(r'up\{job=~"([^"]+)"\}', rule["expr"]))
        assert re.fullmatch(pattern, job) and job in jobs
    assert [target["labels"]["instance"] for target in jobs["voice-appliance"]["static_configs"]]


def test_gpu_start_may_take_as_long_as_the_guard_waits() -> None:
    [seconds] = re.findall(r'process="exporter"\} < (\d+)', ALERTS["ApplianceNotReady"]["expr"])
    gpu = load({"VOICE_PROFILE": "gpu"}).supervision
    assert int(seconds) == gpu.load_seconds


def test_scrape_job_has_the_exporters_port() -> None:
    [job] = yaml.safe_load((FOLDER / "scrape.yml").read_text(encoding="utf-8"))["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"127.0.0.1:{Settings().exporter.port}"]


def test_named_documents_exist() -> None:
    for path in [*FOLDER.glob("*.yml"), ROOT / "docs" / "slo.md", ROOT / "docs" / "alerts.md"]:
        for named in re.findall(r"docs/[a-z-]+\.md", path.read_text(encoding="utf-8")):
            assert (ROOT / named).exists(), f"{path.name} names {named}"


def _normal_day(alerts: Collection[str]) -> int:
    """The index of the case that checks each of these alerts."""
    checked = [
        {check["alertname"] for check in case.get("alert_rule_test", [])} for case in cases()
    ]
    return checked.index(set(alerts))
