"""Serves /metrics of the whole appliance from a separate process.

It queries the gateway, the engines, supervisord and the GPU driver concurrently, each with a time
limit. So it still responds while one of them is down or hangs, which is when metrics matter most.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

import uvicorn
from prometheus_client import Counter
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from appliance import journal, metrics, run_folder
from appliance.errors import BadSetting, EngineFailed, PortTaken
from appliance.gpu.readings import GpuReader, GpuReadings
from appliance.processes import EXPORTER, GUARD, METRIC_SOURCES, socket_path
from appliance.settings import Settings
from appliance.supervision.metrics import (
    CardMetrics,
    GuardMetrics,
    ProcessMetrics,
    ProcessStats,
    SealMetrics,
    guard_is_alive,
    measure_processes,
)
from appliance.supervision.supervisor_client import SupervisorClient
from appliance.web.server import WebServer, listen

SUPERVISOR, DRIVER = "supervisord", "nvml"  # sources other than the processes
ANSWER_SECONDS = 10.0  # for sending a page, after exporter.timeout_seconds to collect it
log = journal.get()


class MetricsReport(Protocol):
    """What a process reports about itself, as link.health.ask_health returns it."""

    @property
    def ready(self) -> bool: ...
    @property
    def metrics(self) -> bytes: ...


AskMetrics = Callable[[Path, float], Awaitable[MetricsReport]]


def serve(settings: Settings) -> None:
    """Serve /metrics and /healthz until a stop signal. Raises PortTaken and BadSetting."""
    from appliance.link.health import ask_health

    exporter = settings.exporter
    try:
        listener = listen(exporter.host, exporter.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host=exporter.host, port=exporter.port) from error
        raise BadSetting(name="exporter.host", why=str(error)) from error
    config = uvicorn.Config(
        MetricsExporter(settings, ask_health).app(),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
    )
    log.info("exporter listens", host=exporter.host, port=exporter.port)
    # All sources are asked at the same time, supervisord several times in a row.
    answer_seconds = ANSWER_SECONDS + 4 * exporter.timeout_seconds
    WebServer(config, answer_seconds=answer_seconds, signals=True).run(sockets=[listener])


class MetricsExporter:
    """Builds one page of metrics per scrape.

    `ask` requests the report of a process. It raises EngineFailed if the process does not answer.
    """

    def __init__(
        self, settings: Settings, ask: AskMetrics, gpu_reader: GpuReader | None = None
    ) -> None:
        self._run = settings.paths.run
        self._timeout_seconds = settings.exporter.timeout_seconds
        self._ask = ask
        self._gpu_reader = gpu_reader or GpuReader()
        self._supervisor = SupervisorClient(self._run, self._timeout_seconds)
        self._registry = metrics.new_registry()
        self._errors = Counter(
            "voice_exporter_scrape_errors",
            "Sources that did not answer, or whose metrics could not be used.",
            ["source"],
            registry=self._registry,
        )
        for source in (*METRIC_SOURCES, SUPERVISOR, DRIVER):
            self._errors.labels(source)
        self._failing: set[str] = set()
        self._collecting: asyncio.Task[bytes] | None = None

    def app(self) -> Starlette:
        """Return the web application that serves both pages."""
        return Starlette(
            routes=[Route("/metrics", self._serve_metrics), Route("/healthz", _serve_healthz)]
        )

    async def page(self) -> bytes:
        """Collect all metrics of the appliance, in Prometheus' text format."""
        replies, stats, gpus = await asyncio.gather(
            asyncio.gather(*map(self._report, METRIC_SOURCES)),
            asyncio.to_thread(self._measure_processes),
            self._gpu_reader.read(self._timeout_seconds),
        )
        reports = {
            source: report
            for source, report in zip(METRIC_SOURCES, replies, strict=True)
            if report is not None
        }
        pages = {EXPORTER: self._own_page(reports, stats or {}, gpus or GpuReadings())}
        pages |= {source: report.metrics for source, report in reports.items()}
        page, failures = merge_pages(pages)
        failures |= {source: "silent" for source in METRIC_SOURCES if source not in reports}
        if stats is None:
            failures[SUPERVISOR] = "silent"
        if gpus is None:
            failures[DRIVER] = "silent"
        self._count(failures)
        return page + metrics.render(self._registry)

    def _own_page(
        self,
        reports: Mapping[str, MetricsReport],
        stats: Mapping[str, ProcessStats],
        gpus: GpuReadings,
    ) -> bytes:
        guard = run_folder.read_guard(self._run)
        ready = {EXPORTER: True, GUARD: guard_is_alive(guard, time.monotonic())}
        ready |= {source: report.ready for source, report in reports.items()}
        registry = metrics.new_registry()
        registry.register(ProcessMetrics(stats, run_folder.read_restarts(self._run), ready))
        registry.register(SealMetrics(run_folder.read_seal(self._run)))
        registry.register(GuardMetrics(guard))
        registry.register(CardMetrics(gpus))
        return metrics.render(registry)

    async def _report(self, source: str) -> MetricsReport | None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._ask(socket_path(self._run, source), self._timeout_seconds)
        except (EngineFailed, TimeoutError):
            return None

    def _measure_processes(self) -> dict[str, ProcessStats] | None:
        try:
            return measure_processes(self._supervisor.programs())
        except ConnectionError:
            return None

    def _count(self, failures: Mapping[str, str]) -> None:
        """Count every failure. Log a source once, when it begins to fail."""
        for source, state in failures.items():
            self._errors.labels(source).inc()
            if source not in self._failing:
                log.warning("source left out", source=source, state=state)
        self._failing = set(failures)

    async def _serve_metrics(self, request: Request) -> Response:
        """Answer with a page. Requests that arrive while one is collected get that page."""
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.create_task(self.page())
        page = await asyncio.shield(self._collecting)
        return Response(page, media_type=CONTENT_TYPE_PLAIN_0_0_4)


def merge_pages(pages: Mapping[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Concatenate the pages. Also returns the sources that were left out, with the reason.

    Prometheus rejects a whole scrape if one line is broken or one metric family occurs twice. So a
    page that would cause this is left out, with the reason "broken" or "collides".
    """
    merged: list[bytes] = []
    families: set[str] = set()
    left_out: dict[str, str] = {}
    for source, page in pages.items():
        try:
            names = [family.name for family in text_string_to_metric_families(page.decode())]
        except (ValueError, KeyError, IndexError, TypeError):  # according to the parser's code
            left_out[source] = "broken"
            continue
        if len(set(names)) < len(names) or families & set(names):
            left_out[source] = "collides"
            continue
        families |= set(names)
        merged.append(page if page.endswith(b"\n") or not page else page + b"\n")
    return b"".join(merged), left_out


async def _serve_healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n")
