"""From what was seen of the processes to what is wrong with them. Pure.

Time in which nobody looked does not count: a machine that was paused, or a guard that was frozen,
must not find everybody silent. So each look adds at most `longest_step_seconds` to any age.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from appliance.errors import ApplianceError, ModelSick
from appliance.supervision.policy import ENGINES, Symptom

SLICES = 6


class Growth:
    """Judges one process, from the moment on at which it had all that it needs.

    window_seconds   over which it has to grow without a rest
    grown_bytes      by how much; 0 for never
    """

    def __init__(self, window_seconds: float, grown_bytes: int) -> None:
        self._slice_seconds = window_seconds / SLICES
        self._grown_bytes = grown_bytes
        self._floors: list[int] = []
        self._floor: int | None = None
        self._ends: float | None = None

    def grown(self, now: float, memory_bytes: int) -> bool:
        """Whether the floor has risen all through the window, and by enough. `now` is monotonic."""
        if self._ends is None:
            self._ends = now + self._slice_seconds
        if now >= self._ends and self._floor is not None:
            self._floors = [*self._floors, self._floor][-SLICES:]
            self._floor, self._ends = None, now + self._slice_seconds
        self._floor = memory_bytes if self._floor is None else min(self._floor, memory_bytes)
        return self._grown_bytes > 0 and len(self._floors) == SLICES and self._rose()

    def _rose(self) -> bool:
        steps = zip(self._floors, self._floors[1:], strict=False)
        rose = self._floors[-1] - self._floors[0]
        return all(later > earlier for earlier, later in steps) and rose >= self._grown_bytes


ALIVE = ("STARTING", "RUNNING")  # supervisord has a process, and wants it to run
ENDED = ("EXITED", "BACKOFF", "FATAL", "UNKNOWN")
MIN_MISSES = 2  # one question that got lost is not yet silence


def refuses(left: ApplianceError | None) -> bool:
    """Whether a program that left this error would end with it again."""
    return left is not None and not isinstance(left, ModelSick)


@dataclass(frozen=True, slots=True)
class Sight:
    """One program at one look.

    state        as supervisord says it
    pid          0 when there is no process
    answers      whether it answered the question for its health; None when it was not asked
    ready        whether it said that it can do its work
    memory_bytes what it and its children hold for themselves
    """

    name: str
    state: str
    pid: int = 0
    answers: bool | None = None
    ready: bool = False
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is borne, in seconds and bytes.

    silent_seconds        without an answer, of a process that had been up
    load_seconds          from the start of a process until it is up
    memory_bytes          by program; 0 or missing: no limit
    growth_seconds        window of the steady growth, and
    growth_bytes          its least size; 0: it is not looked for
    longest_step_seconds  the most that lies between two looks
    """

    silent_seconds: float
    load_seconds: float
    longest_step_seconds: float
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    growth_seconds: float = 1.0
    growth_bytes: int = 0


@dataclass(slots=True)
class Silence:
    """How long something has not answered; 0 seconds while it does."""

    seconds: float = 0.0
    misses: int = 0
    ever_answered: bool = False

    def note(self, answers: bool, step_seconds: float) -> None:
        """Adds one question, asked `step_seconds` after the one before."""
        self.ever_answered |= answers
        self.seconds = 0.0 if answers else self.seconds + step_seconds
        self.misses = 0 if answers else self.misses + 1

    def lasts(self, limit_seconds: float) -> bool:
        """Whether it has been silent for the limit."""
        return self.misses >= MIN_MISSES and self.seconds >= limit_seconds


@dataclass(slots=True)
class _Life:
    """What is known of one process, from its start to its end."""

    pid: int
    growth: Growth
    age_seconds: float = 0.0
    ready: bool = False
    silence: Silence = field(default_factory=Silence)
    found_ill: bool = False  # told once; somebody is about to end it


class Symptoms:
    """Remembers what it was shown of each program."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lives: dict[str, _Life] = {}
        self._given_up: set[str] = set()
        self._looked_at: float | None = None

    def told(self, name: str, state: str, left: ApplianceError | None) -> list[Symptom]:
        """What it means that supervisord told of a program's new state.

        `left` is the error with which the program said that it ends. The end of a process that was
        found ill before is what was wanted, and no symptom.
        """
        if state not in ENDED:
            return []
        life = self._lives.pop(name, None)
        if refuses(left):
            return [Symptom("refused", name, error=left)]
        if state in ("FATAL", "UNKNOWN"):
            return self._give_up(name)
        if life is not None and life.found_ill:
            return []
        if left is not None:
            return [Symptom("sick", name)]
        return [Symptom("exited" if state == "EXITED" else "not_started", name)]

    def look(self, now: float, sights: Iterable[Sight]) -> list[Symptom]:
        """What is wrong by what was seen just now; `now` is monotonic."""
        past = 0.0 if self._looked_at is None else now - self._looked_at
        step = min(past, self._limits.longest_step_seconds)
        self._looked_at = now
        return [found for sight in sights for found in self._examine(now, step, sight)]

    def expect_end(self, name: str) -> None:
        """Somebody is about to end this program: that is no symptom of its own."""
        if name in self._lives:
            self._lives[name].found_ill = True

    def _examine(self, now: float, step: float, sight: Sight) -> list[Symptom]:
        if sight.state in ("FATAL", "UNKNOWN"):
            return self._give_up(sight.name)
        if sight.state not in ALIVE or not sight.pid or sight.answers is None:
            return []
        life = self._lives.get(sight.name)
        if life is None or life.pid != sight.pid:
            growth = Growth(self._limits.growth_seconds, self._limits.growth_bytes)
            life = self._lives[sight.name] = _Life(sight.pid, growth)
            step = 0.0
        life.age_seconds += step
        life.ready |= sight.ready
        life.silence.note(sight.answers, step)
        symptom = None if life.found_ill else self._symptom(now, sight, life)
        life.found_ill |= symptom is not None
        return [symptom] if symptom else []

    def _symptom(self, now: float, sight: Sight, life: _Life) -> Symptom | None:
        # An engine answers before its model is loaded, and may hold its breath while it loads.
        up = life.ready if sight.name in ENGINES else life.silence.ever_answered
        limit = self._limits.silent_seconds if up else self._limits.load_seconds
        if life.silence.lasts(limit):
            return Symptom("silent", sight.name, life.silence.seconds)
        if not up:
            late = life.age_seconds >= self._limits.load_seconds
            cause_known = not sight.answers  # it is about to be found silent
            return (
                Symptom("not_ready", sight.name, life.age_seconds)
                if late and not cause_known
                else None
            )
        most = self._limits.memory_bytes.get(sight.name, 0)
        grown = life.growth.grown(now, sight.memory_bytes)
        if grown or 0 < most < sight.memory_bytes:
            return Symptom("memory", sight.name, memory_bytes=sight.memory_bytes)
        return None

    def _give_up(self, name: str) -> list[Symptom]:
        """Once: supervisord tells it, and every look shows it."""
        if name in self._given_up:
            return []
        self._given_up.add(name)
        return [Symptom("fatal", name)]
