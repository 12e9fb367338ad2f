"""supervisord's event listener: restarts unhealthy processes, or stops the appliance.

It receives every state change from supervisord and checks each process itself every few seconds;
policy.py decides what to do. To restart a process the guard terminates it, and supervisord starts
it again. To stop the appliance, it records the error in the run folder, where boot finds it. boot
watches the guard.

The guard's stdout carries only supervisord's event protocol: the command `guard` redirects all
other output.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable

import psutil

from appliance import journal, run_folder
from appliance.gpu import nvml
from appliance.processes import GUARD
from appliance.settings import Settings
from appliance.supervision.events import DONE, READY, EventParser, SupervisorEvent
from appliance.supervision.gpu_watch import DriverPoller, GpuWatch, uses_gpu
from appliance.supervision.observe import Observer
from appliance.supervision.policy import Decision, GuardHistory, RestartLimits, Symptom
from appliance.supervision.symptoms import (
    ENDED,
    HEALTH_CHECK_SECONDS,
    HealthLimits,
    Observation,
    SymptomDetector,
    is_permanent,
)
from appliance.supervision.terminate import kill_group, terminate
from appliance.tasks import spawn

NO_EVENTS_SECONDS = 30.0  # TICK_5 comes every 5 s; supervisord stops sending after a protocol error
EXIT_NO_EVENTS = 75  # EX_TEMPFAIL of sysexits.h; a restarted guard receives events again
log = journal.get()


def serve(settings: Settings, protocol_fd: int) -> int:
    """Run the guard until a stop signal. Returns the exit code.

    `protocol_fd` is a duplicate of the original stdout. Raises BadEvent if supervisord violates the
    protocol.
    """
    from appliance.link.health import ask_health

    observer = Observer(settings, ask_health)
    guard = ProcessGuard(settings, observer, lambda data: _write_all(protocol_fd, data))
    return asyncio.run(_serve(guard))


async def _serve(guard: ProcessGuard) -> int:
    loop = asyncio.get_running_loop()
    events = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(events), sys.stdin)
    running = asyncio.create_task(guard.run(events))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        return await running
    except asyncio.CancelledError:
        return 0


class ProcessGuard:
    """Handles supervisord's events, checks the processes, and acts on their symptoms.

    `send` writes to supervisord. State that must survive a restart is kept in guard.json.
    """

    def __init__(
        self, settings: Settings, observer: Observer, send: Callable[[bytes], None]
    ) -> None:
        self._settings = settings
        self._run = settings.paths.run
        self._observer = observer
        self._send = send
        status = run_folder.read_guard(self._run)
        self._history = GuardHistory.from_json(RestartLimits.from_settings(settings), status)
        self._detector = SymptomDetector(HealthLimits.from_settings(settings))
        interval = settings.supervision.check_seconds
        self._gpu_watch = GpuWatch(
            status.get("cards", ()), settings.supervision.silent_seconds, interval
        )
        self._driver = DriverPoller(nvml.list_cards, interval)
        self._observations: dict[str, Observation] = {}
        self._last_event_at = time.monotonic()
        # True once the appliance is stopping: from then on nothing is restarted.
        self._finished = run_folder.read_failure(self._run, GUARD) is not None
        self._terminating: set[asyncio.Task[None]] = set()

    async def run(self, events: asyncio.StreamReader) -> int:
        """Handle events and check processes until supervisord exits or sends nothing more.

        Returns the exit code.
        """
        if uses_gpu(self._settings):
            self._driver.start()
        log.info("guard started")
        listening = asyncio.create_task(self._listen(events))
        checking = asyncio.create_task(self._check_repeatedly())
        try:
            await asyncio.wait({listening, checking}, return_when=asyncio.FIRST_COMPLETED)
            return (listening if listening.done() else checking).result()
        finally:
            for task in (listening, checking, *self._terminating):
                task.cancel()

    async def _listen(self, events: asyncio.StreamReader) -> int:
        parser = EventParser()
        self._send(READY)
        while data := await events.read(4096):
            for event in parser.feed(data):
                self._last_event_at = time.monotonic()
                self._on_event(event)
                self._send(DONE + READY)
        return 0  # supervisord has exited

    def _on_event(self, event: SupervisorEvent) -> None:
        if event.name == "SUPERVISOR_STATE_CHANGE_STOPPING":
            self._finished = True  # processes that exit from now on were stopped on purpose
        name = event.fields.get("processname", "")
        if not event.state or name == GUARD or self._finished:
            return
        if event.state in ("EXITED", "BACKOFF"):
            kill_group(self._pid_of(event))
        error = run_folder.take_failure(self._run, name) if event.state in ENDED else None
        self._handle_symptoms(self._detector.on_state(name, event.state, error))

    def _pid_of(self, event: SupervisorEvent) -> int:
        """Return the pid of the exited process; 0 if it is neither in the event nor observed."""
        seen = self._observations.pop(event.fields["processname"], None)
        return int(event.fields.get("pid") or (seen.pid if seen else 0))  # BACKOFF has none

    async def _check_repeatedly(self) -> int:
        due = time.monotonic()
        while time.monotonic() - self._last_event_at < NO_EVENTS_SECONDS:
            if not self._finished:
                self._handle_symptoms(self._gpu_watch.check(self._driver.reply))
                self._handle_symptoms(await self._check())
            self._publish()
            # Sleep until a due time, not for a fixed time: checking a frozen process takes seconds.
            due = max(due + self._settings.supervision.check_seconds, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
        log.error("supervisord sends no events", seconds=NO_EVENTS_SECONDS)
        return EXIT_NO_EVENTS

    async def _check(self) -> list[Symptom]:
        try:
            observations = await self._observer.observe()
        except ConnectionError:
            return []  # boot watches supervisord
        self._observations = {observation.name: observation for observation in observations}
        symptoms = self._detector.observe(time.monotonic(), observations)
        return [self._with_reason(symptom) for symptom in symptoms]

    def _with_reason(self, symptom: Symptom) -> Symptom:
        """Add the error that a failed program recorded: a check may come before the event."""
        error = run_folder.read_failure(self._run, symptom.program)
        if symptom.cause != "fatal" or not is_permanent(error):
            return symptom
        return Symptom("refused", symptom.program, error=error)

    def _handle_symptoms(self, symptoms: list[Symptom]) -> None:
        for symptom in symptoms:
            if not self._finished:
                decision = self._history.decide(symptom, time.monotonic(), time.time())
                self._publish()  # before boot reads the error and stops the guard, too
                self._act(decision)

    def _act(self, decision: Decision) -> None:
        symptom = decision.symptom
        log.warning(
            _EVENTS[decision.action],
            program=symptom.program or None,
            reason=symptom.cause,
            restarts=decision.restarts,
            seconds=symptom.seconds or None,
            memory_bytes=symptom.memory_bytes or None,
            exc_info=decision.error,
        )
        if decision.error is not None:
            self._finished = True
            run_folder.write_failure(self._run, GUARD, decision.error)
        for name in decision.programs:
            has_symptom = name == symptom.program
            if has_symptom and symptom.cause in ("exited", "sick", "not_started"):
                continue  # it has already exited, and supervisord restarts it
            self._detector.expect_exit(name)
            self._terminate(name, kill=has_symptom and symptom.cause == "silent")

    def _terminate(self, name: str, kill: bool) -> None:
        """Begin to terminate a process: with SIGTERM and a grace period, or with SIGKILL."""
        observation = self._observations.get(name)
        if observation is None or not observation.pid:
            return
        try:
            process = psutil.Process(observation.pid)
        except psutil.NoSuchProcess:
            return
        grace = 0.0 if kill else self._settings.gateway.drain_seconds + HEALTH_CHECK_SECONDS
        task = spawn(terminate(process, grace), "terminate process")
        self._terminating.add(task)
        task.add_done_callback(self._terminating.discard)

    def _publish(self) -> None:
        status = {
            "beat": time.monotonic(),
            "unix_time": time.time(),
            "answering": sorted(o.name for o in self._observations.values() if o.responded),
            "cards": self._gpu_watch.expected,
        }
        run_folder.write_guard(self._run, status | self._history.to_json())


_EVENTS = {
    "restart_process": "guard restarts process",
    "restart_engines": "guard restarts engines",
    "end_appliance": "guard ends appliance",
}


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
