"""A real Prometheus with the shipped files scrapes a real appliance during a call."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FAST
from tests.e2e.appliance import QUESTIONS, Appliance
from tests.monitoring.programs import Prometheus, program
from tests.monitoring.shipped import (
    ALERTS,
    RECORDS,
    expressions,
    metric_names,
    panel_expressions,
    substitute_variables,
)

# Panels without data in the cpu profile; a test verifies that each is empty.
VLLM_ONLY = {
    "llm: KV cache / prefix hits",
    "llm: time between tokens / p50",
    "llm: time between tokens / p95",
    "llm: first token, p95 / queue",
}
# Prefix of the metrics of cards; without a card only voice_gpu_up has data.
CARD = "voice_gpu_"
PANELS = dict(panel_expressions())


@dataclass(frozen=True, slots=True)
class Site:
    """A Prometheus, the appliance that it scrapes, and the Unix time of the queries."""

    prometheus: Prometheus
    appliance: Appliance
    at: str

    @property
    def instance(self) -> str:
        return f"127.0.0.1:{self.appliance.metrics_port}"

    def numbers(self, expression: str) -> list[float]:
        return self.prometheus.numbers(substitute_variables(expression, self.instance), self.at)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Data of one call: a long answer is interrupted by a question, which is answered."""
    program("prometheus")  # before the engines load
    folder = tmp_path_factory.mktemp("site")
    appliance = Appliance(folder / "appliance", FAST)
    prometheus = Prometheus(folder / "prometheus", f"127.0.0.1:{appliance.metrics_port}")
    try:
        appliance.launch()
        prometheus.start()
        appliance.wait_ready(180)
        prometheus.wait_for("voice_ready")  # the first scrape sees the counters at zero
        _converse(appliance, folder)
        for metric in ("voice_sessions_total", "voice_tts_audio_seconds_total"):
            prometheus.wait_for(f"increase({metric}[15m])")
        for record in RECORDS:
            prometheus.wait_for(f"count({record})")
        # A scrape in which every process answered; on a busy machine one may be too late.
        at = prometheus.wait_for("min(voice_process_ready) and on () voice_build_info")
        yield Site(prometheus, appliance, at)
    finally:
        prometheus.stop()
        appliance.stop()


def _converse(appliance: Appliance, folder: Path) -> None:
    story = folder / "story.wav"
    text = "Please tell me a long story about a dog."
    subprocess.run(["espeak-ng", "-w", str(story), text], check=True)
    for _ in range(4):  # on a busy machine the interruption may precede the answer's audio
        _say(appliance, story, QUESTIONS[0], flags=("--barge-in", "1.0"))
        if appliance.metric("voice_barge_in_stop_seconds_count"):
            return
    raise AssertionError(f"no answer could be interrupted\n{appliance.tail()}")


def _say(appliance: Appliance, *files: Path, flags: tuple[str, ...] = ()) -> None:
    turns = appliance.say(*files, flags=flags)
    assert turns.exit_code == 0, turns.stderr


def test_prometheus_accepts_the_whole_page(site: Site) -> None:
    [target] = site.prometheus.get("targets")["activeTargets"]
    assert target["labels"] == {"job": "voice-appliance", "instance": site.instance}
    for metric in ("scrape_samples_scraped", "scrape_duration_seconds"):
        print(metric, site.numbers(metric))
    assert site.numbers("scrape_samples_scraped")[0] > 100


def test_every_rule_and_alert_can_be_evaluated(site: Site) -> None:
    groups = site.prometheus.get("rules")["groups"]
    rules: list[dict[str, Any]] = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {*RECORDS, *ALERTS}
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_has_a_value_after_a_call(site: Site, name: str) -> None:
    assert site.numbers(name)


@pytest.mark.parametrize("name", ALERTS)
def test_every_metric_of_an_alert_has_data(site: Site, name: str) -> None:
    """An alert on a metric that does not exist would never fire."""
    for metric in metric_names(ALERTS[name]["expr"]):
        if not metric.startswith(CARD) or metric == "voice_gpu_up" or _card(site):
            assert site.numbers(f"count({metric})"), metric


def test_healthy_appliance_fires_no_alert(site: Site) -> None:
    """On an overloaded machine it may not be healthy; then only alerts about that may fire."""
    firing = site.prometheus.query('ALERTS{alertstate="firing"}', site.at)
    alerts = {series["metric"]["alertname"] for series in firing}
    if not site.numbers("voice_engine_failures_total > 0 or voice_guard_actions_total > 0"):
        assert alerts == set()
    assert alerts <= {"EngineFailing", "GuardActed", "ProcessRestartsOften"}


@pytest.mark.parametrize("name", PANELS)
def test_every_line_of_the_dashboard_has_data(site: Site, name: str) -> None:
    numbers = site.numbers(PANELS[name])
    if name in VLLM_ONLY:
        assert not numbers, f"{name} has data: remove it from VLLM_ONLY"
    elif not _is_of_a_card(name) or _card(site):
        assert numbers, PANELS[name]


def test_few_panels_have_no_data_here(site: Site) -> None:
    assert set(PANELS) >= VLLM_ONLY
    without_card = [name for name in PANELS if _is_of_a_card(name)]
    assert len(VLLM_ONLY) + len(without_card) <= len(list(expressions())) / 8
    if not _card(site):
        assert not any(site.numbers(PANELS[name]) for name in without_card)


def test_stages_add_up_to_the_response_latency(site: Site) -> None:
    [stages] = site.numbers(f"sum({PANELS['Stages of the response latency, mean / {{stage}}']})")
    latency = "voice_turn_response_latency_seconds"
    [mean] = site.numbers(f"rate({latency}_sum[$window]) / rate({latency}_count[$window])")
    assert stages == pytest.approx(mean, rel=0.01)


def test_stopped_appliance_raises_appliance_down(site: Site) -> None:
    """Runs last, since it stops the appliance of all other tests."""
    assert site.appliance.stop() == 0, site.appliance.tail()
    site.prometheus.wait_for('ALERTS{alertname="ApplianceDown", alertstate="pending"}')


def _card(site: Site) -> bool:
    return bool(site.numbers("voice_gpu_up == 1"))


def _is_of_a_card(name: str) -> bool:
    metrics = metric_names(PANELS[name])
    return metrics != {"voice_gpu_up"} and any(metric.startswith(CARD) for metric in metrics)
