"""The exporter answers whatever state the others are in."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance import run_folder
from appliance.errors import BadRequest, BadSetting, PortTaken
from appliance.gpu.readings import Sight
from appliance.settings import ExporterConfig, PathsConfig, Settings
from appliance.supervision import exporter
from appliance.supervision.exporter import Exporter
from appliance.supervision.metrics import Cards
from tests.fakes import NVML_A10, NVML_L4, FakeNvml
from tests.supervision.dummies import PATIENCE_SECONDS, ROOT, SLEEPER, Appliance, until

OF_TTS = b"# TYPE voice_tts_phrases counter\nvoice_tts_phrases_total 4.0\n"


@dataclass(frozen=True)
class Report:
    ready: bool
    metrics: bytes


async def only_tts(path: Path, timeout_seconds: float) -> Report:
    """The gateway hangs, tts answers, llm says nonsense."""
    if path.name == "gateway.sock":
        await asyncio.Event().wait()
    if path.name == "tts.sock":
        return Report(True, OF_TTS)
    raise BadRequest(engine="llm", what="nonsense")


def sample(page: bytes, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(page.decode()):
        for found in family.samples:
            if found.name == name and found.labels == labels:
                return found.value
    return None


def settings_in(run: Path, timeout_seconds: float = 0.3) -> Settings:
    exporter = ExporterConfig(timeout_seconds=timeout_seconds)
    return Settings(paths=PathsConfig(run=run), exporter=exporter)


async def test_it_answers_while_the_gateway_hangs_and_an_engine_says_nonsense(
    tmp_path: Path,
) -> None:
    page = await Exporter(settings_in(tmp_path), only_tts).page()
    assert sample(page, "voice_tts_phrases_total") == 4
    errors = {
        source: sample(page, "voice_exporter_scrape_errors_total", source=source)
        for source in ("gateway", "llm", "tts", "supervisord", "nvml")
    }
    assert errors == {"gateway": 1, "llm": 1, "tts": 0, "supervisord": 1, "nvml": 0}
    assert sample(page, "voice_process_ready", process="tts") == 1
    assert sample(page, "voice_process_ready", process="gateway") == 0


async def test_a_part_that_prometheus_would_refuse_is_left_out_and_counted(tmp_path: Path) -> None:
    async def ask(path: Path, timeout_seconds: float) -> Report:
        return Report(True, OF_TTS if path.name != "gateway.sock" else b"voice_ready yes\n")

    page = await Exporter(settings_in(tmp_path), ask).page()
    assert sample(page, "voice_tts_phrases_total") == 4
    for source in ("gateway", "tts"):  # broken; and a family which llm has just shown
        assert sample(page, "voice_exporter_scrape_errors_total", source=source) == 1
    assert sample(page, "voice_exporter_scrape_errors_total", source="llm") == 0


async def test_restarts_and_processes_come_from_supervision(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path, {"tts": SLEEPER})
    try:
        first = appliance.running("tts")
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: run_folder.read_restarts(appliance.run).get("tts") == 1)
        appliance.running("tts")
        page = await Exporter(settings_in(appliance.run, 10.0), only_tts).page()
    finally:
        appliance.stop()
    assert sample(page, "voice_process_restarts_total", process="tts") == 1
    assert sample(page, "voice_process_up", process="tts") == 1
    assert sample(page, "voice_process_up", process="gateway") == 0
    memory = sample(page, "voice_process_resident_memory_bytes", process="tts")
    assert memory is not None and memory > 1_000_000
    assert sample(page, "voice_exporter_scrape_errors_total", source="supervisord") == 0


async def test_a_card_is_on_the_page_until_it_falls_off_the_bus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = FakeNvml(NVML_L4)
    monkeypatch.setitem(sys.modules, "pynvml", machine)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    metrics = Exporter(settings_in(tmp_path), only_tts)
    page = await metrics.page()
    assert sample(page, "voice_gpu_up") == 1
    assert sample(page, "voice_gpu_temperature_celsius", gpu="0") == 55
    machine.change(replace(NVML_L4, lost=True), NVML_A10)
    page = await metrics.page()
    assert sample(page, "voice_gpu_up") == 0
    assert sample(page, "voice_gpu_temperature_celsius", gpu="0") is None
    assert sample(page, "voice_gpu_temperature_celsius", gpu="1") == 55
    assert sample(page, "voice_tts_phrases_total") == 4


async def test_a_driver_that_hangs_is_one_source_that_is_silent(tmp_path: Path) -> None:
    let_go = threading.Event()

    def hang() -> Sight:
        let_go.wait(PATIENCE_SECONDS)
        return Sight()

    metrics = Exporter(settings_in(tmp_path), only_tts, Cards(hang))
    for _ in range(2):
        page = await metrics.page()
    assert sample(page, "voice_gpu_up") == 0
    assert sample(page, "voice_exporter_scrape_errors_total", source="nvml") == 2
    assert sample(page, "voice_tts_phrases_total") == 4
    let_go.set()
    assert sample(await metrics.page(), "voice_process_ready", process="exporter") == 1


def test_the_process_serves_its_pages_while_the_gateway_socket_hangs(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "VOICE_PATHS_RUN": str(tmp_path),
        "VOICE_EXPORTER_PORT": str(port),
        "VOICE_EXPORTER_TIMEOUT_SECONDS": "0.3",
    }
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "gateway.sock"))
        silent.listen()
        process = subprocess.Popen([sys.executable, "-m", "appliance", "exporter"], env=environ)
        try:
            assert until(lambda: get(port, "/healthz")) == b"ok\n"
            page = get(port, "/metrics")
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
    assert sample(page, "voice_exporter_scrape_errors_total", source="gateway") == 1
    assert sample(page, "voice_process_ready", process="exporter") == 1


def get(port: int, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            content: bytes = answer.read()
            return content
    except (ConnectionError, urllib.error.URLError):
        return b""


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        given = replace(Settings(), exporter=ExporterConfig(port=port))
        with pytest.raises(PortTaken, match=str(port)):
            exporter.serve(given)


def test_an_address_this_machine_does_not_have_is_a_bad_setting() -> None:
    given = replace(Settings(), exporter=ExporterConfig(host="192.0.2.1"))
    with pytest.raises(BadSetting, match=r"exporter\.host"):
        exporter.serve(given)
