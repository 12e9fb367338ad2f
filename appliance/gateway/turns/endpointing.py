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

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from appliance.gateway.turns.turn_words import (
    count_words,
    dictated_words,
    ends_sentence,
    is_answer,
    is_list_item,
    is_one_character,
)
from appliance.settings import TurnConfig

Reason = Literal["smart_turn", "pace", "words", "fallback"]  # of metrics.TURN_ENDS

COMPLETE_PROBABILITY = 0.5  # smart-turn's own threshold
SURE_PROBABILITY = 0.85  # an early verdict is final above this, and below 1 - this
STACCATO_SECONDS = 1.2  # a dictated digit, letter, name of a day; most sentences are longer
STACCATO_BURSTS = 2  # this many short bursts in a row are dictation
STACCATO_PROBABILITY = 0.9  # in dictation, and at a comma, smart-turn has to be this sure
WORD_SECONDS = 0.8  # a shorter first word may be "yes", or the first of many digits
WORD_PROBABILITY = 0.96  # above this, such a word is an answer
SHORT_SECONDS = 1.0  # a shorter first utterance is an answer such as "goodbye"
BROKEN_OFF_PROBABILITY = 0.03  # below this, it is the beginning of a sentence instead
UNFINISHED_PROBABILITY = 0.1  # below this, a longer utterance goes on
FLUENT_WORDS = 2  # words in a burst from which it is a sentence; dictation has one
# Voice that never pauses is not a caller but a television, or babble. After this it counts as
# silence until it pauses, and a turn that has lasted this long ends at its next pause. By default,
# audio beyond it is not heard anyway (`llm.max_utterance_seconds`).
LONGEST_TURN_SECONDS = 60.0
CARRIED_SECONDS = 1.5  # speech that follows a turn within this continues its pace
# A shorter silence is a part of a burst. A speculation begins earlier, but with shorter pauses,
# letters were cut twice as often, and smart-turn was sure less often. Where a recognizer has words,
# they make up for that, so smart-turn is asked earlier: while the recognizer runs, which leaves a
# core free. Later, it would slow the language model down.
PAUSE_SECONDS = 0.12
FADED_VOICE_SECONDS = 0.07  # voice this long, too short for speech, is a burst within a turn


