"""/metrics of the whole appliance, from a process of its own.

It asks the gateway, the engines, supervisord and the driver of the cards, each with a time limit
and all at once, so that it still answers when one of them is down or hangs; that is when it
matters.
"""

from __future__ import annotations

import asyncio
import errno
import socket
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

from appliance import journal, run_folder
from appliance import metrics as meters
from appliance.errors import BadSetting, EngineFailed, PortTaken
from appliance.gpu.readings import Sight
from appliance.settings import Settings
from appliance.supervision.metrics import (
    CardMetrics,
    Cards,
    GuardMetrics,
    ProcessMetrics,
    Vitals,
    beats,
    vitals,
)
from appliance.supervision.sealing import SealMetrics
from appliance.supervision.supervisor_client import GUARD, SupervisorClient


def join(parts: Mapping[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """The page, and the parts left out of it with the reason: broken text, or a family twice.

    A scrape that holds one broken line or one family in two places is refused as a whole by
    Prometheus, and then nothing is seen; so the part that would cause it is left out.
    """
    pages: list[bytes] = []
    taken: set[str] = set()
    left_out: dict[str, str] = {}
    for source, text in parts.items():
        try:
            families = [family.name for family in text_string_to_metric_families(text.decode())]
        except (
            ValueError,
            KeyError,
            IndexError,
            TypeError,
        ):  # What the parser raises, by its code.
            left_out[source] = "broken"
            continue
        if len(set(families)) < len(families) or taken & set(families):
            left_out[source] = "collides"
            continue
        taken |= set(families)
        pages.append(text if text.endswith(b"\n") or not text else text + b"\n")
    return b"".join(pages), left_out


SOURCES = ("gateway", "llm", "tts")  # each has SOURCE.sock in the run folder
SUPERVISOR = "supervisord"
DRIVER = "nvml"
MAX_CONNECTIONS = 32  # at the same time, idle ones included; more get 503
log = journal.get()


class HealthReport(Protocol):
    """What a process tells of itself; the engine link's client returns one."""

    @property
    def ready(self) -> bool: ...
    @property
    def metrics(self) -> bytes: ...


Ask = Callable[[Path, float], Awaitable[HealthReport]]


def serve(given: Settings) -> None:
    """Serves /metrics and /healthz until told to stop. Raises PortTaken and BadSetting."""
    from appliance.link.health import ask_health

    listening = _listen(given.exporter.host, given.exporter.port)
    config = uvicorn.Config(
        Exporter(given, ask_health).app(),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=5,
        server_header=False,
    )
    log.info("exporter listens", host=given.exporter.host, port=given.exporter.port)
    uvicorn.Server(config).run(sockets=[listening])


class Exporter:
    """One page of metrics per scrape. `ask` raises EngineFailed for a process without an answer."""

    def __init__(self, given: Settings, ask: Ask, cards: Cards | None = None) -> None:
        self._run = given.paths.run
        self._timeout_seconds = given.exporter.timeout_seconds
        self._ask = ask
        self._cards = cards or Cards()
        self._supervisor = SupervisorClient(self._run, self._timeout_seconds)
        self._registry = meters.new_registry()
        self._errors = Counter(
            "voice_exporter_scrape_errors",
            "Sources that did not answer, or whose metrics could not be used.",
            ["source"],
            registry=self._registry,
        )
        for source in (*SOURCES, SUPERVISOR, DRIVER):
            self._errors.labels(source)
        self._troubled: set[str] = set()

    def app(self) -> Starlette:
        """The two pages."""
        return Starlette(routes=[Route("/metrics", self._metrics), Route("/healthz", _healthz)])

    async def page(self) -> bytes:
        """All metrics of the appliance in Prometheus text format."""
        reports, found, sight = await asyncio.gather(
            asyncio.gather(*map(self._report, SOURCES)),
            asyncio.to_thread(self._vitals),
            self._cards.sight(self._timeout_seconds),
        )
        answered = {name: it for name, it in zip(SOURCES, reports, strict=True) if it is not None}
        guard = run_folder.read_guard(self._run)
        ready = {"exporter": True, GUARD: beats(guard, time.monotonic())}
        ready |= {name: it.ready for name, it in answered.items()}
        processes = meters.new_registry()
        restarts = run_folder.read_restarts(self._run)
        processes.register(ProcessMetrics(found or {}, restarts, ready))
        processes.register(SealMetrics(run_folder.read_seal(self._run)))
        processes.register(GuardMetrics(guard))
        processes.register(CardMetrics(sight or Sight()))
        parts = {name: report.metrics for name, report in answered.items()}
        page, trouble = join({"exporter": meters.render(processes), **parts})
        trouble |= {name: "silent" for name in SOURCES if name not in answered}
        if found is None:
            trouble[SUPERVISOR] = "silent"
        if sight is None:
            trouble[DRIVER] = "silent"
        self._note(trouble)
        return page + meters.render(self._registry)

    async def _report(self, source: str) -> HealthReport | None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._ask(self._run / f"{source}.sock", self._timeout_seconds)
        except (EngineFailed, TimeoutError):
            return None

    def _vitals(self) -> dict[str, Vitals] | None:
        try:
            return vitals(self._supervisor.programs())
        except ConnectionError:
            return None

    def _note(self, trouble: dict[str, str]) -> None:
        """Counts every failure, and logs each only when it begins."""
        for source, state in trouble.items():
            self._errors.labels(source).inc()
            if source not in self._troubled:
                log.warning("source left out", source=source, state=state)
        self._troubled = set(trouble)

    async def _metrics(self, request: Request) -> Response:
        return Response(await self.page(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("ok\n")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as problem:
        listening.close()
        if problem.errno == errno.EADDRINUSE:
            raise PortTaken(host=host, port=port) from problem
        raise BadSetting(name="exporter.host", why=str(problem)) from problem
    return listening
