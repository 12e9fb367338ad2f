"""One turn: as it grows, and the record that is left of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from client.playback import Heard


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One finished turn. Times are seconds of the call's clock; None where it did not happen.

    voice_to_voice_seconds   true end of the user's speech until the first audible sample of the
                             reply was played; negative if the bot spoke before the user was done
    stages                   seconds by stage, as the server measured them
    outcome                  the server's word for how it ended, else answered, interrupted,
                             no_answer, unfinished (the reply never ended) or broke_off
    """

    number: int
    user_text: str = ""
    reply_text: str = ""
    heard: Heard = field(default_factory=Heard)
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
    """A turn that is still going on."""

    number: int
    begun_at: float
    speech_started_at: float | None
    speech_ended_at: float | None
    changed_at: float
    user_texts: list[str] = field(default_factory=list)
    generated: str = ""  # text as the model produced it
    spoken: list[str] = field(default_factory=list)  # sentences as they were spoken
    server_user_texts: list[str] = field(default_factory=list)
    server_reply: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    outcome: str = ""
    told: bool = False  # the server's turn message came
    told_interrupted: bool = False
    has_audio: bool = False
    bot_speaking: bool = False
    start_untold: bool = False  # the server hears nothing yet of this start of the bot's speech
    generating: bool = False
    begun: bool = False  # the model began to answer; what is said before asks for patience
    synthesizing: bool = False
    interrupted: bool = False
    cut_at: float | None = None  # closed by an interruption, waits for its turn message only
    heard: Heard = field(default_factory=Heard)

    @property
    def put_off(self) -> bool:
        """The user asked, and the bot said something that is not the model's answer."""
        return self.speech_ended_at is not None and not self.begun

    @property
    def answered(self) -> bool:
        return self.has_audio or bool(self.generated or self.spoken or self.server_reply)

    def begin_reply_again(self) -> None:
        self.generated, self.spoken, self.begun = "", [], False
        self.has_audio = self.bot_speaking = self.generating = self.synthesizing = False
        self.start_untold = False

    def user_goes_on(self) -> None:
        """What the server said of this turn was about a part of it, such as a cough before it."""
        if not self.answered or self.told_interrupted:
            self.told = self.told_interrupted = False
            self.outcome = ""

    def record(self, outcome: str = "") -> TurnRecord:
        spoken = " ".join(self.spoken)
        generated = self.generated.strip()
        fallback = spoken or generated if self.interrupted else generated or spoken
        default = "interrupted" if self.interrupted else "answered"
        return TurnRecord(
            number=self.number,
            user_text=" ".join(self.server_user_texts or self.user_texts),
            reply_text=self.server_reply or fallback,
            heard=self.heard,
            speech_started_at=self.speech_started_at,
            speech_ended_at=self.speech_ended_at,
            stages=self.stages,
            interrupted=self.interrupted,
            outcome=outcome or self.outcome or (default if self.answered else "no_answer"),
        )
