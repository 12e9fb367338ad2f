"""Endpointing: how much silence ends the user's turn. No I/O.

`EndpointingPolicy` decides at a pause, from what is known then: smart-turn's probability that the
turn is complete, the pace of the speech, and the words, where a recognizer has them. `Endpointer`
follows one session's speech and applies the policy. Time is counted in audio: `audio_received`
advances it. The same audio therefore ends at the same sample in a test, in `make voices` and in a
call, however busy the machine is.

    speech     ██████████____________███████___________________________
                         |  |        |      |  |                       |
                    paused  verdict  resumed   verdict: wait           ended

The constants were chosen with `make voices`; docs/turn-taking.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from appliance.settings import TurnConfig

Reason = Literal["smart_turn", "pace", "words", "fallback"]  # of metrics.TURN_ENDS

COMPLETE_PROBABILITY = 0.5  # smart-turn's own threshold
SURE_PROBABILITY = 0.9  # an early verdict is kept from here up, and from 1 - this down
SHORT_BURST_SECONDS = 1.0  # a dictated digit, letter, name of a day; a sentence is longer
STACCATO_BURSTS = 2  # this many short bursts in a row are dictation
SURELY_INCOMPLETE = 0.03  # below this, a first short burst is the beginning of a sentence
FIRST_WORD_PROBABILITY = 0.9  # below this, a first short burst may be the first of a dictation
CARRIED_SECONDS = 2.5  # a turn that begins this soon after another may continue its dictation
FADED_VOICE_SECONDS = 0.1  # voice this long, too short for speech, restarts the silence


@dataclass(frozen=True, slots=True)
class Pause:
    """What is known of a turn when the user pauses.

    bursts       seconds of speech between the pauses of the turn, oldest first
    probability  smart-turn's probability that the turn is complete; None before its verdict
    words        transcript of the turn so far; None if unknown
    """

    bursts: Sequence[float]
    probability: float | None = None
    words: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The turn ends after `silence_seconds` of silence since the latest speech.

    reason  smart_turn  the model considers the turn complete
            pace        the speech was short, or dictated word by word
            words       the words at the pause decided
            fallback    the model considers the turn incomplete, or has no verdict
    """

    silence_seconds: float
    reason: Reason


class Policy(Protocol):
    """Decides how long the silence at a pause has to be."""

    def verdict(self, pause: Pause) -> Verdict:
        """Return the silence that ends the turn if nothing more is heard."""

    def keeps(self, probability: float) -> bool:
        """Return whether a probability from the beginning of a pause needs no second look."""


class EndpointingPolicy:
    """The appliance's policy. `TurnConfig` has the lengths of silence."""

    def __init__(self, config: TurnConfig) -> None:
        self._config = config

    def keeps(self, probability: float) -> bool:
        """Return whether smart-turn is sure at the beginning of a pause."""
        return not 1 - SURE_PROBABILITY < probability < SURE_PROBABILITY

    def verdict(self, pause: Pause) -> Verdict:
        """Return the silence that ends the turn if nothing more is heard."""
        config, probability, words = self._config, pause.probability, pause.words
        if words is not None and ends_in_dictation(words):
            return Verdict(config.dictation_stop_seconds, "words")
        if probability is None:
            return Verdict(config.incomplete_stop_seconds, "fallback")
        complete = probability > COMPLETE_PROBABILITY
        if words is not None and complete:
            return Verdict(config.vad_stop_seconds, "smart_turn")
        if words is not None and ends_in_question(words):
            return Verdict(config.short_stop_seconds, "words")
        if is_staccato(pause.bursts):
            if complete:
                return Verdict(config.staccato_stop_seconds, "pace")
            return Verdict(config.dictation_stop_seconds, "pace")
        short = len(pause.bursts) == 1 and pause.bursts[0] < SHORT_BURST_SECONDS
        if short and SURELY_INCOMPLETE < probability < FIRST_WORD_PROBABILITY:
            return Verdict(config.short_stop_seconds, "pace")
        if complete:
            return Verdict(config.vad_stop_seconds, "smart_turn")
        return Verdict(config.incomplete_stop_seconds, "fallback")


def trailing_short(bursts: Sequence[float]) -> Sequence[float]:
    """Return the short bursts at the end."""
    count = 0
    while count < len(bursts) and bursts[-1 - count] < SHORT_BURST_SECONDS:
        count += 1
    return bursts[len(bursts) - count :]


def is_staccato(bursts: Sequence[float]) -> bool:
    """Return whether the latest bursts are short, as in dictated digits, letters or lists."""
    latest = bursts[-STACCATO_BURSTS:]
    return len(latest) == STACCATO_BURSTS and max(latest) < SHORT_BURST_SECONDS


_DICTATED = re.compile(
    r"(?:\d|\b(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|double|triple|dash|dot"
    r"|(?<!')[b-hj-z]))[\s.,;:-]*$",
    re.IGNORECASE,
)


def ends_in_dictation(words: str) -> bool:
    """Return whether the words end in a digit, a number or a single letter."""
    return _DICTATED.search(words) is not None


