"""The section [turn]: when a turn of the user starts, ends, and interrupts the bot."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field
from pydantic import model_validator as validator
from pydantic.dataclasses import dataclass

from appliance.settings.types import SECTION, Fraction, Seconds, Threads, require


@dataclass(frozen=True, slots=True, config=SECTION)
class TurnConfig:
    """When a turn of the user starts and ends."""

    vad_confidence: Fraction = Field(
        default=0.7, description="Silero VAD: probability from which audio counts as speech"
    )
    vad_start_seconds: Seconds = Field(
        default=0.13,
        gt=0,
        le=10,
        description="speech this long starts a turn; a short word is not longer",
    )
    vad_interrupt_seconds: Seconds = Field(
        default=0.2,
        gt=0,
        le=10,
        description="the same while the bot speaks or prepares its reply: it pauses, or is "
        "interrupted",
    )
    interruption: Literal["voice", "words"] = Field(
        default="words",
        description="what interrupts the bot: words that ask for the turn (listener's sounds, "
        "coughs and noises only pause it), or any voice",
    )
    pause_seconds: Seconds = Field(
        default=0.06,
        gt=0,
        le=10,
        description="silence at which the engines begin the answer before the turn has ended",
    )
    vad_stop_seconds: Seconds = Field(
        default=0.2,
        gt=0,
        le=10,
        description="silence after which smart-turn decides whether the turn has ended",
    )
    min_speech_dbfs: float = Field(
        default=-45.0,
        ge=-90,
        le=0,
        description="level in dB of full scale below which voice does not start a turn: a speaker "
        "far away",
    )
    incomplete_stop_seconds: Seconds = Field(
        default=1.5,
        gt=0,
        le=60,
        description="silence that ends a turn which smart-turn considered incomplete",
    )
    short_stop_seconds: Seconds = Field(
        default=0.85,
        gt=0,
        le=60,
        description="the same, if the turn may be complete: one short utterance, or smart-turn is "
        "not sure",
    )
    words_stop_seconds: Seconds = Field(
        default=0.45,
        gt=0,
        le=60,
        description="the same, if its words are complete: a question, a short answer (cpu profile)",
    )
    staccato_stop_seconds: Seconds = Field(
        default=1.1,
        gt=0,
        le=60,
        description="silence that ends a turn of short bursts of which smart-turn is sure",
    )
    dictation_stop_seconds: Seconds = Field(
        default=1.5,
        gt=0,
        le=60,
        description="the same, if smart-turn is not sure (digits, letters, lists)",
    )
    stop_timeout_seconds: Seconds = Field(
        default=5.0, gt=0, le=60, description="fallback: silence that ends any turn"
    )
    threads: Threads = Field(
        default=1, description="smart-turn runs at the same time, over all sessions"
    )
    ignore_echo: bool = Field(
        default=True,
        description="the bot's own voice in the microphone is not speech (loudspeaker without echo "
        "cancellation)",
    )
    ignore_far_speech: bool = Field(
        default=True, description="voice far below the caller's level is not speech"
    )
    half_duplex: bool = Field(
        default=False, description="ignore the user while the bot speaks (no echo cancellation)"
    )

    @validator(mode="after")
    def _check(self) -> Self:
        return require(
            self,
            pause_seconds=(
                self.pause_seconds <= self.vad_stop_seconds,
                f"it has to be at most vad_stop_seconds ({self.vad_stop_seconds:g})",
            ),
            incomplete_stop_seconds=(
                self.incomplete_stop_seconds >= self.vad_stop_seconds,
                f"it has to be at least vad_stop_seconds ({self.vad_stop_seconds:g})",
            ),
            stop_timeout_seconds=(
                self.stop_timeout_seconds >= self.incomplete_stop_seconds,
                f"it has to be at least incomplete_stop_seconds ({self.incomplete_stop_seconds:g})",
            ),
        )
