"""The timeline and outcome of each turn of a session. No I/O: the time is an argument.

The main figure of a turn is its response latency: from the true end of the user's speech to the
first sample of the reply sent. The detector reports the end of speech with a known delay, so a mark
may be set in the past. The stages are the differences between consecutive marks, so they always add
up to the response latency. The wait for the first token is split into two stages: "hearing", which
is the time that the engine reports for processing the speech, and "first_token", the rest.

The client can also report when the reply has become audible. This gives the heard latency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from appliance.journal_fields import STAGES

# A playback report is ignored if it comes later than this after the first sample was sent.
HEARD_WITHIN_SECONDS = 10.0
MARKS = ("speech_stopped", "submitted", "first_token", "first_phrase", "first_audio", "sent")
_STAGE_BEFORE = {
    "submitted": "end_of_turn",
    "first_token": "first_token",
    "first_phrase": "first_phrase",
    "first_audio": "synthesis",
    "sent": "transport",
}


@dataclass(slots=True)
class TurnRecord:
    """One turn. Times are in seconds of a monotonic clock. Texts must not be logged.

    number      counts from 1 in each session; 0 for speech that was too short to be a turn
    kind        "spoken" or "typed"
    ended_by    what ended a spoken turn, one of metrics.TURN_ENDS; "" for a typed turn
    outcome     one of metrics.TURN_OUTCOMES once the turn is complete
    replaces    number of the turn whose question is the beginning of this one's
    marks       time of each event, by a name of MARKS
    stats       measurements of the engine
    heard_at    time of the client's report that the reply is audible
    pauses      how often the bot paused for a voice that was not an interruption
    speculation_seconds  how long before the end of the turn its reply was begun, if it was
    """

    number: int
    kind: str
    ended_by: str = ""
    outcome: str = ""
    interrupted: bool = False
    replaces: int | None = None
    user_text: str = ""
    reply_text: str = ""
    speech_seconds: float = 0.0
    marks: dict[str, float] = field(default_factory=dict)
    stats: dict[str, float] = field(default_factory=dict)
    heard_at: float | None = None
    pauses: int = 0
    speculation_seconds: float | None = None

    @property
    def response_seconds(self) -> float | None:
        """The response latency, or None if no audio of a reply was sent."""
        return self._since_speech(self.marks.get("sent"))

    @property
    def heard_seconds(self) -> float | None:
        """The heard latency, or None if the client did not report playback."""
        return self._since_speech(self.heard_at)

    def _since_speech(self, timestamp: float | None) -> float | None:
        if timestamp is None:
            return None
        return timestamp - self.marks.get("speech_stopped", self.marks["submitted"])

    def stages(self) -> dict[str, float]:
        """Return the seconds of each stage, in order.

        If a mark is missing, its stage is part of the next one.
        """
        reached = [(name, self.marks[name]) for name in MARKS if name in self.marks]
        stages: dict[str, float] = {}
        for (_, start), (name, end) in pairwise(reached):
            stages[_STAGE_BEFORE[name]] = end - start
        if "first_token" in stages:
            hearing = self.stats.get("hearing_seconds", 0.0)
            stages["hearing"] = min(max(0.0, hearing), stages["first_token"])
            stages["first_token"] -= stages["hearing"]
        return {name: stages[name] for name in STAGES if name in stages}


class TurnRecorder:
    """Builds the records of one session's turns from its events.

    A method that can complete a turn returns the completed turn, or None.

    A user who goes on before any of the reply was heard does not interrupt the bot: the turn had
    ended too early. Its question is joined with the next one, and its outcome is "joined". Whether
    that is so is known only when the next turn is submitted.
    """

    def __init__(self) -> None:
        self._count = 0
        self._open: TurnRecord | None = None
        self._latest: TurnRecord | None = None  # open or complete; not one without words
        self._earlier: TurnRecord | None = None  # the latest one before it
        self._generated = False
        self._skipped = False  # a phrase of the reply could not be spoken
        self._spoke = False  # the user has spoken since the latest turn was submitted
        self._cut_off = False  # the user speaks again, and has heard nothing of the reply
        self._speech_stopped_at: float | None = None
        self._ended_by = "timeout"

    def speech_stopped(self, timestamp: float) -> None:
        """Note that the user stopped speaking. The turn may still continue."""
        self._speech_stopped_at = timestamp
        self._spoke = True

    def turn_ended_by(self, detector: str) -> None:
        """Note what detected the end of the turn that `turn_submitted` reports next."""
        self._ended_by = detector

    def turn_submitted(
        self, kind: str, timestamp: float, speech_seconds: float = 0.0, joined: bool = False
    ) -> TurnRecord | None:
        """Open a turn that waits for a reply. Complete the previous turn if it is still open.

        `joined`: the question of the previous turn is the beginning of this one's. If the user has
        not spoken since, a noise had interrupted it, and what ended the previous turn counts again.
        """
        replaced = self._latest if joined else None
        if joined and self._open is not None:
            self._cut_off = False
            previous = self._complete("joined")
        else:
            previous = self._complete(self._played_outcome if self._generated else "interrupted")
        self._count += 1
        self._earlier = self._latest
        self._open = self._latest = TurnRecord(
            self._count,
            kind,
            speech_seconds=speech_seconds,
            replaces=replaced.number if replaced is not None else None,
        )
        if kind == "spoken":
            self._open.ended_by = self._ended_by
            if replaced is not None and not self._spoke:
                self._open.ended_by = replaced.ended_by
            if self._speech_stopped_at is not None:
                self._open.marks["speech_stopped"] = self._speech_stopped_at
        self._open.marks["submitted"] = timestamp
        self._generated = self._skipped = self._spoke = False
        self._ended_by = "timeout"
        return previous

    def speculation_taken(self, seconds: float) -> None:
        """Note that the reply was begun that long before the turn ended."""
        if self._open is not None:
            self._open.speculation_seconds = seconds

    def pause_continued(self) -> None:
        """Note that the bot has paused during the open turn, and gone on."""
        if self._open is not None:
            self._open.pauses += 1

    def mark(self, name: str, timestamp: float) -> None:
        """Set a mark of MARKS unless it is already set. Clear all later marks.

        Later marks are set already if a hold message was played before the reply.
        """
        if self._open is None or name in self._open.marks:
            return
        for later in MARKS[MARKS.index(name) :]:
            self._open.marks.pop(later, None)
        self._open.heard_at = None
        self._open.marks[name] = timestamp

    def playback_started(self, timestamp: float) -> TurnRecord | None:
        """Note the client's report that the reply is audible. Return its turn if it was complete.

        Only the first report about a sent reply counts. A report needs no turn number: unless the
        reply was cut off, it arrives before the user's next turn.
        """
        turn = self._latest
        if turn is None or turn.heard_at is not None or "sent" not in turn.marks:
            return None
        if timestamp - turn.marks["sent"] > HEARD_WITHIN_SECONDS:
            return None
        turn.heard_at = timestamp
        return None if turn is self._open else turn

    def generated(self, stats: Mapping[str, float]) -> None:
        """Note that the text of the reply is complete."""
        if self._open is not None:
            self._generated = True
            self._open.stats = dict(stats)

    def phrase_skipped(self) -> None:
        """Note that a phrase of the reply could not be spoken, because the engine was lost."""
        self._skipped = True

    def transcribed(self, text: str) -> None:
        """Note the transcript of the user's speech."""
        if self._open is not None:
            self._open.user_text = text

    def heard(self, text: str, interrupted: bool) -> TurnRecord | None:
        """Note the heard text of a reply, which was played to its end or cut off."""
        if self._open is None:
            return None
        self._open.reply_text = f"{self._open.reply_text} {text}".strip()
        if interrupted and not self._open.reply_text:
            self._cut_off, self._generated = True, False
            return None
        if interrupted:
            self._open.interrupted = True
            return self._complete("interrupted")
        return self._complete(self._played_outcome) if self._generated else None

    @property
    def _played_outcome(self) -> str:
        """The outcome of a reply that was played to its end: "failed" if none could be spoken."""
        unspoken = self._skipped and self._open is not None and not self._open.reply_text
        return "failed" if unspoken else "answered"

    @property
    def cut_off(self) -> bool:
        """Whether it is not known yet if the user interrupts the bot or goes on with a question."""
        return self._cut_off

    def turn_dropped(self, outcome: str) -> TurnRecord | None:
        """Complete the open turn without a reply.

        Speech that was "too_short" never opened a turn, so the open turn stays open.
        """
        if outcome == "too_short":
            return TurnRecord(0, "spoken", ended_by=self._ended_by, outcome=outcome)
        if outcome == "nothing_heard":
            self._latest = self._earlier
        return self._complete(outcome)

    def close(self) -> TurnRecord | None:
        """Complete a turn that is still open as interrupted: the session has ended."""
        return self._complete("interrupted")

    def _complete(self, outcome: str) -> TurnRecord | None:
        turn, self._open = self._open, None
        cut_off, self._cut_off = self._cut_off, False
        if turn is not None:
            turn.outcome = outcome
            turn.interrupted |= cut_off
        return turn
