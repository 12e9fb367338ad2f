"""What changed between two looks at the programs: starts, ends, and one that will not stay up.

Pure: it is given what supervisord said and tells what that means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from appliance.supervision.supervisor_client import Program


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a program between two looks."""

    kind: Literal["started", "restarted", "running", "ended", "gave_up"]
    program: Program


class Watch:
    """Compares looks and counts the restarts of each program.

    Starts are told apart by supervisord's start time and the pid, so a program that died and came
    back between two looks is noticed. Looks a second apart miss none, since supervisord waits a
    second or more before it tries again what did not stay up.
    """

    def __init__(self, programs: Iterable[str]) -> None:
        self.restarts = dict.fromkeys(programs, 0)
        self._last: dict[str, Program] = {}

    def look(self, programs: Iterable[Program]) -> list[Change]:
        """What changed since the last look."""
        changes: list[Change] = []
        for now in programs:
            before = self._last.get(now.name, Program(now.name, "STOPPED", 0, 0))
            changes.extend(self._changes(before, now))
            self._last[now.name] = now
        return changes

    def _changes(self, before: Program, now: Program) -> Iterable[Change]:
        other_pid = before.pid != 0 and now.pid != 0 and before.pid != now.pid
        if now.started and (now.started != before.started or other_pid):
            again = before.started != 0
            self.restarts[now.name] = self.restarts.get(now.name, 0) + again
            yield Change("restarted" if again else "started", now)
        if now.state == before.state:
            return
        if now.state == "RUNNING":
            yield Change("running", now)
        if now.state in ("BACKOFF", "EXITED"):
            yield Change("ended", now)
        if now.state in ("FATAL", "UNKNOWN"):
            yield Change("gave_up", now)
