"""boot's eye on the guard, by the guard's own table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from appliance.settings import Settings
from appliance.supervision.bounds import bounds, guards_limits
from appliance.supervision.ledger import Ledger
from appliance.supervision.policy import Decision, Symptom
from appliance.supervision.supervisor_client import GUARD, Program
from appliance.supervision.symptoms import Sight, Symptoms
from appliance.supervision.watch import Change

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