@dataclass(frozen=True, slots=True)
class Pause:
    """What is known of a turn when the user pauses.

    bursts          seconds of speech between the pauses, oldest first; those of the turn before
                    count, too, if this one followed within `CARRIED_SECONDS`
    probability     smart-turn's probability that the turn is complete; None before its verdict
    words           transcript of the turn so far; None if unknown, empty if nothing was understood
    words_expected  the engine has sent words before
    """

    bursts: Sequence[float]
    probability: float | None = None
    words: str | None = None
    words_expected: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The turn ends after `silence_seconds` of silence since the latest speech.

    reason  smart_turn  the model considers the turn complete
            pace        the speech was short, or dictated word by word
            words       the words at the pause decided
            fallback    the model considers the turn incomplete, or has no verdict; or the turn has
                        lasted LONGEST_TURN_SECONDS
    """

    silence_seconds: float
    reason: Reason


class Policy(Protocol):
    """Decides how long the silence at a pause has to be."""

    def verdict(self, pause: Pause) -> Verdict:
        """Return the silence that ends the turn if nothing more is heard."""

    def is_sure(self, probability: float) -> bool:
        """Return whether a prediction at the beginning of a pause needs no second one."""


class EndpointingPolicy:
    """The appliance's policy. `TurnConfig` has the lengths of silence."""

    def __init__(self, config: TurnConfig) -> None:
        self._config = config

    def is_sure(self, probability: float) -> bool:
        """Return whether smart-turn is sure at the beginning of a pause."""
        return not 1 - SURE_PROBABILITY < probability < SURE_PROBABILITY

    def verdict(self, pause: Pause) -> Verdict:
        """Return the silence that ends the turn if nothing more is heard."""
        verdict = self._without_words(pause)
        if pause.words is not None:
            return self._with_words(pause, pause.words, verdict)
        if pause.words_expected and verdict.reason == "smart_turn" and is_word(pause.bursts):
            return Verdict(self._config.words_stop_seconds, "smart_turn")
        return verdict

    def _without_words(self, pause: Pause) -> Verdict:
        config, bursts, probability = self._config, pause.bursts, pause.probability
        if probability is None:
            return Verdict(config.incomplete_stop_seconds, "fallback")
        if is_staccato(bursts):
            if probability < STACCATO_PROBABILITY:
                return Verdict(config.dictation_stop_seconds, "pace")
            return Verdict(config.staccato_stop_seconds, "pace")
        if is_word(bursts) and probability < WORD_PROBABILITY:
            return Verdict(config.short_stop_seconds, "pace")
        if probability > COMPLETE_PROBABILITY:
            return Verdict(config.vad_stop_seconds, "smart_turn")
        if is_short_answer(bursts, probability):
            return Verdict(config.short_stop_seconds, "pace")
        if probability >= UNFINISHED_PROBABILITY:
            return Verdict(config.short_stop_seconds, "fallback")
        return Verdict(config.incomplete_stop_seconds, "fallback")

    def _with_words(self, pause: Pause, words: str, otherwise: Verdict) -> Verdict:
        """Return the verdict when the words are known, too; `otherwise` is that without them."""
        config, bursts, probability = self._config, pause.bursts, pause.probability or 0.0
        dictated = dictated_words(words)
        if is_word(bursts) and is_one_character(words):
            return Verdict(config.short_stop_seconds, "words")
        if is_word(bursts) and dictated:
            if probability >= WORD_PROBABILITY:
                return otherwise  # a number as an answer
            return Verdict(config.short_stop_seconds, "words")
        fluent = count_words(words) >= FLUENT_WORDS * len(bursts)
        asks = words.endswith("?") and count_words(words) >= dictated + FLUENT_WORDS
        if dictated and fluent and asks and probability >= STACCATO_PROBABILITY:
            return _shortest(Verdict(config.words_stop_seconds, "words"), otherwise)
        if dictated > 1:
            sure = probability >= STACCATO_PROBABILITY
            seconds = config.staccato_stop_seconds if sure else config.dictation_stop_seconds
            return Verdict(seconds, "words")
        if dictated:
            return _longest(Verdict(config.short_stop_seconds, "words"), otherwise)
        needed = BROKEN_OFF_PROBABILITY if ends_sentence(words) else STACCATO_PROBABILITY
        if is_answer(words) and probability >= needed:
            return _shortest(Verdict(config.words_stop_seconds, "words"), otherwise)
        if words.endswith("?") and fluent:
            return _shortest(Verdict(config.words_stop_seconds, "words"), otherwise)
        word = is_word(bursts) and not is_list_item(words)
        if ends_sentence(words) and (fluent or word):
            complete = probability > COMPLETE_PROBABILITY
            seconds = config.words_stop_seconds if complete else config.short_stop_seconds
            return _shortest(Verdict(seconds, "words"), otherwise)
        return otherwise


def _shortest(one: Verdict, other: Verdict) -> Verdict:
    return one if one.silence_seconds < other.silence_seconds else other


def _longest(one: Verdict, other: Verdict) -> Verdict:
    return one if one.silence_seconds > other.silence_seconds else other


def is_word(bursts: Sequence[float]) -> bool:
    """Return whether the turn is one word so far, which may be the first of many."""
    return len(bursts) == 1 and bursts[0] < WORD_SECONDS


def is_short_answer(bursts: Sequence[float], probability: float) -> bool:
    """Return whether a turn that smart-turn considers incomplete is a short answer."""
    return len(bursts) == 1 and bursts[0] < SHORT_SECONDS and probability >= BROKEN_OFF_PROBABILITY


def is_staccato(bursts: Sequence[float]) -> bool:
    """Return whether the latest bursts are short, as in dictated digits, letters or lists."""
    latest = bursts[-STACCATO_BURSTS:]
    return len(latest) == STACCATO_BURSTS and max(latest) < STACCATO_SECONDS


