"""The guard's book: what it decided, and when each process was restarted. Pure.

The guard is a process too. It leaves the book in guard.json and goes on with it after a restart, so
that a restart of the guard is no way around the bounds. Times are of the machine's monotonic clock,
which all processes share.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.supervision.policy import Bounds, Decision, Symptom, decide


@dataclass(slots=True)
class Ledger:
    """`counts` by action and cause, the `last` decision as it is published, restarts by program."""

    bounds: Bounds
    counts: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    last: dict[str, Any] = field(default_factory=dict)
    restarts: dict[str, list[float]] = field(default_factory=dict)

    def judge(self, symptom: Symptom, now: float, unix_time: float) -> Decision:
        """Decides by the table and writes it down."""
        since = now - self.bounds.window_seconds
        times = [at for at in self.restarts.get(symptom.program, []) if at > since]
        decision = decide(symptom, len(times), self.bounds)
        if decision.action != "end_appliance":
            self.restarts[symptom.program] = [*times, now]
        self.counts[decision.action, symptom.cause] += 1
        self.last = {
            "action": decision.action,
            "cause": symptom.cause,
            "program": symptom.program,
            "restarts": decision.restarts,
            "unix_time": unix_time,
        }
        return decision

    def told(self) -> dict[str, Any]:
        """The book as it stands in guard.json."""
        return {
            "actions": [
                {"action": action, "cause": cause, "count": count}
                for (action, cause), count in sorted(self.counts.items())
            ],
            "last": self.last,
            "restarts": self.restarts,
        }

    @classmethod
    def from_told(cls, bounds: Bounds, told: Mapping[str, Any]) -> Ledger:
        """The book of the guard before this one; empty when there was none."""
        counts = {(it["action"], it["cause"]): it["count"] for it in told.get("actions", [])}
        return cls(
            bounds,
            collections.Counter(counts),
            dict(told.get("last", {})),
            {name: list(times) for name, times in told.get("restarts", {}).items()},
        )
