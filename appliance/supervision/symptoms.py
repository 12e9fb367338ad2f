"""Turns observations of the processes into symptoms. No I/O.

Time without observations does not count. Otherwise every process would look unresponsive after the
machine was suspended or the guard was frozen. So an observation adds at most `max_step_seconds` to
any duration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from appliance.errors import ApplianceError, ModelUnhealthy
from appliance.processes import ENGINES, PROCESSES
from appliance.settings import Settings
from appliance.supervision.policy import Symptom

ALIVE = ("STARTING", "RUNNING")  # supervisord has a process and wants it to run
ENDED = ("EXITED", "BACKOFF", "FATAL", "UNKNOWN")
HEALTH_CHECK_SECONDS = 2.0  # time limit of one health check, of supervisord or of a process
GUARD_START_SECONDS = 60.0  # until the guard's first heartbeat, on a busy machine
MIN_MISSES = 2  # one missed health check may be a glitch
GROWTH_SLICES = 6  # of the growth window


@dataclass(frozen=True, slots=True)
class Observation:
    """One process at one moment.

    state         as supervisord reports it
    pid           0 if there is no process
    responded     whether it answered its health check; None if it was not checked
    ready         whether it reported that it can do its work
    memory_bytes  private memory of the process and its children
    """

    name: str
    state: str
    pid: int = 0
    responded: bool | None = None
    ready: bool = False
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """What a healthy process may do, in seconds and bytes.

    silent_seconds    longest time without an answer, once the process is up
    load_seconds      longest time from its start until it is up: an engine ready, others answering
    max_step_seconds  longest regular interval between two observations
    memory_bytes      memory limit by process; no limit if 0 or missing
    growth_seconds    window of the growth check
    growth_bytes      permitted rise of the memory floor within the window; 0 disables the check
    """

    silent_seconds: float
    load_seconds: float
    max_step_seconds: float
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    growth_seconds: float = 1.0
    growth_bytes: int = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> HealthLimits:
        """The guard's limits for the other processes."""
        supervision = settings.supervision
        return cls(
            silent_seconds=supervision.silent_seconds,
            load_seconds=supervision.load_seconds,
            max_step_seconds=supervision.check_seconds + 2 * HEALTH_CHECK_SECONDS,
            memory_bytes={
                process.name: getattr(supervision, process.memory_setting)
                for process in PROCESSES
                if process.memory_setting
            },
            growth_seconds=supervision.growth_seconds,
            growth_bytes=supervision.growth_bytes,
        )

    @classmethod
    def for_guard(cls, settings: Settings) -> HealthLimits:
        """boot's limits for the guard, whose heartbeat may be late by one round of checks."""
        others = cls.from_settings(settings)
        return cls(
            silent_seconds=others.silent_seconds + others.max_step_seconds,
            load_seconds=GUARD_START_SECONDS,
            max_step_seconds=others.max_step_seconds,
        )


def is_permanent(error: ApplianceError | None) -> bool:
    """Whether a program that reported this error would fail with the same error again."""
    return error is not None and not isinstance(error, ModelUnhealthy)


@dataclass(slots=True)
class MissedChecks:
    """How long a process has gone without answering a health check; 0 while it answers."""

    seconds: float = 0.0
    misses: int = 0
    ever_answered: bool = False

    def record(self, responded: bool, step_seconds: float) -> None:
        """Add the result of a health check; `step_seconds` is the time since the previous one."""
        self.ever_answered |= responded
        self.seconds = 0.0 if responded else self.seconds + step_seconds
        self.misses = 0 if responded else self.misses + 1

    def exceeds(self, limit_seconds: float) -> bool:
        """Whether the process has been unresponsive for at least `limit_seconds`."""
        return self.misses >= MIN_MISSES and self.seconds >= limit_seconds


class MemoryGrowth:
    """Detects a leak: the memory floor rises in every slice of the window, and enough in total.

    The floor of a slice is its lowest value, so load that comes and goes does not count.

    window_seconds  is divided into GROWTH_SLICES
    min_bytes       total rise that counts; 0 disables the check
    """

    def __init__(self, window_seconds: float, min_bytes: int) -> None:
        self._slice_seconds = window_seconds / GROWTH_SLICES
        self._min_bytes = min_bytes
        self._floors: list[int] = []  # of finished slices
        self._floor: int | None = None  # of the current slice
        self._slice_end: float | None = None

    def update(self, now: float, memory_bytes: int) -> bool:
        """Add a measurement and return whether there is a leak. `now` is a monotonic time."""
        if self._slice_end is None:
            self._slice_end = now + self._slice_seconds
        if now >= self._slice_end and self._floor is not None:
            self._floors = [*self._floors, self._floor][-GROWTH_SLICES:]
            self._floor, self._slice_end = None, now + self._slice_seconds
        self._floor = memory_bytes if self._floor is None else min(self._floor, memory_bytes)
        return self._min_bytes > 0 and len(self._floors) == GROWTH_SLICES and self._rose()

    def _rose(self) -> bool:
        pairs = zip(self._floors, self._floors[1:], strict=False)
        rise = self._floors[-1] - self._floors[0]
        return all(later > earlier for earlier, later in pairs) and rise >= self._min_bytes


