"""Every metric in a rule, an alert or a panel is exposed by the code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.tts.metrics import TTSMetrics
from appliance.errors import EngineGone
from appliance.gateway.metrics import GatewayMetrics
from appliance.metrics import render
from appliance.settings import load
from appliance.supervision.exporter import MetricsExporter, MetricsReport
from tests.monitoring.shipped import RECORDS, expressions, metric_names

SAMPLES = {
    "counter": ("",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


async def _no_answer(path: Path, timeout_seconds: float) -> MetricsReport:
    raise EngineGone(engine=path.stem)


async def _pages(run: Path) -> str:
    """The pages of all processes at their start, made without running any of them."""
    exporter = MetricsExporter(load({"VOICE_PATHS_RUN": str(run)}), _no_answer)
    registries = (GatewayMetrics("cpu").registry, LLMMetrics().registry, TTSMetrics().registry)
    return b"".join([await exporter.page(), *map(render, registries)]).decode()


@pytest.fixture
async def page(tmp_path: Path) -> str:
    return await _pages(tmp_path)


def _samples(page: str) -> set[str]:
    kinds = re.findall(r"^# TYPE (\S+) (\S+)$", page, flags=re.MULTILINE)
    return {name + suffix for name, kind in kinds for suffix in SAMPLES[kind]}


def _families(samples: Iterable[str]) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in samples}


async def test_every_metric_in_an_expression_is_exposed(page: str) -> None:
    known = _samples(page) | set(RECORDS)
    for name, expression in expressions():
        assert metric_names(expression) <= known, name


async def test_most_metrics_are_used_in_an_expression(page: str) -> None:
    """A new metric may be unused; a tenth of all may not."""
    used = _families(name for _, expression in expressions() for name in metric_names(expression))
    exposed = _families(_samples(page))
    unused = exposed - used
    assert len(unused) <= len(exposed) / 10, unused


@pytest.mark.parametrize("label", ["outcome", "reason", "result", "process", "profile", "stage"])
async def test_label_values_in_expressions_exist(page: str, label: str) -> None:
    """Every label set is exposed at zero from the start."""
    exposed = set(re.findall(rf'{label}="([^"]+)"', page)) | {"gpu"}
    used = {
        value
        for _, expression in expressions()
        for values in re.findall(rf'\b{label}=~?"([^"$]+)"', expression)
        for value in values.split("|")
    }
    assert used <= exposed


async def test_bucket_bounds_in_expressions_exist(page: str) -> None:
    for name, expression in expressions():
        for metric, bound in re.findall(r'(voice_\w+_bucket)\{[^}]*le="([^"]+)"', expression):
            assert re.search(rf'^{metric}{{.*le="{re.escape(bound)}"', page, re.MULTILINE), name