@dataclass(slots=True)
class Endpointer:
    """Follows the speech of one session and tells when the turn has ended. Times are in seconds.

    The caller reports events in the order of the audio, and calls `take_prediction_request` and
    `ended` after each. Once the turn has ended, `reset` prepares for the next one.
    """

    policy: Policy
    last_resort_seconds: float  # silence that ends a turn for which smart-turn gives no verdict
    clock: float = 0.0
    started_at: float | None = None  # of the turn's first speech
    words_expected: bool = False  # the engine has sent words before
    _speech_since: float | None = None  # while the user speaks
    _quiet_since: float | None = None  # in a silence that is not long enough for a pause
    _silent_since: float | None = None  # in a pause
    _voice_since: float | None = None  # since something that may become speech has begun
    _bursts: list[float] = field(default_factory=list)
    _spoke_at: float = -CARRIED_SECONDS  # when the latest speech ended
    _probability: float | None = None
    _words: str | None = None
    _silence: int = 0  # number of the silence
    _prediction_due: bool = False
    _prediction_due_at_pause: bool = (
        False  # smart-turn will be asked when the silence becomes a pause
    )
    _stopped: bool = False  # the pause has lasted `vad_stop_seconds`
    _prediction_is_final: bool = False  # the latest prediction was requested after that
    _decided: bool = False  # no more predictions at this pause

    def audio_received(self, seconds: float) -> None:
        """Advance the clock by audio that has arrived, or by the silence that replaces it."""
        self.clock += seconds
        self._begin_pause(PAUSE_SECONDS)

    def speech_started(self, seconds_ago: float) -> None:
        """The user speaks, since `seconds_ago`."""
        self._voice_since = None
        self._resume(self.clock - seconds_ago)
        if self.started_at is None:
            self.started_at = self._speech_since

    def speech_resumed(self) -> None:
        """The user speaks again after a pause that was too short to be reported as a stop."""
        self._resume(self.clock)

    def speech_paused(self, silence_seconds: float) -> None:
        """The user has been silent for `silence_seconds`. From PAUSE_SECONDS on, it is a pause."""
        if self._speech_since is not None:
            self._quiet_since = self.clock - silence_seconds
            self._probability = self._words = None
            self._silence += 1
            self._stopped = self._decided = False
            self._prediction_due = self.words_expected
            self._prediction_due_at_pause = not self.words_expected
            self._begin_pause(PAUSE_SECONDS)

    def _begin_pause(self, seconds: float) -> None:
        """Begin a pause once the silence that was reported is `seconds` long."""
        since = self._quiet_since
        if since is None or self._speech_since is None or self.clock - since < seconds:
            return
        self._silent_since = self._spoke_at = since
        self._bursts.append(max(0.0, since - self._speech_since))
        self._speech_since = self._quiet_since = None
        self._prediction_due |= self._prediction_due_at_pause
        self._prediction_due_at_pause = False

    def speech_stopped(self) -> None:
        """The silence is long enough for smart-turn's final verdict."""
        self._begin_pause(0.0)
        if self._silent_since is None:
            return
        self._stopped = True
        if self._probability is not None and not self._decided:
            self._prediction_due = True

    def voice_began(self) -> None:
        """Something that may become speech has begun. The turn does not end meanwhile."""
        self._voice_since = self.clock

    def voice_faded(self) -> None:
        """What has begun was too short for speech."""
        since, self._voice_since = self._voice_since, None
        if since is None or self._silent_since is None:
            return
        seconds = self.clock - since
        if seconds >= FADED_VOICE_SECONDS:  # such as a short letter
            self._bursts.append(seconds)
            self._silent_since = self._spoke_at = self.clock

    def take_prediction_request(self) -> int | None:
        """Return the number of the silence if smart-turn has to predict now, else None."""
        if not self._prediction_due:
            return None
        self._prediction_due, self._prediction_is_final = False, self._stopped
        return self._silence

    def predicted(self, silence: int, probability: float) -> None:
        """Note smart-turn's probability in a silence.

        A prediction at the beginning of the silence is repeated after `vad_stop_seconds` of
        silence, unless the policy is sure of it.
        """
        is_silent = self._silent_since is not None or self._quiet_since is not None
        if silence != self._silence or not is_silent:
            return
        self._probability = probability
        self._decided = self._prediction_is_final or self.policy.is_sure(probability)
        self._prediction_due = self._stopped and not self._decided

    def words_heard(self, words: str) -> None:
        """Note the transcript of the turn at the current pause."""
        self.words_expected = True
        if self._silent_since is not None or self._quiet_since is not None:
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
        if self.started_at is not None and self.clock - self.started_at >= LONGEST_TURN_SECONDS:
            return "fallback"
        silence = self.silence_seconds
        if not self._decided and silence < self.last_resort_seconds:
            return None
        pause = Pause(self._bursts, self._probability, self._words, self.words_expected)
        verdict = self.policy.verdict(pause)
        return verdict.reason if silence >= verdict.silence_seconds else None

    def reset(self) -> None:
        """Prepare for the next turn. A pause that began before is forgotten.

        The bursts are kept: if the user goes on at once, the turn was cut, and the next pause is
        judged with them.
        """
        self.started_at = self._speech_since = self._silent_since = self._quiet_since = None
        self._voice_since = None
        self._prediction_due = self._prediction_due_at_pause = self._stopped = self._decided = False
        self._probability = self._words = None
        self._silence += 1

    def _resume(self, since: float) -> None:
        self._prediction_due = self._prediction_due_at_pause = False
        self._silent_since = self._quiet_since = None
        if self._speech_since is not None:
            return
        self._speech_since = since
        if self.started_at is None and since - self._spoke_at > CARRIED_SECONDS:
            self._bursts.clear()
