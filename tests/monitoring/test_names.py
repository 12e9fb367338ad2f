"""Every metric that a rule, an alert or a panel asks for is one that the code makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.engines.llm.metrics import EngineMeters
from appliance.engines.tts.metrics import KokoroMeters
from appliance.errors import EngineGone
from appliance.metrics import GatewayMeters, render
from appliance.settings import Paths, Settings
from appliance.supervision.exporter import MetricsExporter, MetricsReport
from tests.monitoring.shipped import RECORDS, expressions, names

SAMPLES = {
    "counter": ("",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


async def _nobody(path: Path, timeout_seconds: float) -> MetricsReport:
    raise EngineGone(engine=path.stem)


async def _pages(run: Path) -> str:
    """What all processes show at their start; the exporter's alone, since nothing runs here."""
    exporter = MetricsExporter(Settings(paths=Paths(run=run)), _nobody)
    registries = (GatewayMeters("cpu").registry, EngineMeters().registry, KokoroMeters().registry)
    return b"".join([await exporter.page(), *map(render, registries)]).decode()


@pytest.fixture
async def page(tmp_path: Path) -> str:
    return await _pages(tmp_path)


def _samples(page: str) -> set[str]:
    kinds = re.findall(r"^# TYPE (\S+) (\S+)$", page, flags=re.MULTILINE)
    return {name + suffix for name, kind in kinds for suffix in SAMPLES[kind]}


async def test_everything_asked_for_is_made(page: str) -> None:
    known = _samples(page) | set(RECORDS)
    unknown = {name: names(it) - known for name, it in expressions() if names(it) - known}
    assert unknown == {}


async def test_what_is_counted_can_be_seen(page: str) -> None:
    """A new metric is no failure here; many that nobody looks at are."""
    asked = {re.sub(r"_(bucket|sum|count)$", "", n) for _, it in expressions() for n in names(it)}
    made = {re.sub(r"_(bucket|sum|count)$", "", name) for name in _samples(page)}
    unseen = made - asked
    assert len(unseen) <= len(made) / 10, unseen


@pytest.mark.parametrize("label", ["outcome", "reason", "result", "process", "profile", "stage"])
async def test_label_values_that_are_asked_for_exist(page: str, label: str) -> None:
    """At the start every label set stands on the page at zero."""
    made = set(re.findall(rf'{label}="([^"]+)"', page)) | {"gpu"}
    asked = {
        value
        for _, expression in expressions()
        for values in re.findall(rf'\b{label}=~?"([^"$]+)"', expression)
        for value in values.split("|")
    }
    assert asked - made == set()


async def test_a_bound_that_is_asked_for_is_one_of_its_histogram(page: str) -> None:
    for name, expression in expressions():
        for metric, bound in re.findall(r'(voice_\w+_bucket)\{[^}]*le="([^"]+)"', expression):
            assert re.search(rf'^{metric}{{.*le="{re.escape(bound)}"', page, re.MULTILINE), name
