"""The pace of decoding: how urgent the next token of a reply is, and how far ahead it may be.

The first phrase of a reply decides how long its user waits. The rest is needed only as fast as it
is spoken, so it must not delay the first phrases of other replies. No I/O: times are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.engines.llm.small.priority import JobPriority
from appliance.settings import TTSConfig

# Kokoro speaks about 15 characters a second at speed 1. With a higher value, a reply is never
# decoded later than it is spoken.
CHARS_PER_SECOND: Final = 20.0
CHARS_PER_WORD: Final = 6  # of English text, including the space
# The gateway cuts phrases at places where a speaker could pause, so some are longer than the limit.
EXTRA_WORDS: Final = 3  # of a first phrase
OVERLONG_FACTOR: Final = 2  # of later phrases
LATE_SECONDS: Final = 1.0  # with less playing time ahead, the reply is about to have a gap
CLAUSE_MARKS: Final = (".", "!", "?", ",", ";", ":")
MIN_CLAUSE_WORDS: Final = 2


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """When the tokens of a reply are due.

    first_phrase_words  longest first phrase, unless it ends at a punctuation mark before
    chars_per_second    upper limit of the rate at which the text is spoken
    late_chars          with less text ahead of the playback, tokens are as urgent as first phrases
    due_chars           with less text ahead of the playback, the next phrase may become late
    lead_chars          decoding pauses with this much text ahead of the playback
    """

    first_phrase_words: int
    chars_per_second: float
    late_chars: float
    due_chars: float
    lead_chars: float

    @classmethod
    def of(cls, config: TTSConfig) -> PaceLimits:
        """Return the limits for phrases of the configured length.

        While a phrase is played, the next one is decoded and synthesized. So the text ahead of the
        playback has to be that phrase and what is played during its synthesis.
        """
        chars_per_second = CHARS_PER_SECOND * config.speed
        phrase_chars = config.phrase_words * CHARS_PER_WORD * (1 + config.phrase_time_ratio)
        return cls(
            config.first_phrase_words + EXTRA_WORDS,
            chars_per_second,
            LATE_SECONDS * chars_per_second,
            phrase_chars,
            OVERLONG_FACTOR * phrase_chars,
        )


class ReplyPace:
    """The text of one reply so far, compared with its playback.

    The playback is assumed to start when the first phrase is complete, which is earlier than it
    does. A reply that was held by its consumer thus becomes more urgent, not less.
    """

    def __init__(self, limits: PaceLimits, first_priority: JobPriority) -> None:
        """`first_priority` is the priority of the tokens of the first phrase."""
        self._limits = limits
        self._first_priority = first_priority
        self._text = ""
        self._started: float | None = None  # when the first phrase was complete

    def confirm(self) -> None:
        """Raise the priority of the first phrase: its user waits for it."""
        self._first_priority = JobPriority.GENERATE

    def add(self, text: str, now: float) -> None:
        """Add decoded text at the time `now`, in seconds."""
        self._text += text
        if self._started is None and self._has_first_phrase():
            self._started = now

    def priority(self, now: float) -> JobPriority:
        """Return the priority of the next token."""
        if self._started is None:
            return self._first_priority
        lead = self._lead_chars(now)
        if lead < self._limits.late_chars:
            return JobPriority.GENERATE
        return JobPriority.DUE_TOKEN if lead < self._limits.due_chars else JobPriority.EARLY_TOKEN

    def wait_seconds(self, now: float) -> float:
        """Return how long to wait before the next token is decoded."""
        if self._started is None:
            return 0.0
        excess = self._lead_chars(now) - self._limits.lead_chars
        return max(0.0, excess / self._limits.chars_per_second)

    def _lead_chars(self, now: float) -> float:
        seconds = 0.0 if self._started is None else now - self._started
        return len(self._text) - seconds * self._limits.chars_per_second

    def _has_first_phrase(self) -> bool:
        words = self._text.split()
        complete = words if self._text[-1:].isspace() else words[:-1]
        return len(complete) >= self._limits.first_phrase_words or any(
            word.endswith(CLAUSE_MARKS) and count >= MIN_CLAUSE_WORDS
            for count, word in enumerate(complete, 1)
        )