def ends_in_question(words: str) -> bool:
    """Return whether the recognizer heard a question at the end."""
    return words.rstrip().endswith("?")


@dataclass(slots=True)
class Endpointer:
    """Follows the speech of one session and tells when the turn has ended. Times are in seconds.

    The caller reports events in the order of the audio, asks `wanted_look` after each and `ended`
    after each. Once the turn has ended, `reset` prepares for the next one.
    """

    policy: Policy
    last_resort_seconds: float  # silence that ends a turn for which smart-turn gives no verdict
    clock: float = 0.0
    started_at: float | None = None  # of the turn's first speech
    _speech_since: float | None = None  # while the user speaks
    _silent_since: float | None = None  # in a pause
    _voice_since: float | None = None  # since something that may become speech has begun
    _bursts: list[float] = field(default_factory=list)
    _last_speech_at: float = -CARRIED_SECONDS
    _probability: float | None = None
    _words: str | None = None
    _pause: int = 0  # number of the pause
    _look_wanted: bool = False
    _stopped: bool = False  # the pause has lasted `vad_stop_seconds`
    _look_is_final: bool = False  # the latest look began after that
    _decided: bool = False  # smart-turn will not be asked again at this pause

    def audio_received(self, seconds: float) -> None:
        """Advance the clock by audio that has arrived, or by the silence that replaces it."""
        self.clock += seconds

    def speech_started(self, seconds_ago: float) -> None:
        """The user speaks, since `seconds_ago`."""
        self._voice_since = None
        self._resume(self.clock - seconds_ago)
        if self.started_at is None:
            self.started_at = self.clock - seconds_ago
            if self.started_at - self._last_speech_at > CARRIED_SECONDS:
                self._bursts.clear()

    def speech_resumed(self) -> None:
        """The user speaks again after a pause that was too short to be reported as a stop."""
        self._resume(self.clock)

    def speech_paused(self, silence_seconds: float) -> None:
        """The user has been silent for `silence_seconds`."""
        if self._speech_since is None:
            return
        self._silent_since = self._last_speech_at = self.clock - silence_seconds
        self._bursts.append(max(0.0, self._silent_since - self._speech_since))
        self._speech_since = None
        self._probability = self._words = None
        self._pause += 1
        self._look_wanted, self._stopped, self._decided = True, False, False

    def speech_stopped(self) -> None:
        """The silence is long enough for smart-turn's final verdict."""
        if self._silent_since is None:
            return
        self._stopped = True
        if self._probability is not None and not self._decided:
            self._look_wanted = True

    def voice_began(self) -> None:
        """Something that may become speech has begun. The turn does not end meanwhile."""
        self._voice_since = self.clock

    def voice_faded(self) -> None:
        """What has begun was too short for speech."""
        since, self._voice_since = self._voice_since, None
        if since is None or self._silent_since is None:
            return
        if self.clock - since >= FADED_VOICE_SECONDS:
            self._silent_since = self.clock

    def wanted_look(self) -> int | None:
        """Return the number of the pause if smart-turn has to judge it now, else None."""
        if not self._look_wanted:
            return None
        self._look_wanted, self._look_is_final = False, self._stopped
        return self._pause

    def judged(self, pause: int, probability: float) -> None:
        """Note smart-turn's probability at a pause.

        A look at the beginning of the pause is repeated after `vad_stop_seconds` of silence,
        unless the policy keeps its result.
        """
        if pause != self._pause or self._silent_since is None:
            return
        self._probability = probability
        self._decided = self._look_is_final or self.policy.keeps(probability)
        self._look_wanted = self._stopped and not self._decided

    def words_heard(self, words: str) -> None:
        """Note the transcript of the turn at the current pause."""
        if self._silent_since is not None:
            self._words = words

    @property
    def silence_seconds(self) -> float:
        """Return the length of the current pause; 0 while the user speaks."""
        return 0.0 if self._silent_since is None else self.clock - self._silent_since

    @property
    def speaking(self) -> bool:
        """Return whether the user speaks, or a turn's speech waits for its end."""
        return self._speech_since is not None or self._silent_since is not None

    def ended(self) -> Reason | None:
        """Return why the turn has ended, or None while it goes on."""
        if self._silent_since is None or not self._stopped or self._voice_since is not None:
            return None
        silence = self.silence_seconds
        if not self._decided and silence < self.last_resort_seconds:
            return None
        verdict = self.policy.verdict(Pause(self._bursts, self._probability, self._words))
        return verdict.reason if silence >= verdict.silence_seconds else None

    def reset(self) -> None:
        """Prepare for the next turn. A pause that began before is forgotten.

        Short bursts at the end are kept for a while: if a dictated number was cut, the rest of it
        comes soon, and its pace is already known.
        """
        self.started_at = self._speech_since = self._silent_since = None
        self._voice_since = None
        self._look_wanted = self._stopped = self._decided = False
        self._bursts = [*trailing_short(self._bursts)]
        self._probability = self._words = None
        self._pause += 1

    def _resume(self, since: float) -> None:
        self._look_wanted = False
        self._silent_since = None
        if self._speech_since is None:
            self._speech_since = since
