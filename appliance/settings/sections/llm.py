"""The section [llm]: the speech-LLM, its prompt and its replies, in engine and gateway."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field
from pydantic import model_validator as validator
from pydantic.dataclasses import dataclass

from appliance.settings.prompts import SMALL_EXAMPLES, SMALL_PROMPT
from appliance.settings.types import (
    SECTION,
    Allowed,
    Date,
    Examples,
    FolderName,
    OptionalFolderName,
    Seconds,
    Threads,
    Tokens,
    ToolNames,
    Turns,
    Unit,
    require,
)

MAX_TEXT_CHARS = 16_000  # of one message on the link (appliance/link/engine.py)
MAX_PHRASE_CHARS = 2_000  # of one phrase on the link (appliance/link/protocol.py)


@dataclass(frozen=True, slots=True, config=SECTION)
class LLMConfig:
    """The speech-LLM engine: models, prompt, reply."""

    engine: Literal["small", "vllm"] = Field(
        default="small", description="speech-LLM engine: small (cpu profile) or vllm (gpu profile)"
    )
    model: FolderName = Field(
        default="qwen2.5-coder-1.5b-instruct",
        description="language model, a folder in paths.weights",
    )
    hearing_model: FolderName = Field(
        default="moonshine-tiny-en",
        description="speech recognizer, a folder in paths.weights (small)",
    )
    short_recognizer: OptionalFolderName = Field(
        default="whisper-tiny-en",
        description="second recognizer, for letters and single words: a folder in paths.weights "
        "with Whisper in CTranslate2's format; empty: none (small)",
    )
    threads: Threads = Field(default=2, description="CPU threads of the language model (small)")
    hearing_threads: Threads = Field(
        default=1, description="CPU threads of the speech recognizer (small)"
    )
    context_tokens: Tokens = Field(
        default=4096, ge=256, le=1_048_576, description="context window: prompt, history and reply"
    )
    history_tokens: Tokens = Field(
        default=1500,
        ge=0,
        le=1_048_576,
        description="part of the context window that past turns may fill",
    )
    history_turns: Turns = Field(
        default=20,
        ge=2,
        le=160,
        description="most past turns in a prompt; question and answer are two",
    )
    audio_turns: Turns = Field(
        default=4,
        ge=0,
        le=160,
        description="latest questions that stay audio when older ones become text",
    )
    reply_tokens: Tokens = Field(default=160, ge=1, le=4096, description="longest reply")
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="sampling temperature; 0: same question, same answer"
    )
    language: Annotated[
        Literal["en"], Allowed("en (English); other languages are not supported")
    ] = Field(default="en", description="language that users and bot speak")
    system_prompt: str = Field(
        default=SMALL_PROMPT,
        max_length=MAX_TEXT_CHARS,
        description="instructions at the start of every prompt",
    )
    examples: Examples = Field(
        default=SMALL_EXAMPLES,
        description="questions with the answers that a good assistant gives, as if they began "
        "every call; a call of a tool that is not offered is left out; empty: none (small)",
    )
    min_utterance_seconds: Seconds = Field(
        default=0.1, ge=0, le=10, description="a sound shorter than this is a click, not an answer"
    )
    max_utterance_seconds: Seconds = Field(
        default=60.0, ge=1, le=600, description="longest utterance; later audio is dropped"
    )
    pre_roll_seconds: Seconds = Field(
        default=0.5, ge=0, le=10, description="audio kept from before the VAD detected speech"
    )
    recover_seconds: Seconds = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="how long a turn waits for an engine that is restarting",
    )
    speculation: bool = Field(
        default=True,
        description="begin the reply at a pause, before it is known whether the turn has ended",
    )
    hold_for_first_phrase: bool = Field(
        default=True, description="pause decoding until the first phrase has been synthesised"
    )
    greeting: str = Field(
        default="",
        max_length=MAX_PHRASE_CHARS,
        description="what the bot says when a session starts; empty: it waits for the user",
    )
    tools: ToolNames = Field(
        default=("current_time", "end_call"), description="tools that the model may call"
    )
    tool_seconds: Seconds = Field(
        default=5.0,
        gt=0,
        le=600,
        description="a tool that runs longer is cancelled; the session continues",
    )
    client_tool_seconds: Seconds = Field(
        default=20.0,
        gt=0,
        le=600,
        description="longest wait for the result of a tool that the client runs; the reply goes on "
        "without it",
    )
    today: Date = Field(
        default="", description="date in the prompt (vllm); empty: the date when the session starts"
    )
    noise_reply: str = Field(
        default="((noise))",
        min_length=1,
        max_length=100,
        description="what the model answers to audio without speech (vllm)",
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        default="auto",
        description="data type of the model (vllm); auto: that of the sealed weights",
    )
    kv_dtype: Literal["auto", "bfloat16", "fp8"] = Field(
        default="auto", description="data type of the KV cache (vllm); auto: the best for the GPU"
    )
    memory_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="part of the GPU's memory for vLLM; 0: computed"
    )
    max_sequences: Annotated[int, Unit("replies")] = Field(
        default=0, ge=0, le=1024, description="replies decoded at the same time (vllm); 0: computed"
    )

    @validator(mode="after")
    def _check(self) -> Self:
        needed = self.history_tokens + self.reply_tokens
        return require(
            self,
            context_tokens=(
                self.context_tokens > needed,
                f"it has to be above history_tokens + reply_tokens ({needed})",
            ),
            max_utterance_seconds=(
                self.max_utterance_seconds > self.min_utterance_seconds,
                f"it has to be above min_utterance_seconds ({self.min_utterance_seconds:g})",
            ),
            kv_dtype=(
                self.kv_dtype == "auto" or self.dtype != "float32",
                f"it is {self.kv_dtype}, which does not go with dtype float32: set auto",
            ),
        )
