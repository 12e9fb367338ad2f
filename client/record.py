"""One turn as the client sees it: while it is in progress, and its final record. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from client.playback import HeardReply

CUT_OFF = ("call_dropped", "hung_up")  # outcomes of a turn that the end of the call cut off


@dataclass(frozen=True, slots=True)
class ClientTurnRecord:
    """A finished turn. Times are seconds of the call's clock; None if the event did not happen.

    heard                    the reply as it was played
    voice_to_voice_seconds   from the end of the user's speech to the first audible sample of the
                             reply, both at the client's buffer: includes the network, but not the
                             delays of microphone and loudspeaker. Negative if the bot spoke before
                             the user had finished
    stages                   seconds by stage, as measured by the server
    outcome                  the server's outcome. If there is none: answered, interrupted,
                             no_answer, unfinished (the reply never ended), call_dropped, or
                             hung_up (the bot said goodbye and ended the call)
    """

    number: int
    user_text: str = ""
    reply_text: str = ""
    heard: HeardReply = field(default_factory=HeardReply)
    speech_started_at: float | None = None
    speech_ended_at: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False
    outcome: str = ""

    @property
    def reply_pcm(self) -> bytes:
        return self.heard.pcm

    @property
    def voice_to_voice_seconds(self) -> float | None:
        if self.heard.first_audible_at is None or self.speech_ended_at is None:
            return None
        return self.heard.first_audible_at - self.speech_ended_at


@dataclass(slots=True)
class OpenTurn:
    """A turn in progress.

    A "report" is the server's message about a turn. What the bot says before the model generates is
    a notice, such as "One moment, please."; the answer follows.
    """

    number: int
    begun_at: float
    speech_started_at: float | None
    speech_ended_at: float | None
    changed_at: float  # time of the last event in the turn
    user_texts: list[str] = field(default_factory=list)
    generated: str = ""  # text as the model generated it
    spoken: list[str] = field(default_factory=list)  # sentences as they were spoken
    server_user_texts: list[str] = field(default_factory=list)
    server_reply: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    outcome: str = ""
    is_reported: bool = False  # the server's report arrived
    reported_interrupted: bool = False  # the report said that the turn was interrupted
    has_audio: bool = False
    bot_speaking: bool = False
    start_unconfirmed: bool = False  # the server awaits playback-started for this start of speech
    generating: bool = False
    has_generated: bool = False  # the model began to answer
    synthesizing: bool = False
    interrupted: bool = False
    closed_at: float | None = None  # closed by an interruption; only the report is missing
    heard: HeardReply = field(default_factory=HeardReply)

    @property
    def awaits_answer(self) -> bool:
        """Whether the bot has not answered the user yet; a notice does not count."""
        return self.speech_ended_at is not None and not self.has_generated

    @property
    def has_reply(self) -> bool:
        return self.has_audio or bool(self.generated or self.spoken or self.server_reply)

    def restart_reply(self) -> None:
        """Discard the reply, because the user continued to speak."""
        self.generated, self.spoken, self.has_generated = "", [], False
        self.has_audio = self.bot_speaking = self.generating = self.synthesizing = False
        self.start_unconfirmed = False

    def continue_user_speech(self) -> None:
        """Discard a report about only part of the user's speech, such as a preceding cough."""
        if not self.has_reply or self.reported_interrupted:
            self.is_reported = self.reported_interrupted = False
            self.outcome = ""

    def join(self) -> None:
        """Discard the user's words: the next turn repeats them, and the answer is to both."""
        self.user_texts.clear()
        if self.closed_at is not None:
            self.generated, self.spoken = "", []
            self.is_reported, self.interrupted, self.outcome = True, False, "joined"

    def record(self, outcome: str = "") -> ClientTurnRecord:
        """The final record; `outcome` overrides the server's."""
        spoken = " ".join(self.spoken)
        generated = self.generated.strip()
        fallback = spoken or generated if self.interrupted else generated or spoken
        default = "interrupted" if self.interrupted else "answered"
        return ClientTurnRecord(
            number=self.number,
            user_text=" ".join(self.server_user_texts or self.user_texts),
            reply_text=self.server_reply or fallback,
            heard=self.heard,
            speech_started_at=self.speech_started_at,
            speech_ended_at=self.speech_ended_at,
            stages=self.stages,
            interrupted=self.interrupted,
            outcome=outcome or self.outcome or (default if self.has_reply else "no_answer"),
        )
