"""The section [tts]: speech synthesis, in the engine and in the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field
from pydantic import model_validator as validator
from pydantic.dataclasses import dataclass

from appliance.settings.types import SECTION, FilePath, Seconds, Threads, Voice, Words, require

LEXICON_FILE = Path("/etc/voice-appliance/lexicon.tsv")  # the only one that may be missing


@dataclass(frozen=True, slots=True, config=SECTION)
class TTSConfig:
    """Speech synthesis."""

    backend: Literal["onnx", "torch"] = Field(
        default="onnx",
        description="speech synthesis library: onnx (cpu profile) or torch (gpu profile)",
    )
    voice: Voice = Field(
        default="af_heart", description="Kokoro voice, or a weighted blend of voices"
    )
    lexicon_file: FilePath = Field(
        default=LEXICON_FILE,
        description="file with names and words of the site, and how they are said; may be missing",
    )
    streaming: bool = Field(
        default=True,
        description="play the first words of a phrase while the rest is synthesised (onnx)",
    )
    speed: float = Field(
        default=1.0, ge=0.5, le=2, description="rate of speech, as a multiple of the voice's own"
    )
    threads: Threads = Field(default=2, description="CPU threads of the synthesizer")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="device of the torch backend")
    first_phrase_words: Words = Field(
        default=5,
        description="the first phrase of a reply ends at a comma, or after this many words",
    )
    phrase_words: Words = Field(
        default=14, description="approximate longest later phrase of a reply"
    )
    phrase_time_ratio: float = Field(
        default=0.65,
        ge=0.01,
        le=5,
        description="time to generate and synthesise a phrase, as a multiple of its playing time",
    )
    start_delay_seconds: Seconds = Field(
        default=0.8,
        ge=0,
        le=5,
        description="longest time for which a reply is held back while the engines also work for "
        "other calls, so that it does not pause later",
    )

    @validator(mode="after")
    def _check(self) -> Self:
        return require(
            self,
            device=(
                self.device == "cpu" or self.backend == "torch",
                f"it is cuda, which the backend {self.backend} does not support: set cpu",
            ),
            first_phrase_words=(
                self.first_phrase_words <= self.phrase_words,
                f"it has to be at most phrase_words ({self.phrase_words})",
            ),
        )
