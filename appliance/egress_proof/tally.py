"""Counts of the packets that the watcher has seen, as JSON values. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from appliance.egress_proof.packets import Destination

MAX_DESTINATIONS = 200  # distinct ones in a record; the packets to others are only counted


@dataclass(slots=True)
class Seen:
    """How many packets went to one destination, and when the first did (epoch seconds)."""

    first: float
    packets: int = 0


@dataclass(slots=True)
class Tally:
    """The packets since the last record.

    loopback   packets that stay in the namespace
    leaving    packets that would have left it, by destination
    more       packets to further destinations than MAX_DESTINATIONS
    """

    loopback: int = 0
    leaving: dict[Destination, Seen] = field(default_factory=dict)
    more: int = 0

    def add(self, to: Destination, now: float) -> None:
        """Count a packet that was seen at `now` (epoch seconds)."""
        if to.stays_here:
            self.loopback += 1
        elif to in self.leaving or len(self.leaving) < MAX_DESTINATIONS:
            self.leaving.setdefault(to, Seen(now)).packets += 1
        else:
            self.more += 1

    def take(self, now: float) -> dict[str, Any] | None:
        """Return the record of what was counted, and start again; None if nothing was."""
        if not (self.loopback or self.leaving or self.more):
            return None
        record = {
            "kind": "packets",
            "time": round(now, 3),
            "loopback": self.loopback,
            "leaving": [
                {
                    "first": round(seen.first, 3),
                    "packets": seen.packets,
                    "protocol": to.protocol,
                    "address": to.address,
                    "port": to.port,
                    "name": to.name,
                }
                for to, seen in self.leaving.items()
            ],
            "more": self.more,
        }
        self.loopback, self.leaving, self.more = 0, {}, 0
        return record