@dataclass(slots=True)
class _ProcessRecord:
    """What is known about one process, from its start to its exit.

    exit_expected  a symptom was reported, or the guard is stopping the process: report nothing more
    """

    pid: int
    growth: MemoryGrowth
    age_seconds: float = 0.0
    ready: bool = False
    missed: MissedChecks = field(default_factory=MissedChecks)
    exit_expected: bool = False


class SymptomDetector:
    """Detects symptoms in successive observations and in supervisord's state changes."""

    def __init__(self, limits: HealthLimits) -> None:
        self._limits = limits
        self._records: dict[str, _ProcessRecord] = {}
        self._given_up: set[str] = set()
        self._observed_at: float | None = None

    def on_state(self, name: str, state: str, error: ApplianceError | None) -> list[Symptom]:
        """Symptoms in a state change that supervisord reported.

        `error` is what the program reported before it exited. An exit after an already reported
        symptom is ignored: the guard caused it.
        """
        if state not in ENDED:
            return []
        record = self._records.pop(name, None)
        if is_permanent(error):
            return [Symptom("refused", name, error=error)]
        if state in ("FATAL", "UNKNOWN"):
            return self._report_fatal(name)
        if record is not None and record.exit_expected:
            return []
        if error is not None:
            return [Symptom("sick", name)]
        return [Symptom("exited" if state == "EXITED" else "not_started", name)]

    def observe(self, now: float, observations: Iterable[Observation]) -> list[Symptom]:
        """Return the symptoms in the observations made at the monotonic time `now`."""
        elapsed = 0.0 if self._observed_at is None else now - self._observed_at
        step = min(elapsed, self._limits.max_step_seconds)
        self._observed_at = now
        return [
            symptom
            for observation in observations
            for symptom in self._examine(now, step, observation)
        ]

    def expect_exit(self, name: str) -> None:
        """Announce that this program is about to be stopped, so that its exit is not a symptom."""
        if name in self._records:
            self._records[name].exit_expected = True

    def _examine(self, now: float, step: float, observation: Observation) -> list[Symptom]:
        name, pid = observation.name, observation.pid
        if observation.state in ("FATAL", "UNKNOWN"):
            return self._report_fatal(name)
        if observation.state not in ALIVE or not pid or observation.responded is None:
            return []
        record = self._records.get(name)
        if record is None or record.pid != pid:
            growth = MemoryGrowth(self._limits.growth_seconds, self._limits.growth_bytes)
            record = self._records[name] = _ProcessRecord(pid, growth)
            step = 0.0
        record.age_seconds += step
        record.ready |= observation.ready
        record.missed.record(observation.responded, step)
        symptom = None if record.exit_expected else self._diagnose(now, observation, record)
        record.exit_expected |= symptom is not None
        return [symptom] if symptom else []

    def _diagnose(
        self, now: float, observation: Observation, record: _ProcessRecord
    ) -> Symptom | None:
        name = observation.name
        # An engine answers before its model is loaded, and may stop answering while it loads.
        up = record.ready if name in ENGINES else record.missed.ever_answered
        limit = self._limits.silent_seconds if up else self._limits.load_seconds
        if record.missed.exceeds(limit):
            return Symptom("silent", name, record.missed.seconds)
        if not up:
            late = record.age_seconds >= self._limits.load_seconds
            # A process that does not answer is about to be reported as silent instead.
            report = late and observation.responded
            return Symptom("not_ready", name, record.age_seconds) if report else None
        max_bytes = self._limits.memory_bytes.get(name, 0)
        leaks = record.growth.update(now, observation.memory_bytes)
        if leaks or 0 < max_bytes < observation.memory_bytes:
            return Symptom("memory", name, memory_bytes=observation.memory_bytes)
        return None

    def _report_fatal(self, name: str) -> list[Symptom]:
        """Report only once that supervisord gave up on a program: the state persists."""
        if name in self._given_up:
            return []
        self._given_up.add(name)
        return [Symptom("fatal", name)]
