"""Interruptions: whether a voice during the bot's turn stops the bot or not. No I/O.

When the user makes a sound while the bot speaks or prepares its reply, the bot pauses at once. The
engine is asked privately for the words of the sound, and the decision follows:

- a listener's sound ("uh huh", "okay"), no words (a cough, music), or too short to be a question:
  the bot goes on, from the start of the phrase in which it paused;
- anything else, or no answer of the engine in time: a turn of the user starts, which interrupts
  the bot.

    voice       _____████████______________________      _____██████████████_______
    bot         ███████         █████████████████        ███████
    decision         pause      "uh huh": go on               pause  "what ...": turn starts

The end of the voice is passed on only after the decision, so that a turn always starts before it
ends. backchannel.py judges the words; interruption_gate.py carries the decisions out.
"""

from __future__ import annotations

from enum import Enum

from appliance.gateway.turns.backchannel import BotSpeech, is_interruption

# A voice of this length is judged before its first pause: most listener's sounds are shorter.
LONG_VOICE_SECONDS = 1.0
# The same before anything of the reply was heard: the voice mostly goes on with the question, and
# until that is known, the engines work on the reply to its first part.
CONTINUED_VOICE_SECONDS = 0.4
# The bot goes on at the latest after this long, if the voice had no words until then.
MAX_PAUSED_SECONDS = 3.0
# While the bot speaks over such a voice, the words are asked for this often.
OVERLAP_TRANSCRIPT_SECONDS = 2.0
# An engine that is idle answers in 0.1 to 0.4 s. Without an answer, the voice is an interruption.
TRANSCRIPT_SECONDS = 1.5


class VoicePhase(Enum):
    """What the user's voice counts as."""

    QUIET = "quiet"  # there is no voice
    TURN = "turn"  # a turn of the user
    UNDECIDED = "undecided"
    OVERLAP = "overlap"  # no interruption so far; the voice goes on while the bot speaks


class Action(Enum):
    """What the gate has to do, in this order."""

    PAUSE = "pause"  # pause the bot
    TRANSCRIBE = "transcribe"  # ask the engine for the words so far
    RESUME = "resume"  # the bot goes on
    INTERRUPT = "interrupt"  # the paused bot does not go on: the turn that starts interrupts it
    START_TURN = "start_turn"  # start a turn of the user, which interrupts the bot
    RELEASE = "release"  # pass on the end of the voice


class InterruptionState:
    """Decides what the user's voice is. No I/O: times are in seconds of a monotonic clock.

    phase    what the voice counts as
    paused   whether the bot is paused
    request  number of the latest TRANSCRIBE
    """

    def __init__(self) -> None:
        self.phase = VoicePhase.QUIET
        self.paused = False
        self.request = 0
        self._paused_at = 0.0
        self._voice_since = 0.0
        self._spoken_seconds = 0.0  # until the latest TRANSCRIBE
        self._judged_at = 0.0  # start of the voice, or the latest answer about it
        self._long_seconds = LONG_VOICE_SECONDS  # of voice until its words are asked for
        self._requested_at: float | None = None
        self._has_more = False  # more was said since the TRANSCRIBE that is not answered yet
        self._end_withheld = False

    @property
    def deadline(self) -> float | None:
        """When to call `tick`, if nothing else happens before."""
        if self.phase not in (VoicePhase.UNDECIDED, VoicePhase.OVERLAP):
            return None
        resume_at = self._paused_at + MAX_PAUSED_SECONDS
        return (
            min(self._transcript_deadline(), resume_at)
            if self.paused
            else self._transcript_deadline()
        )

    def voice_started(
        self, now: float, busy: bool, seconds_ago: float = 0.0, unheard: bool = False
    ) -> list[Action]:
        """Note that a voice started `seconds_ago`.

        `busy`: the bot speaks, or a reply is on its way. `unheard`: nothing of the reply was heard.
        """
        if self._end_withheld:  # the same voice goes on before it was judged
            self._end_withheld = False
            return []
        if not busy:
            self.phase = VoicePhase.TURN
            return [Action.START_TURN]
        self.phase = VoicePhase.UNDECIDED
        self.paused, self._paused_at = True, now
        self._voice_since, self._judged_at = now - seconds_ago, now
        self._long_seconds = CONTINUED_VOICE_SECONDS if unheard else LONG_VOICE_SECONDS
        self._requested_at = None
        return [Action.PAUSE]

    def voice_paused(self, now: float, seconds_ago: float = 0.0) -> list[Action]:
        """Note that the voice paused `seconds_ago`, so a word has ended."""
        self._spoken_seconds = now - seconds_ago - self._voice_since
        return (
            self._transcribe(now)
            if self.phase in (VoicePhase.UNDECIDED, VoicePhase.OVERLAP)
            else []
        )

    def voice_stopped(self, now: float) -> list[Action]:
        """Note that the voice has ended. The end is passed on with RELEASE."""
        if self._requested_at is not None:
            self._end_withheld = True
            return []
        return [*self._go_on(), *self._end()]

    def transcribed(
        self, request: int, text: str | None, said: BotSpeech, now: float
    ) -> list[Action]:
        """Note the words of the voice so far; None if the engine failed.

        `said`: what the bot has said, see `is_interruption`.
        """
        if request != self.request or self._requested_at is None:
            return []  # it came too late
        self._requested_at, self._judged_at = None, now
        self._long_seconds = LONG_VOICE_SECONDS
        if text is None or is_interruption(text, said, self._spoken_seconds):
            return self._interrupt()
        if self._has_more:
            return self._transcribe(now)
        return [*self._go_on(), *self._end()] if self._end_withheld else []

    def tick(self, now: float) -> list[Action]:
        """Do what is due at `deadline`."""
        if self.deadline is None or now < self.deadline:
            return []
        if now < self._transcript_deadline():
            return self._go_on()
        if self._requested_at is not None:
            return self._interrupt()
        self._spoken_seconds = now - self._voice_since
        return self._transcribe(now)

    def interrupted_by_text(self) -> None:
        """Note that something else interrupted the bot, such as typed text: it is not paused."""
        self.paused = False

    def _transcript_deadline(self) -> float:
        if self._requested_at is not None:
            return self._requested_at + TRANSCRIPT_SECONDS
        is_overlap = self.phase is VoicePhase.OVERLAP
        return self._judged_at + (OVERLAP_TRANSCRIPT_SECONDS if is_overlap else self._long_seconds)

    def _transcribe(self, now: float) -> list[Action]:
        self._has_more = self._requested_at is not None
        if self._has_more:
            return []  # again after the answer
        self.request += 1
        self._requested_at = now
        return [Action.TRANSCRIBE]

    def _go_on(self) -> list[Action]:
        if self.phase is VoicePhase.UNDECIDED:
            self.phase = VoicePhase.OVERLAP
        was_paused, self.paused = self.paused, False
        return [Action.RESUME] if was_paused else []

    def _interrupt(self) -> list[Action]:
        was_paused, self.paused = self.paused, False
        self.phase, self._requested_at = VoicePhase.TURN, None
        actions = [Action.INTERRUPT] if was_paused else []
        return [*actions, Action.START_TURN, *(self._end() if self._end_withheld else [])]

    def _end(self) -> list[Action]:
        self.phase, self._end_withheld = VoicePhase.QUIET, False
        return [Action.RELEASE]
