"""The first process: verifies the seal, runs supervisord and turns what happened into an exit code.

It can be PID 1: it forwards the stop signal and reaps what nobody else waits for. supervisord
itself returns 0 even after a program could not be kept running, so boot looks once a second.

What is done about the programs is the guard's to decide (policy.py); boot ends the appliance when
the guard says so. It looks itself after the two that the guard cannot: the guard and supervisord.
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
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from appliance import journal, run_folder
from appliance.errors import ApplianceError, SupervisorFailed
from appliance.settings import Settings
from appliance.supervision import sealing
from appliance.supervision.guard import GuardWatch
from appliance.supervision.policy import Decision
from appliance.supervision.supervisor_client import (
    GUARD,
    PROGRAMS,
    Change,
    Program,
    SupervisorClient,
    Watch,
)
from appliance.supervision.symptoms import Silence

CONF = Path(__file__).with_name("supervisord.conf")
LOOK_SECONDS = 1.0
ANSWER_SECONDS = 2.0  # for one answer of supervisord
ARRIVAL_SECONDS = 60.0  # for the first one; it takes a second on a machine that is not busy
GOODBYE_SECONDS = 5  # the gateway's stop time is the drain time and this
OTHERS_STOP_SECONDS = 5 + 5 + 3 + 3  # stopwaitsecs of the other programs: the stop is sequential
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
log = journal.get()


def main(given: Settings) -> None:
    """Runs the appliance until it is told to stop; raises what ended it otherwise."""
    run(given, CONF, sealing.verify)


def run(given: Settings, conf: Path, check: Callable[[Settings], None]) -> None:
    """Runs the programs of a supervisord configuration until a stop signal.

    Raises AlreadyRunning, what `check` raises, what the guard decides the appliance ends with, and
    SupervisorFailed; reason.json in the run folder tells the same.
    """
    folder = given.paths.run.absolute()
    with run_folder.claim(folder):
        try:
            check(given)
            _Boot(given, folder, conf).run()
        except ApplianceError as error:
            run_folder.write_reason(folder, error)
            raise


def environment(environ: Mapping[str, str], given: Settings, folder: Path) -> dict[str, str]:
    """`environ` with what supervisord.conf refers to."""
    return {
        **environ,
        "VOICE_PATHS_RUN": str(folder),
        "APPLIANCE_PYTHON": sys.executable,
        "APPLIANCE_START_SECONDS": str(given.supervision.start_seconds),
        "APPLIANCE_START_ATTEMPTS": str(given.supervision.start_attempts),
        "APPLIANCE_GATEWAY_STOP_SECONDS": str(_gateway_stop_seconds(given)),
    }


def stop_seconds(given: Settings) -> int:
    """The longest an orderly stop takes; the host has to wait longer before it kills."""
    return _gateway_stop_seconds(given) + OTHERS_STOP_SECONDS + GOODBYE_SECONDS


def _gateway_stop_seconds(given: Settings) -> int:
    return math.ceil(given.gateway.drain_seconds) + GOODBYE_SECONDS


class _Boot:
    def __init__(self, given: Settings, folder: Path, conf: Path) -> None:
        self._environ = environment(os.environ, given, folder)
        self._stop_seconds = stop_seconds(given)
        self._folder = folder
        self._conf = conf
        self._client = SupervisorClient(folder, ANSWER_SECONDS)
        self._watch = Watch(PROGRAMS)
        self._guard_watch = GuardWatch(given)
        self._silent_seconds = given.supervision.silent_seconds
        self._silence = Silence()  # of supervisord
        self._looked_at = time.monotonic()
        self._status: int | None = None  # of supervisord, once it has ended

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP | {signal.SIGCHLD})
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        output = _Output()
        self._pid = _spawn(self._conf, self._environ, output.write_end)
        output.start()
        log.info("appliance started", pid=self._pid, path=self._folder)
        try:
            self._tend()
        finally:
            self._stop()
            output.finish()
            log.info("appliance stopped")

    def _tend(self) -> None:
        """Returns when a stop signal came; raises when the appliance cannot go on."""
        run_folder.write_restarts(self._folder, self._watch.restarts)
        look_at = time.monotonic()
        while True:
            got = signal.sigtimedwait(STOP | {signal.SIGCHLD}, max(0, look_at - time.monotonic()))
            if got and got.si_signo in STOP:
                log.info("stop asked for", signal=signal.Signals(got.si_signo).name)
                return
            self._reap()
            if self._status is not None:
                code = os.waitstatus_to_exitcode(self._status)
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                raise SupervisorFailed(how=how)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_SECONDS
                self._look()

    def _look(self) -> None:
        programs = self._ask()
        if programs is None:
            return
        changes = self._watch.look(programs)
        for change in changes:
            self._report(change)
        if changes:
            run_folder.write_restarts(self._folder, self._watch.restarts)
        verdict = run_folder.read_failure(self._folder, GUARD)
        if verdict:
            raise verdict
        told = run_folder.read_guard(self._folder)
        for decision in self._guard_watch.look(self._looked_at, programs, changes, told):
            self._tend_guard(decision, programs)

    def _ask(self) -> list[Program] | None:
        """What supervisord says, or None; raises SupervisorFailed when it has been silent long."""
        now = time.monotonic()
        step = min(now - self._looked_at, LOOK_SECONDS + ANSWER_SECONDS)
        self._looked_at = now
        try:
            programs = self._client.programs()
        except ConnectionError:
            # Starting or busy; if it has ended, SIGCHLD tells.
            self._silence.note(False, step)
            limit = self._silent_seconds if self._silence.ever_answered else ARRIVAL_SECONDS
            if self._silence.lasts(limit):
                how = f"it did not answer for {self._silence.seconds:.0f} seconds"
                raise SupervisorFailed(how=how) from None
            return None
        self._silence.note(True, step)
        return programs

    def _tend_guard(self, decision: Decision, programs: list[Program]) -> None:
        if decision.error:
            raise decision.error
        if decision.symptom.cause == "silent":
            pid = next(program.pid for program in programs if program.name == GUARD)
            log.warning("guard silent", pid=pid, seconds=decision.symptom.seconds)
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, signal.SIGKILL)  # supervisord starts it again

    def _report(self, change: Change) -> None:
        write = log.info if change.kind in ("started", "running") else log.warning
        write(
            "program " + change.kind.replace("_", " "),
            program=change.program.name,
            state=change.program.state.lower(),
            pid=change.program.pid,
            restarts=self._watch.restarts[change.program.name],
        )

    def _stop(self) -> None:
        """Lets supervisord stop its programs; kills what is left when the time is over."""
        deadline = time.monotonic() + self._stop_seconds
        self._reap()
        if self._status is None:
            # A supervisord that answers nobody would not hear SIGTERM either.
            silent = self._silence.lasts(self._silent_seconds)
            os.kill(self._pid, signal.SIGKILL if silent else signal.SIGTERM)
        while self._status is None and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, LOOK_SECONDS)
            self._reap()
        left = psutil.Process().children(recursive=True)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):  # its parent saw to it
                process.kill()
                log.warning("program killed", pid=process.pid)
        psutil.wait_procs(left, timeout=GOODBYE_SECONDS)

    def _reap(self) -> None:
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._pid:
                    self._status = ended[1]
        except ChildProcessError:
            return  # No children at all.


class _Output:
    """Passes on what the programs write.

    supervisord opens /dev/fd/1 anew for each of them. That fails for a socket, which is what
    systemd gives us, and makes them overwrite each other in a file; so it gets a pipe of ours.
    """

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._thread = threading.Thread(target=self._pass_on, name="output", daemon=True)

    def start(self) -> None:
        os.close(self.write_end)  # supervisord has its own now; the last one to go ends the pipe
        self._thread.start()

    def finish(self) -> None:
        self._thread.join(timeout=GOODBYE_SECONDS)

    def _pass_on(self) -> None:
        while chunk := os.read(self._read_end, 65536):
            # Nobody reads, or the disk is full: go on emptying, or the programs would block.
            with contextlib.suppress(OSError):
                while chunk:
                    chunk = chunk[os.write(1, chunk) :]


def _spawn(conf: Path, environ: Mapping[str, str], output: int) -> int:
    """Starts supervisord in a process group of its own: Ctrl-C is for boot to pass on."""
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)],
        environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)],
        setpgroup=0,
        setsigmask=(),
    )
