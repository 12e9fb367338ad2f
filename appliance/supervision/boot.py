"""The first process: checks the seal, runs supervisord, and maps the outcome to an exit code.

It can be PID 1: it forwards stop signals and reaps orphans. supervisord returns 0 even if a program
could not be kept running, so boot polls it every second.

The guard decides what to do about the other programs (policy.py); boot stops the appliance when the
guard requests it. boot itself watches the two that the guard cannot: the guard and supervisord.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from appliance import journal, run_folder
from appliance.errors import ApplianceError, SupervisorFailed
from appliance.gpu import own_card
from appliance.processes import GUARD, PROGRAMS
from appliance.settings import GatewayConfig, Settings
from appliance.supervision import seal_check
from appliance.supervision.gpu_watch import uses_gpu
from appliance.supervision.policy import Decision, GuardHistory, RestartLimits, Symptom
from appliance.supervision.supervisor_client import (
    Program,
    ProgramChange,
    ProgramTracker,
    SupervisorClient,
)
from appliance.supervision.symptoms import (
    HEALTH_CHECK_SECONDS,
    HealthLimits,
    MissedChecks,
    Observation,
    SymptomDetector,
)

CONF = Path(__file__).with_name("supervisord.conf")
POLL_SECONDS = 1.0
SUPERVISOR_START_SECONDS = 60.0  # until its first reply; an idle machine takes 1 s
GATEWAY_MARGIN_SECONDS = 5  # the gateway's stop time is the drain time plus this
OTHERS_STOP_SECONDS = 5 + 5 + 3 + 3  # stopwaitsecs of the other programs; they stop one by one
REAP_SECONDS = 5  # for the last output, and for killed processes to exit
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
log = journal.get()


def main(settings: Settings) -> None:
    """Run the appliance until a stop signal. Raises the error if something else stops it."""
    run(settings, CONF, seal_check.verify)


def run(settings: Settings, conf: Path, check: Callable[[Settings], None]) -> None:
    """Run the programs of a supervisord configuration until a stop signal.

    Raises AlreadyRunning, any error of `check`, the error for which the guard stops the appliance,
    and SupervisorFailed. All but AlreadyRunning are also recorded in reason.json in the run folder.
    """
    folder = settings.paths.run.absolute()
    with run_folder.claim(folder, closed=starts_closed(settings.gateway)):
        try:
            check(settings)
            card = own_card.of_this_machine() if uses_gpu(settings) else {}
            _Boot(settings, folder, conf, card).run()
        except ApplianceError as error:
            run_folder.write_reason(folder, error)
            raise


def starts_closed(gateway: GatewayConfig) -> bool:
    """Whether this start is closed to callers: always, or because the host asks for it."""
    mark = gateway.start_closed_file
    return gateway.start_closed or (mark != "" and Path(mark).exists())


def environment(environ: Mapping[str, str], settings: Settings, folder: Path) -> dict[str, str]:
    """Return `environ` with the variables that supervisord.conf refers to."""
    return {
        **environ,
        "VOICE_PATHS_RUN": str(folder),
        "APPLIANCE_PYTHON": sys.executable,
        "APPLIANCE_START_SECONDS": str(settings.supervision.start_seconds),
        "APPLIANCE_START_ATTEMPTS": str(settings.supervision.start_attempts),
        "APPLIANCE_GATEWAY_STOP_SECONDS": str(_gateway_stop_seconds(settings)),
    }


def stop_seconds(settings: Settings) -> int:
    """The maximum duration of an orderly stop. The host must wait longer before it kills."""
    return _gateway_stop_seconds(settings) + OTHERS_STOP_SECONDS + REAP_SECONDS


def _gateway_stop_seconds(settings: Settings) -> int:
    return math.ceil(settings.gateway.drain_seconds) + GATEWAY_MARGIN_SECONDS


class GuardMonitor:
    """Watches the guard's heartbeat and exits. Pure.

    The guard cannot do this itself: it notices neither its own exit nor that it is frozen.
    """

    def __init__(self, settings: Settings) -> None:
        self._history = GuardHistory(RestartLimits.from_settings(settings))
        self._detector = SymptomDetector(HealthLimits.for_guard(settings))
        self._beat: object = None

    def update(
        self,
        now: float,
        programs: Iterable[Program],
        changes: Iterable[ProgramChange],
        status: Mapping[str, Any],
    ) -> list[Decision]:
        """Decide what to do about the guard; `status` is the content of guard.json."""
        beats = status.get("beat") not in (None, self._beat)
        self._beat = status.get("beat")
        symptoms: list[Symptom] = []
        for change in changes:
            state = {"restarted": "EXITED", "gave_up": "FATAL"}.get(change.kind)
            if change.program.name == GUARD and state:
                symptoms += self._detector.on_state(GUARD, state, None)
        observations = [
            Observation(GUARD, program.state, program.pid, responded=beats, ready=beats)
            for program in programs
            if program.name == GUARD
        ]
        symptoms += self._detector.observe(now, observations)
        return [self._history.decide(symptom, now, 0.0) for symptom in symptoms]


class _Boot:
    def __init__(
        self, settings: Settings, folder: Path, conf: Path, card: Mapping[str, str]
    ) -> None:
        self._environ = environment({**os.environ, **card}, settings, folder)
        self._stop_seconds = stop_seconds(settings)
        self._folder = folder
        self._conf = conf
        self._client = SupervisorClient(folder, HEALTH_CHECK_SECONDS)
        self._tracker = ProgramTracker(PROGRAMS)
        self._guard_monitor = GuardMonitor(settings)
        self._silent_seconds = settings.supervision.silent_seconds
        self._missed = MissedChecks()  # of supervisord
        self._polled_at = time.monotonic()
        self._status: int | None = None  # supervisord's wait status, once it has exited

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS | {signal.SIGCHLD})
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        output = _OutputPipe()
        self._pid = _spawn(self._conf, self._environ, output.write_end)
        output.start()
        log.info("appliance started", pid=self._pid, path=self._folder)
        try:
            self._watch()
        finally:
            self._stop()
            output.finish()
            log.info("appliance stopped")

    def _watch(self) -> None:
        """Return on a stop signal; raise if the appliance cannot continue."""
        run_folder.write_restarts(self._folder, self._tracker.restarts)
        poll_at = time.monotonic()
        while True:
            signals = STOP_SIGNALS | {signal.SIGCHLD}
            received = signal.sigtimedwait(signals, max(0, poll_at - time.monotonic()))
            if received and received.si_signo in STOP_SIGNALS:
                log.info("stop asked for", signal=signal.Signals(received.si_signo).name)
                return
            self._reap()
            if self._status is not None:
                code = os.waitstatus_to_exitcode(self._status)
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                raise SupervisorFailed(how=how)
            if time.monotonic() >= poll_at:
                poll_at = time.monotonic() + POLL_SECONDS
                self._poll()

    def _poll(self) -> None:
        programs = self._ask_supervisord()
        if programs is None:
            return
        changes = self._tracker.update(programs)
        for change in changes:
            self._log_change(change)
        if changes:
            run_folder.write_restarts(self._folder, self._tracker.restarts)
        error = run_folder.read_failure(self._folder, GUARD)
        if error:
            raise error
        status = run_folder.read_guard(self._folder)
        for decision in self._guard_monitor.update(self._polled_at, programs, changes, status):
            self._handle_guard(decision, programs)

    def _ask_supervisord(self) -> list[Program] | None:
        """Return its programs, or None if it did not answer.

        Raises SupervisorFailed after a long time without an answer.
        """
        now = time.monotonic()
        step = min(now - self._polled_at, POLL_SECONDS + HEALTH_CHECK_SECONDS)
        self._polled_at = now
        try:
            programs = self._client.programs()
        except ConnectionError:
            # supervisord is starting or busy; if it has exited, SIGCHLD follows.
            self._missed.record(False, step)
            answered = self._missed.ever_answered
            limit = self._silent_seconds if answered else SUPERVISOR_START_SECONDS
            if self._missed.exceeds(limit):
                how = f"it did not answer for {self._missed.seconds:.0f} seconds"
                raise SupervisorFailed(how=how) from None
            return None
        self._missed.record(True, step)
        return programs

    def _handle_guard(self, decision: Decision, programs: list[Program]) -> None:
        if decision.error:
            raise decision.error
        if decision.symptom.cause == "silent":
            pid = next(program.pid for program in programs if program.name == GUARD)
            log.warning("guard silent", pid=pid, seconds=decision.symptom.seconds)
            with contextlib.suppress(ProcessLookupError):  # it has just exited by itself
                os.kill(pid, signal.SIGKILL)  # supervisord restarts it

    def _log_change(self, change: ProgramChange) -> None:
        write = log.info if change.kind in ("started", "running") else log.warning
        write(
            "program " + change.kind.replace("_", " "),
            program=change.program.name,
            state=change.program.state.lower(),
            pid=change.program.pid,
            restarts=self._tracker.restarts[change.program.name],
        )

    def _stop(self) -> None:
        """Let supervisord stop its programs, then kill the processes that are left."""
        deadline = time.monotonic() + self._stop_seconds
        self._reap()
        if self._status is None:
            # A frozen supervisord would ignore SIGTERM.
            frozen = self._missed.exceeds(self._silent_seconds)
            os.kill(self._pid, signal.SIGKILL if frozen else signal.SIGTERM)
        while self._status is None and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, POLL_SECONDS)
            self._reap()
        remaining = psutil.Process().children(recursive=True)
        for process in remaining:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has already exited
                process.kill()
                log.warning("program killed", pid=process.pid)
        psutil.wait_procs(remaining, timeout=REAP_SECONDS)

    def _reap(self) -> None:
        try:
            while (exited := os.waitpid(-1, os.WNOHANG))[0]:
                if exited[0] == self._pid:
                    self._status = exited[1]
        except ChildProcessError:
            return  # no children


class _OutputPipe:
    """Forwards the programs' output to boot's stdout.

    supervisord opens /dev/fd/1 again for each program. That fails if stdout is a socket, as under
    systemd. If stdout is a file, the programs overwrite each other's output. A pipe always works.
    """

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._thread = threading.Thread(target=self._forward, name="output", daemon=True)

    def start(self) -> None:
        os.close(self.write_end)  # supervisord has a copy; closing the last copy ends the pipe
        self._thread.start()

    def finish(self) -> None:
        self._thread.join(timeout=REAP_SECONDS)

    def _forward(self) -> None:
        while chunk := os.read(self._read_end, 65536):
            # If stdout has no reader or its disk is full, keep reading: the programs would block.
            with contextlib.suppress(OSError):
                while chunk:
                    chunk = chunk[os.write(1, chunk) :]


def _spawn(conf: Path, environ: Mapping[str, str], output: int) -> int:
    """Start supervisord, and return its pid. Its own process group keeps Ctrl-C away from it."""
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "appliance.supervision.supervisord", "-n", "-c", str(conf)],
        environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)],
        setpgroup=0,
        setsigmask=(),
    )
