"""When the sound of a reply is sent: ahead of its playing, by a fixed lead.

Pipecat sends each piece when the one before it must have been played, and whatever was late once
stays late. With eight callers on two cores every second reply then had a hole of 35 ms: each
hiccup ate of the 80 ms that the caller had in hand. Here the caller has the lead in hand, and gets
it again after a hiccup.
"""

from __future__ import annotations

from appliance.settings import Settings


def lead_seconds(settings: Settings) -> float:
    """The lead of a call's sound."""
    # In half duplex the microphone opens when the bot counts as silent: not before it is.
    return 0.0 if settings.turn.half_duplex else settings.gateway.lead_seconds


class Pace:
    """How long to wait between two pieces. Times are seconds of a clock that never falls."""

    def __init__(self, lead_seconds: float) -> None:
        self._lead_seconds = lead_seconds
        self._plays_until = 0.0

    def sent(self, seconds: float, now: float) -> float:
        """A piece of so many seconds was sent; in so many the next is due."""
        self._plays_until = max(self._plays_until, now) + seconds
        return max(0.0, self._plays_until - self._lead_seconds - now)

    def flushed(self) -> None:
        """The caller threw away what was not yet played."""
        self._plays_until = 0.0
