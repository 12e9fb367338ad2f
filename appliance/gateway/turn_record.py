"""The record of each turn: what came of it and where its time went; pure, times are passed in.

The headline is the time from the true end of the user's speech to the first sample of the answer
sent; beside it is kept when the client said that it was audible there. The detector reports the end
late by a known time, which is why marks may lie in the past. The stages are the differences between
consecutive marks, so they sum to the headline by construction; of the wait for the first token the
part that was hearing, as the engine reports it, is a stage of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

HEARD_WITHIN_SECONDS = 10.0  # of the first sample sent; a word later than that is no start
MARKS = ("speech_ended", "asked", "first_token", "first_phrase", "first_audio", "sent")
STAGES = ("end_of_turn", "hearing", "first_token", "first_phrase", "synthesis", "transport")
_STAGE_TO = {
    "asked": "end_of_turn",
    "first_token": "first_token",
    "first_phrase": "first_phrase",
    "first_audio": "synthesis",
    "sent": "transport",
}


@dataclass(slots=True)
class TurnRecord:
    """One turn. Texts never go into a log; times are seconds of one monotonic clock."""

    number: int
    kind: str
    ended_by: str = ""
    outcome: str = ""
    interrupted: bool = False
    user_text: str = ""
    reply_text: str = ""
    speech_seconds: float = 0.0
    marks: dict[str, float] = field(default_factory=dict)
    stats: dict[str, float] = field(default_factory=dict)
    sounded_at: float | None = None

    @property
    def response_seconds(self) -> float | None:
        """The headline, or None where nothing was answered aloud."""
        return self._since_speech(self.marks.get("sent"))

    @property
    def heard_seconds(self) -> float | None:
        """The same until the client's word that it sounds, or None where that never came."""
        return self._since_speech(self.sounded_at)

    def _since_speech(self, at: float | None) -> float | None:
        return None if at is None else at - self.marks.get("speech_ended", self.marks["asked"])

    def stages(self) -> dict[str, float]:
        """Seconds by stage; where a mark is missing its time is in the next stage there is."""
        reached = [(name, self.marks[name]) for name in MARKS if name in self.marks]
        stages: dict[str, float] = {}
        for (_, before), (name, at) in pairwise(reached):
            stages[_STAGE_TO[name]] = at - before
        if "first_token" in stages:
            hearing = self.stats.get("hearing_seconds", 0.0)
            stages["hearing"] = min(max(0.0, hearing), stages["first_token"])
            stages["first_token"] -= stages["hearing"]
        return {name: stages[name] for name in STAGES if name in stages}


class Turns:
    """Follows the turns of one session; each call may complete the open record and return it."""

    def __init__(self) -> None:
        self._count = 0
        self._open: TurnRecord | None = None
        self._last: TurnRecord | None = None  # open or complete
        self._generated = False
        self._speech_ended: float | None = None
        self._ended_by = "timeout"

    def speech_ended(self, at: float) -> None:
        """The user's speech ended, for now."""
        self._speech_ended = at

    def turn_ended_by(self, what: str) -> None:
        """Who found the end of the turn that is about to be reported."""
        self._ended_by = what

    def asked(self, kind: str, at: float, speech_seconds: float = 0.0) -> TurnRecord | None:
        """A turn wants an answer. A turn that was still open is complete."""
        before = self._complete("answered" if self._generated else "interrupted")
        self._count += 1
        self._open = self._last = TurnRecord(self._count, kind, speech_seconds=speech_seconds)
        if kind == "spoken":
            self._open.ended_by = self._ended_by
            if self._speech_ended is not None:
                self._open.marks["speech_ended"] = self._speech_ended
        self._open.marks["asked"] = at
        self._generated = False
        self._ended_by = "timeout"
        return before

    def mark(self, name: str, at: float) -> None:
        """Something of MARKS happened; only the first time counts.

        What was spoken before the answer's first token was an apology: its marks do not count.
        """
        if self._open is None or name in self._open.marks:
            return
        for later in MARKS[MARKS.index(name) :]:
            self._open.marks.pop(later, None)
        self._open.sounded_at = None
        self._open.marks[name] = at

    def sounds(self, at: float) -> TurnRecord | None:
        """The client says that the reply is audible; its record if that was complete already.

        Only the first word for a reply that was sent counts. It needs no number: on one connection
        it comes before the speech of the next turn, or it is about a reply that was cut off.
        """
        record = self._last
        if record is None or record.sounded_at is not None or "sent" not in record.marks:
            return None
        if at - record.marks["sent"] > HEARD_WITHIN_SECONDS:
            return None
        record.sounded_at = at
        return None if record is self._open else record

    def generated(self, stats: Mapping[str, float]) -> None:
        """The answer's text is complete."""
        if self._open is not None:
            self._generated = True
            self._open.stats = dict(stats)

    def understood(self, text: str) -> None:
        """What the engine understood."""
        if self._open is not None:
            self._open.user_text = text

    def heard(self, text: str, interrupted: bool) -> TurnRecord | None:
        """The answer was spoken to its end, or cut off: what the user has heard of it."""
        if self._open is None:
            return None
        self._open.reply_text = f"{self._open.reply_text} {text}".strip()
        if interrupted:
            self._open.interrupted = True
            return self._complete("interrupted")
        return self._complete("answered") if self._generated else None

    def ended(self, outcome: str) -> TurnRecord | None:
        """The turn came to nothing. `too_short` ones never wanted an answer."""
        if outcome == "too_short":
            return TurnRecord(0, "spoken", ended_by=self._ended_by, outcome=outcome)
        return self._complete(outcome)

    def close(self) -> TurnRecord | None:
        """The session ends."""
        return self._complete("interrupted")

    def _complete(self, outcome: str) -> TurnRecord | None:
        record, self._open = self._open, None
        if record is not None:
            record.outcome = outcome
        return record
