"""supervisord's event listener: sees what goes wrong, decides by a table, restarts or has it ended.

It hears of every change of state from supervisord, and looks at each process itself every few
seconds. What it may do alone is to end a process, which supervisord then starts again; to end the
appliance it leaves its verdict in the run folder, where boot finds it. boot in turn looks after the
guard.

Its stdout is supervisord's event protocol. The door takes it away before anything else can print
there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import psutil

from appliance import journal, run_folder
from appliance.errors import BadSetting
from appliance.gpu import nvml
from appliance.settings import Settings
from appliance.supervision.ending import end, sweep
from appliance.supervision.events import DONE, READY, Event, Reader
from appliance.supervision.gpu_watch import Asking, CardWatch, wanted
from appliance.supervision.observe import ANSWER_SECONDS, Observer
from appliance.supervision.policy import Bounds, Decision, Ledger, Symptom
from appliance.supervision.supervisor_client import GUARD, Change, Program
from appliance.supervision.symptoms import ENDED, Limits, Sight, Symptoms, refuses
from appliance.tasks import spawn

TIMES = (
    "check_seconds",
    "silent_seconds",
    "load_seconds",
    "growth_seconds",
    "restart_window_seconds",
)
GUARD_ARRIVAL_SECONDS = 60.0  # until its first beat; it loads no model, but a machine may be busy


def bounds(given: Settings) -> Bounds:
    """How often one process may be restarted."""
    return Bounds(given.supervision.max_restarts, given.supervision.restart_window_seconds)


def limits(given: Settings) -> Limits:
    """What the guard bears of a process. Raises BadSetting for times that cannot be."""
    of = given.supervision
    for name in TIMES:
        if getattr(of, name) <= 0:
            raise BadSetting(name=f"supervision.{name}", why="it has to be above 0")
    return Limits(
        silent_seconds=of.silent_seconds,
        load_seconds=of.load_seconds,
        longest_step_seconds=of.check_seconds + 2 * ANSWER_SECONDS,
        memory_bytes={
            "gateway": of.gateway_memory_bytes,
            "llm": of.llm_memory_bytes,
            "tts": of.tts_memory_bytes,
            "exporter": of.exporter_memory_bytes,
        },
        growth_seconds=of.growth_seconds,
        growth_bytes=of.growth_bytes,
    )


def guards_limits(given: Settings) -> Limits:
    """What boot bears of the guard, whose beat may be late by a look and its answers."""
    of = limits(given)
    return Limits(
        silent_seconds=of.silent_seconds + of.longest_step_seconds,
        load_seconds=GUARD_ARRIVAL_SECONDS,
        longest_step_seconds=of.longest_step_seconds,
    )


DEAF_SECONDS = 30.0  # TICK_5 comes every 5 s; supervisord stops sending after a breach of protocol
EXIT_DEAF = 75  # EX_TEMPFAIL of sysexits.h: started again, it is spoken to again
log = journal.get()


def serve(given: Settings, protocol: int) -> int:
    """Guards until told to stop; the exit code. `protocol` is the descriptor of the old stdout.

    Raises BadSetting, and BadEvent for nonsense from supervisord.
    """
    from appliance.link.health import ask_health

    guard = Guard(given, Observer(given, ask_health), lambda line: _write(protocol, line))
    return asyncio.run(_serve(guard))


async def _serve(guard: Guard) -> int:
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


class Guard:
    """`say` writes to supervisord. State that has to outlive this process is in guard.json."""

    def __init__(self, given: Settings, observer: Observer, say: Callable[[bytes], None]) -> None:
        self._given = given
        self._run = given.paths.run
        self._observer = observer
        self._say = say
        told = run_folder.read_guard(self._run)
        self._ledger = Ledger.from_told(bounds(given), told)
        self._symptoms = Symptoms(limits(given))
        every = given.supervision.check_seconds
        self._cards = CardWatch(told.get("cards", ()), given.supervision.silent_seconds, every)
        self._asking = Asking(nvml.look, every)
        self._sights: dict[str, Sight] = {}
        self._heard_at = time.monotonic()
        self._done = run_folder.read_failure(self._run, GUARD) is not None
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, events: asyncio.StreamReader) -> int:
        """Listens and looks until supervisord goes or goes silent; the exit code."""
        if wanted(self._given):
            self._asking.start()
        log.info("guard started")
        listening = asyncio.create_task(self._listen(events))
        looking = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({listening, looking}, return_when=asyncio.FIRST_COMPLETED)
            return (listening if listening.done() else looking).result()
        finally:
            for task in (listening, looking, *self._ending):
                task.cancel()

    async def _listen(self, events: asyncio.StreamReader) -> int:
        reader = Reader()
        self._say(READY)
        while received := await events.read(4096):
            for event in reader.feed(received):
                self._heard_at = time.monotonic()
                self._hear(event)
                self._say(DONE + READY)
        return 0  # supervisord has gone

    def _hear(self, event: Event) -> None:
        if event.name == "SUPERVISOR_STATE_CHANGE_STOPPING":
            self._done = True  # what ends from here on was told to
        name = event.fields.get("processname", "")
        if not event.state or name == GUARD or self._done:
            return
        if event.state in ("EXITED", "BACKOFF"):
            sweep(self._pid_of(event))
        left = run_folder.take_failure(self._run, name) if event.state in ENDED else None
        self._treat(self._symptoms.told(name, event.state, left))

    def _pid_of(self, event: Event) -> int:
        """Of the process that has ended; 0 when neither supervisord nor a look told of it."""
        seen = self._sights.pop(event.fields["processname"], None)
        return int(event.fields.get("pid") or (seen.pid if seen else 0))  # BACKOFF has none

    async def _watch(self) -> int:
        due = time.monotonic()
        while time.monotonic() - self._heard_at < DEAF_SECONDS:
            if not self._done:
                self._treat(self._cards.look(self._asking.answer))
                self._treat(await self._look())
            self._publish()
            # By the clock, not after a rest: silence makes a look itself last for seconds.
            due = max(due + self._given.supervision.check_seconds, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
        log.error("supervisord sends no events", seconds=DEAF_SECONDS)
        return EXIT_DEAF

    async def _look(self) -> list[Symptom]:
        try:
            sights = await self._observer.sights()
        except ConnectionError:
            return []  # boot looks after supervisord
        self._sights = {sight.name: sight for sight in sights}
        found = self._symptoms.look(time.monotonic(), sights)
        return [self._with_reason(symptom) for symptom in found]

    def _with_reason(self, symptom: Symptom) -> Symptom:
        """A program that was given up may have left word; a look can come before the event."""
        left = run_folder.read_failure(self._run, symptom.program)
        if symptom.cause != "fatal" or not refuses(left):
            return symptom
        return Symptom("refused", symptom.program, error=left)

    def _treat(self, found: list[Symptom]) -> None:
        for symptom in found:
            if not self._done:
                decision = self._ledger.judge(symptom, time.monotonic(), time.time())
                self._publish()  # before boot can hear of an end, and take the guard along
                self._act(decision)

    def _act(self, decision: Decision) -> None:
        symptom = decision.symptom
        log.warning(
            "guard ends appliance"
            if decision.error
            else "guard restarts engines"
            if decision.action == "restart_engines"
            else "guard restarts process",
            program=symptom.program or None,
            reason=symptom.cause,
            restarts=decision.restarts,
            seconds=symptom.seconds or None,
            memory_bytes=symptom.memory_bytes or None,
            exc_info=decision.error,
        )
        if decision.error is not None:
            self._done = True
            run_folder.write_failure(self._run, GUARD, decision.error)
        for name in decision.programs:
            ill = name == symptom.program
            if ill and symptom.cause in ("exited", "sick", "not_started"):
                continue  # supervisord is at it
            self._symptoms.expect_end(name)
            self._end(name, force=ill and symptom.cause == "silent")

    def _end(self, name: str, force: bool) -> None:
        """Begins to end a process; what does not hear SIGTERM gets SIGKILL."""
        sight = self._sights.get(name)
        if sight is None or not sight.pid:
            return
        try:
            process = psutil.Process(sight.pid)
        except psutil.NoSuchProcess:
            return
        patience = 0.0 if force else self._given.gateway.drain_seconds + ANSWER_SECONDS
        task = spawn(end(process, patience), "end process")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _publish(self) -> None:
        told = {
            "beat": time.monotonic(),
            "unix_time": time.time(),
            "answering": sorted(name for name, it in self._sights.items() if it.answers),
            "cards": self._cards.expected,
        }
        run_folder.write_guard(self._run, told | self._ledger.told())


def _write(number: int, line: bytes) -> None:
    while line:
        line = line[os.write(number, line) :]


STATES = {"restarted": "EXITED", "gave_up": "FATAL"}  # what a change of the guard amounts to


class GuardWatch:
    """Looks whether the guard's beat goes on, and how often the guard ended.

    Nothing else may decide about the guard: it cannot see its own end, or that it was frozen.
    """

    def __init__(self, given: Settings) -> None:
        self._ledger = Ledger(bounds(given))
        self._symptoms = Symptoms(guards_limits(given))
        self._beat: object = None

    def look(
        self,
        now: float,
        programs: Iterable[Program],
        changes: Iterable[Change],
        told: Mapping[str, Any],
    ) -> list[Decision]:
        """What is to be done about the guard. `told` is what it published last."""
        beats = told.get("beat") not in (None, self._beat)
        self._beat = told.get("beat")
        found: list[Symptom] = []
        for change in changes:
            if change.program.name == GUARD and change.kind in STATES:
                found += self._symptoms.told(GUARD, STATES[change.kind], None)
        guard = [it for it in programs if it.name == GUARD]
        found += self._symptoms.look(
            now, [Sight(it.name, it.state, it.pid, answers=beats, ready=beats) for it in guard]
        )
        return [self._ledger.judge(symptom, now, 0.0) for symptom in found]
