"""A real Prometheus with the shipped files scrapes the real appliance, to which somebody speaks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.appliance import QUESTIONS, Appliance
from tests.monitoring.programs import Prometheus, program
from tests.monitoring.shipped import ALERTS, RECORDS, as_grafana_asks, expressions, names, shown

# What the cpu profile has no numbers of; each is held to be empty here, so the list cannot rot.
VLLM_ONLY = {
    "llm: key-value cache / prefix found",
    "llm: from one token to the next / p50",
    "llm: from one token to the next / p95",
    "llm: first token, p95 / queue",
}
# Without a card there is but voice_gpu_up. They are as many as there are, so none is named.
CARD = "voice_gpu_"
SHOWN = dict(shown())


@dataclass(frozen=True, slots=True)
class Site:
    """A Prometheus, what it scrapes, and the moment at which it is asked."""

    prometheus: Prometheus
    appliance: Appliance
    at: str

    @property
    def instance(self) -> str:
        return f"127.0.0.1:{self.appliance.metrics_port}"

    def numbers(self, expression: str) -> list[float]:
        return self.prometheus.numbers(as_grafana_asks(expression, self.instance), self.at)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A call's worth of data: a story that is interrupted, by a question that is answered."""
    program("prometheus")  # before the engines load
    folder = tmp_path_factory.mktemp("site")
    appliance = Appliance(folder / "appliance")
    prometheus = Prometheus(folder / "prometheus", f"127.0.0.1:{appliance.metrics_port}")
    try:
        appliance.launch()
        prometheus.start()
        appliance.wait_ready(180)
        prometheus.wait_for("voice_ready")  # counters are seen at zero first
        _converse(appliance, folder)
        for metric in ("voice_sessions_total", "voice_tts_audio_seconds_total"):
            prometheus.wait_for(f"increase({metric}[15m])")
        for record in RECORDS:
            prometheus.wait_for(f"count({record})")
        # A scrape in which everybody answered; on a busy machine one may come too late.
        at = prometheus.wait_for("min(voice_process_ready) and on () voice_build_info")
        yield Site(prometheus, appliance, at)
    finally:
        prometheus.stop()
        appliance.stop()


def _converse(appliance: Appliance, folder: Path) -> None:
    story = folder / "story.wav"
    text = "Please tell me a long story about a dog."
    subprocess.run(["espeak-ng", "-w", str(story), text], check=True)
    for _ in range(4):  # on a busy machine an interruption may come before the answer's sound
        _said(appliance, story, QUESTIONS[0], flags=("--barge-in", "1.0"))
        if appliance.metric("voice_barge_in_stop_seconds_count"):
            return
    raise AssertionError(f"no answer could be interrupted\n{appliance.tail()}")


def _said(appliance: Appliance, *files: Path, flags: tuple[str, ...] = ()) -> None:
    turns = appliance.say(*files, flags=flags)
    assert turns.exit_code == 0, turns.complaints


def test_prometheus_takes_the_whole_page(site: Site) -> None:
    [target] = site.prometheus.ask("targets")["activeTargets"]
    assert target["labels"] == {"job": "voice-appliance", "instance": site.instance}
    for what in ("scrape_samples_scraped", "scrape_duration_seconds"):
        print(what, site.numbers(what))
    assert site.numbers("scrape_samples_scraped")[0] > 100


def test_every_rule_and_alert_can_be_worked_out(site: Site) -> None:
    groups = site.prometheus.ask("rules")["groups"]
    rules: list[dict[str, Any]] = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {*RECORDS, *ALERTS}
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_has_a_value_when_there_were_calls(site: Site, name: str) -> None:
    assert site.numbers(name)


@pytest.mark.parametrize("name", ALERTS)
def test_what_an_alert_asks_for_is_there(site: Site, name: str) -> None:
    """An alert on what is never there would never fire."""
    for metric in names(ALERTS[name]["expr"]):
        if not metric.startswith(CARD) or metric == "voice_gpu_up" or _card(site):
            assert site.numbers(f"count({metric})"), metric


def test_an_appliance_that_is_well_fires_no_alert(site: Site) -> None:
    """On a machine with far too much to do it may not be; then that has to be what is told."""
    firing = site.prometheus.query('ALERTS{alertstate="firing"}', site.at)
    told = {series["metric"]["alertname"] for series in firing}
    if not site.numbers("voice_engine_failures_total > 0 or voice_guard_actions_total > 0"):
        assert told == set()
    assert told <= {"EngineFailing", "GuardActed", "ProcessRestartsOften"}


@pytest.mark.parametrize("name", SHOWN)
def test_every_line_of_the_dashboard_has_numbers(site: Site, name: str) -> None:
    numbers = site.numbers(SHOWN[name])
    if name in VLLM_ONLY:
        assert not numbers, f"{name} has numbers here: take it off the list"
    elif not _is_of_a_card(name) or _card(site):
        assert numbers, SHOWN[name]


def test_what_cannot_be_seen_here_is_little(site: Site) -> None:
    assert set(SHOWN) >= VLLM_ONLY
    without_card = [name for name in SHOWN if _is_of_a_card(name)]
    assert len(VLLM_ONLY) + len(without_card) <= len(list(expressions())) / 8
    if not _card(site):
        assert not any(site.numbers(SHOWN[name]) for name in without_card)


def test_the_headline_is_the_sum_of_its_stages(site: Site) -> None:
    [stages] = site.numbers(f"sum({SHOWN['Its stages, mean / {{stage}}']})")
    latency = "voice_turn_response_latency_seconds"
    [mean] = site.numbers(f"rate({latency}_sum[$window]) / rate({latency}_count[$window])")
    assert stages == pytest.approx(mean, rel=0.01)


def test_an_appliance_that_is_stopped_is_missed(site: Site) -> None:
    """The last one here, since it ends what all the others ask."""
    assert site.appliance.stop() == 0, site.appliance.tail()
    site.prometheus.wait_for('ALERTS{alertname="ApplianceDown", alertstate="pending"}')


def _card(site: Site) -> bool:
    return bool(site.numbers("voice_gpu_up == 1"))


def _is_of_a_card(name: str) -> bool:
    asked = names(SHOWN[name])
    return asked != {"voice_gpu_up"} and any(metric.startswith(CARD) for metric in asked)
