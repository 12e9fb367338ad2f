"""docs/metrics.md says of each metric what it is, and of no other; the page passes promtool."""

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
from appliance.engines.llm.metrics import EngineMeters
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
# Their values are of the machine; those of all others are fixed words and stand in the document.
OPEN = {"gpu", "name", "uuid", "driver", "version", "profile", "lock_sha256"}


@dataclass(frozen=True)
class Entry:
    """A metric as it is documented, or registered."""

    kind: str
    labels: Mapping[str, frozenset[str]]
    meaning: str


@dataclass(frozen=True)
class Report:
    ready: bool
    metrics: bytes


PARTS = {
    "gateway": render(GatewayMetrics("cpu").registry),
    "llm": EngineMeters().render(),
    "tts": render(TTSMetrics().registry),
}


async def ask(path: Path, timeout_seconds: float) -> Report:
    return Report(True, PARTS[path.stem])


@pytest.fixture
async def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Everything an appliance with a card has to tell."""
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(NVML_L4))  # type: ignore[arg-type]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    run_folder.write_seal(tmp_path, {"looked_at": "5f2d", "full": True})
    return await exporter.MetricsExporter(Settings(paths=PathsConfig(run=tmp_path)), ask).page()


def registered(page: bytes) -> Iterator[tuple[str, Entry]]:
    for family in text_string_to_metric_families(page.decode()):
        labels: dict[str, set[str]] = {}
        for sample in family.samples:
            for label in sample.labels.keys() - {"le"}:
                known = () if label in OPEN else (sample.labels[label],)
                labels.setdefault(label, set()).update(known)
        name = family.name + ("_total" if family.type == "counter" else "")
        frozen = {label: frozenset(values) for label, values in labels.items()}
        yield name, Entry(family.type, frozen, family.documentation)


def documented() -> Iterator[tuple[str, Entry, str]]:
    for row in ROW.finditer(DOCUMENT.read_text(encoding="utf-8")):
        name, kind, cell, meaning, wrong = row.groups()
        labels = {
            label: frozenset(values.split(", ")) if values else frozenset()
            for label, values in LABEL.findall(cell)
        }
        yield name, Entry(kind, labels, meaning), wrong


def test_each_metric_is_documented_as_it_is_registered_and_no_other_is(page: bytes) -> None:
    in_code = dict(registered(page))
    in_document = {name: entry for name, entry, _ in documented()}
    assert in_document.keys() == in_code.keys()
    for name, entry in in_code.items():
        assert in_document[name] == entry, name


def test_each_metric_is_documented_once_and_with_what_a_wrong_value_means() -> None:
    names = [name for name, _, _ in documented()]
    assert len(set(names)) == len(names)
    assert all(wrong.strip() for _, _, wrong in documented())


def test_what_the_document_names_elsewhere_is_there_too(page: bytes) -> None:
    in_code = dict(registered(page)).keys()
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(re.findall(r"voice_\w+", text)) <= in_code


def test_prometheus_own_linter_finds_nothing(page: bytes) -> None:
    command = [program("promtool"), "check", "metrics"]
    linted = subprocess.run(command, input=page, capture_output=True, check=False, timeout=60)
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, b"")
