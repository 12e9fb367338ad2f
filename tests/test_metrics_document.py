"""docs/metrics.md describes exactly the metrics that exist, and promtool accepts them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance import run_folder
from appliance.engines.llm.metrics import LLMMetrics
from appliance.engines.tts.metrics import TTSMetrics
from appliance.gateway.metrics import GatewayMetrics
from appliance.metrics import render
from appliance.settings import PathsConfig, Settings
from appliance.supervision import exporter
from tests.fakes import NVML_L4, FakeNvml
from tests.monitoring.programs import program

DOCUMENT = Path(__file__).parents[1] / "docs" / "metrics.md"
ROW = re.compile(r"\| `(voice_\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.+?) \|")
LABEL = re.compile(r"`(\w+)`(?:: ([\w, ]+))?")
# Labels whose values depend on the machine. The values of all others are in the document.
MACHINE_LABELS = {"gpu", "name", "uuid", "driver", "version", "profile", "lock_sha256",
                  "code_sha256"}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A metric as documented or as registered."""

    kind: str
    labels: Mapping[str, frozenset[str]]
    meaning: str


@dataclass(frozen=True)
class FakeHealthReport:
    ready: bool
    metrics: bytes


METRICS = {
    "gateway": render(GatewayMetrics("cpu").registry),
    "llm": LLMMetrics().render(),
    "tts": render(TTSMetrics().registry),
}


async def ask(path: Path, timeout_seconds: float) -> FakeHealthReport:
    return FakeHealthReport(True, METRICS[path.stem])


@pytest.fixture
async def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return the exporter's page of an appliance with a GPU."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(NVML_L4))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    run_folder.write_seal(tmp_path, {"lock_sha256": "5f2d", "full": True})
    return await exporter.MetricsExporter(Settings(paths=PathsConfig(run=tmp_path)), ask).page()


def registered(page: bytes) -> Iterator[tuple[str, Entry]]:
    for family in text_string_to_metric_families(page.decode()):
        labels: dict[str, set[str]] = {}
        for sample in family.samples:
            for label in sample.labels.keys() - {"le"}:
                known = () if label in MACHINE_LABELS else (sample.labels[label],)
                labels.setdefault(label, set()).update(known)
        name = family.name + ("_total" if family.type == "counter" else "")
        frozen = {label: frozenset(values) for label, values in labels.items()}
        yield name, Entry(family.type, frozen, family.documentation)


def documented() -> Iterator[tuple[str, Entry, str]]:
    for row in ROW.finditer(DOCUMENT.read_text(encoding="utf-8")):
        name, kind, cell, meaning, bad_values = row.groups()
        labels = {
            label: frozenset(values.split(", ")) if values else frozenset()
            for label, values in LABEL.findall(cell)
        }
        yield name, Entry(kind, labels, meaning), bad_values


def test_documented_metrics_are_the_registered_ones(page: bytes) -> None:
    in_code = dict(registered(page))
    in_document = {name: entry for name, entry, _ in documented()}
    assert in_document.keys() == in_code.keys()
    for name, entry in in_code.items():
        assert in_document[name] == entry, name


def test_each_metric_is_documented_once_with_its_bad_values() -> None:
    names = [name for name, _, _ in documented()]
    assert len(set(names)) == len(names)
    assert all(bad_values.strip() for _, _, bad_values in documented())


def test_metrics_named_in_the_text_exist(page: bytes) -> None:
    in_code = dict(registered(page)).keys()
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(re.findall(r"voice_\w+", text)) <= in_code


def test_promtool_accepts_the_page(page: bytes) -> None:
    command = [program("promtool"), "check", "metrics"]
    linted = subprocess.run(command, input=page, capture_output=True, check=False, timeout=60)
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, b"")
