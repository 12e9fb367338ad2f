"""The exporter serves its page in every state of the other processes."""

from __future__ import annotations

import asyncio
import contextlib
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
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request

from appliance import run_folder
from appliance.errors import BadRequest, BadSetting, PortTaken
from appliance.gpu.readings import GpuReader, GpuReadings
from appliance.settings import Settings, load
from appliance.supervision import exporter
from appliance.supervision.exporter import MetricsExporter, merge_pages
from appliance.web.server import WAITING_PLACES
from tests.fakes import NVML_A10, NVML_L4, FakeNvml
from tests.supervision.dummies import ROOT, SLEEPER, TIMEOUT_SECONDS, DummyAppliance, wait_until

TTS_PAGE = b"# TYPE voice_tts_phrases counter\nvoice_tts_phrases_total 4.0\n"


@dataclass(frozen=True)
class Report:
    ready: bool
    metrics: bytes


async def only_tts(path: Path, timeout_seconds: float) -> Report:
    """Stand in for the health check: tts replies, the gateway hangs, llm sends nonsense."""
    if path.name == "gateway.sock":
        await asyncio.Event().wait()
    if path.name == "tts.sock":
        return Report(True, TTS_PAGE)
    raise BadRequest(engine="llm", what="nonsense")


def sample(page: bytes, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(page.decode()):
        for item in family.samples:
            if item.name == name and item.labels == labels:
                return item.value
    return None


def scrape_errors(page: bytes, source: str) -> float | None:
    return sample(page, "voice_exporter_scrape_errors_total", source=source)


def settings_in(run: Path, timeout_seconds: float = 0.3) -> Settings:
    return load(
        {"VOICE_PATHS_RUN": str(run), "VOICE_EXPORTER_TIMEOUT_SECONDS": str(timeout_seconds)}
    )


async def test_page_is_served_while_the_gateway_hangs_and_an_engine_fails(tmp_path: Path) -> None:
    page = await MetricsExporter(settings_in(tmp_path), only_tts).page()
    assert sample(page, "voice_tts_phrases_total") == 4
    sources = ("gateway", "llm", "tts", "supervisord", "nvml")
    assert {source: scrape_errors(page, source) for source in sources} == {
        "gateway": 1,
        "llm": 1,
        "tts": 0,
        "supervisord": 1,
        "nvml": 0,
    }
    assert sample(page, "voice_process_ready", process="tts") == 1
    assert sample(page, "voice_process_ready", process="gateway") == 0


async def test_page_that_prometheus_would_reject_is_omitted_and_counted(tmp_path: Path) -> None:
    async def ask(path: Path, timeout_seconds: float) -> Report:
        return Report(True, TTS_PAGE if path.name != "gateway.sock" else b"voice_ready yes\n")

    page = await MetricsExporter(settings_in(tmp_path), ask).page()
    assert sample(page, "voice_tts_phrases_total") == 4
    assert scrape_errors(page, "gateway") == 1  # broken
    assert scrape_errors(page, "tts") == 1  # the same family as llm's
    assert scrape_errors(page, "llm") == 0


async def test_restarts_and_process_metrics_come_from_supervision(tmp_path: Path) -> None:
    appliance = DummyAppliance(tmp_path, {"tts": SLEEPER})
    try:
        first = appliance.wait_running("tts")
        os.kill(first.pid, signal.SIGKILL)
        wait_until(lambda: run_folder.read_restarts(appliance.run).get("tts") == 1)
        appliance.wait_running("tts")
        page = await MetricsExporter(settings_in(appliance.run, 10.0), only_tts).page()
    finally:
        appliance.stop()
    assert sample(page, "voice_process_restarts_total", process="tts") == 1
    assert sample(page, "voice_process_up", process="tts") == 1
    assert sample(page, "voice_process_up", process="gateway") == 0
    memory = sample(page, "voice_process_resident_memory_bytes", process="tts")
    assert memory is not None and memory > 1_000_000
    assert scrape_errors(page, "supervisord") == 0


async def test_gpu_is_exposed_until_it_falls_off_the_bus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = FakeNvml(NVML_L4)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    metrics = MetricsExporter(settings_in(tmp_path), only_tts)
    page = await metrics.page()
    assert sample(page, "voice_gpu_up") == 1
    assert sample(page, "voice_gpu_temperature_celsius", gpu="0") == 55
    nvml.change(replace(NVML_L4, lost=True), NVML_A10)
    page = await metrics.page()
    assert sample(page, "voice_gpu_up") == 0
    assert sample(page, "voice_gpu_temperature_celsius", gpu="0") is None
    assert sample(page, "voice_gpu_temperature_celsius", gpu="1") == 55
    assert sample(page, "voice_tts_phrases_total") == 4


async def test_hanging_driver_is_a_scrape_error_and_delays_no_other_source(tmp_path: Path) -> None:
    release = threading.Event()

    def hang() -> GpuReadings:
        release.wait(TIMEOUT_SECONDS)
        return GpuReadings()

    metrics = MetricsExporter(settings_in(tmp_path), only_tts, GpuReader(hang))
    for _ in range(2):
        page = await metrics.page()
    assert sample(page, "voice_gpu_up") == 0
    assert scrape_errors(page, "nvml") == 2
    assert sample(page, "voice_tts_phrases_total") == 4
    release.set()
    assert sample(await metrics.page(), "voice_process_ready", process="exporter") == 1


def test_exporter_process_serves_its_pages_while_the_gateway_socket_hangs(tmp_path: Path) -> None:
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
    with socket.socket(socket.AF_UNIX) as unresponsive:
        (tmp_path / "gateway").mkdir()
        unresponsive.bind(str(tmp_path / "gateway/gateway.sock"))
        unresponsive.listen()
        with contextlib.ExitStack() as silent:
            process = subprocess.Popen([sys.executable, "-m", "appliance", "exporter"], env=environ)
            try:
                assert wait_until(lambda: get(port, "/healthz")) == b"ok\n"
                for _ in range(WAITING_PLACES + 50):
                    silent.enter_context(socket.create_connection(("127.0.0.1", port)))
                page = get(port, "/metrics")
                assert is_cut_off(port, b"GET /metrics HTTP/1.1\r\nX: ")
                assert get(port, "/healthz") == b"ok\n"
            finally:
                process.terminate()
                process.wait(TIMEOUT_SECONDS)
    assert scrape_errors(page, "gateway") == 1
    assert sample(page, "voice_process_ready", process="exporter") == 1


def is_cut_off(port: int, head: bytes) -> bool:
    """Send a head that never ends. Return whether the connection was closed."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head)
        try:
            for _ in range(64):  # more than the kernel keeps for a reader that does not read
                connection.sendall(b"a" * (1 << 20))
        except ConnectionError:
            return True
    return False


async def test_scrapes_at_the_same_time_cost_one_page(tmp_path: Path) -> None:
    asked = 0
    release = asyncio.Event()

    async def ask(path: Path, timeout_seconds: float) -> Report:
        nonlocal asked
        asked += path.name == "tts.sock"
        await release.wait()
        return Report(True, TTS_PAGE if path.name == "tts.sock" else b"")

    metrics = MetricsExporter(settings_in(tmp_path, 60.0), ask)
    request = Request({"type": "http", "method": "GET", "path": "/metrics", "headers": []})
    scrapes = [asyncio.create_task(metrics._serve_metrics(request)) for _ in range(20)]
    while not asked:
        await asyncio.sleep(0)
    release.set()
    pages = {bytes((await scrape).body) for scrape in scrapes}
    assert (len(pages), asked) == (1, 1)
    await metrics._serve_metrics(request)
    assert asked == 2


def get(port: int, path: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
            content: bytes = response.read()
            return content
    except (ConnectionError, urllib.error.URLError):
        return b""


def test_error_names_the_port_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            exporter.serve(load({"VOICE_EXPORTER_PORT": str(port)}))


def test_address_of_another_machine_is_a_bad_setting() -> None:
    with pytest.raises(BadSetting, match=r"exporter\.host"):
        exporter.serve(load({"VOICE_EXPORTER_HOST": "192.0.2.1"}))


# Merging pages.

UP = b"# HELP up Up.\n# TYPE up gauge\nup 1.0\n"
DOWN = b"# HELP down Down.\n# TYPE down counter\ndown_total 2.0\n"


def test_pages_are_concatenated_unchanged() -> None:
    assert merge_pages({"a": UP, "b": DOWN}) == (UP + DOWN, {})


def test_missing_final_newline_is_added() -> None:
    page, left_out = merge_pages({"a": UP.rstrip(), "b": DOWN})
    assert (page, left_out) == (UP + DOWN, {})


def test_process_without_metrics_is_not_an_error() -> None:
    assert merge_pages({"a": b"", "b": UP}) == (UP, {})


def test_page_that_repeats_a_family_of_an_earlier_page_is_omitted() -> None:
    assert merge_pages({"a": UP, "b": DOWN + UP}) == (UP, {"b": "collides"})


@pytest.mark.parametrize("broken", [b"up one\n", b'up{a="b} 1\n', b"\xff\xfe\n", b"{} 1 2 3 4\n"])
def test_broken_page_is_omitted_and_the_others_are_kept(broken: bytes) -> None:
    assert merge_pages({"a": broken, "b": DOWN}) == (DOWN, {"a": "broken"})


@given(st.binary(max_size=80))
def test_arbitrary_bytes_in_one_page_never_break_another_page(page: bytes) -> None:
    merged, _ = merge_pages({"good": DOWN, "any": page})
    assert merged.startswith(DOWN)
