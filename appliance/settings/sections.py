"""The sections of the settings: every field with its type, default, bounds, unit and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field
from pydantic import model_validator as validator
from pydantic.dataclasses import dataclass

from appliance.settings.prompts import LARGE_PROMPT, SMALL_EXAMPLES, SMALL_PROMPT
from appliance.settings.types import (
    Allowed,
    Bytes,
    Date,
    Examples,
    FilePath,
    FolderName,
    Fraction,
    HeaderText,
    Host,
    MemoryLimit,
    Networks,
    OptionalFolderName,
    Origins,
    Port,
    Seconds,
    Threads,
    Tokens,
    ToolNames,
    Turns,
    Unit,
    Voice,
    WholeSeconds,
    Words,
    require,
)

DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS
MAX_TEXT_CHARS = 16_000  # of one turn on the link (appliance/link/engine.py)
MAX_PHRASE_CHARS = 2_000  # of one phrase on the link (appliance/link/protocol.py)
LEXICON_FILE = Path("/etc/voice-appliance/lexicon.tsv")  # the only one that may be missing

_STRICT = ConfigDict(allow_inf_nan=False, str_strip_whitespace=True, defer_build=True)


@dataclass(frozen=True, slots=True, config=_STRICT)
class PathsConfig:
    """Folders and files."""

    run: FilePath = Field(
        default=Path("run"),
        description="folder of the sockets and state files that the processes share",
    )
    weights: FilePath = Field(
        default=Path("weights"), description="folder of the sealed model files"
    )
    lock: FilePath = Field(
        default=Path("image-manifest.lock"), description="file that lists every sealed model file"
    )


@dataclass(frozen=True, slots=True, config=_STRICT)
class GatewayConfig:
    """What clients connect to, and the limits of a session."""

    host: Host = Field(default="127.0.0.1", description="address to listen on")
    port: Port = Field(default=8765, description="TCP port that clients connect to")
    token_file: str = Field(
        default="",
        description="file with one access token for all clients; needed if there is no token_store",
    )
    token_store: str = Field(
        default="",
        description="file with named access tokens, which `voicectl token` writes; changes need no "
        "restart",
    )
    login_seconds: Seconds = Field(
        default=43200.0,
        ge=60,
        le=WEEK_SECONDS,
        description="how long a browser that logged in stays logged in",
    )
    tls_certificate: str = Field(
        default="",
        description="PEM file with the certificate chain; with tls_key, clients use wss://",
    )
    tls_key: str = Field(default="", description="PEM file with the private key of tls_certificate")
    tls_client_ca: str = Field(
        default="",
        description="PEM file with an authority; callers then need a certificate that it issued",
    )
    plain_network: bool = Field(
        default=False,
        description="whether calls are not encrypted, although they cross a network; for a proxy "
        "that terminates TLS",
    )
    allowed_origins: Origins = Field(
        default=(),
        description="web origins whose pages may connect; programs that send no origin always may",
    )
    max_sessions: Annotated[int, Unit("sessions")] = Field(
        default=4,
        ge=1,
        le=1000,
        description="sessions at the same time; further clients are refused",
    )
    max_sessions_per_token: Annotated[int, Unit("sessions")] = Field(
        default=1000,
        ge=1,
        le=1000,
        description="sessions at the same time with one access token, at most; a named token "
        "without a limit of its own also leaves one of max_sessions to others",
    )
    yield_seconds: Seconds = Field(
        default=45.0,
        gt=0,
        le=DAY_SECONDS,
        description="silence after which a session ends if all are taken and another client waits",
    )
    idle_seconds: Seconds = Field(
        default=120.0,
        gt=0,
        le=DAY_SECONDS,
        description="a session without speech ends after this long",
    )
    session_seconds: Seconds = Field(
        default=3600.0, gt=0, le=WEEK_SECONDS, description="longest duration of a session"
    )
    drain_seconds: Seconds = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="how long sessions may continue after a stop signal",
    )
    ping_seconds: Seconds = Field(
        default=5.0,
        ge=1,
        le=25,
        description="time between two pings to a client, and to answer one: a client that has "
        "vanished gives up its place after at most twice as long",
    )
    max_frame_bytes: Bytes = Field(
        default=16384, ge=1024, le=1_048_576, description="largest message that a client may send"
    )
    lead_seconds: Seconds = Field(
        default=0.4,
        ge=0,
        le=600,
        description="how far reply audio is sent ahead of playback; hides jitter",
    )
    pace_ratio: float = Field(
        default=1.5,
        ge=1,
        le=100,
        description="how fast audio may arrive over a length of time, as a multiple of real time",
    )
    pace_burst_seconds: Seconds = Field(
        default=2.0,
        gt=0,
        le=60,
        description="audio that may arrive at once, after a stall; older audio is dropped",
    )
    max_attempts_per_minute: Annotated[int, Unit("attempts")] = Field(
        default=120,
        ge=1,
        le=1_000_000,
        description="connection attempts per minute from one address: those with the right token, "
        "and the others, each; with one token from all addresses, ten times as many",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="proxies whose headers X-Forwarded-For and X-Forwarded-Proto name the client "
        "and its scheme; of others they are ignored",
    )
    host_name: HeaderText = Field(
        default="",
        description="name of this host, sent with every answer in the header Voice-Host; if empty, "
        "the header is not sent",
    )
    start_closed: bool = Field(
        default=False,
        description="refuse callers after each start, except the acceptance test, until "
        "`voicectl open`",
    )
    start_closed_file: str = Field(
        default="",
        description="a start is closed, as with start_closed, while this file exists; `voicectl "
        "activate` makes and removes it",
    )
    page: bool = Field(default=True, description="serve the page to talk from, at /")
    realtime: bool = Field(
        default=True, description="serve clients of OpenAI's Realtime API, at /v1/realtime"
    )
    realtime_client_settings: bool = Field(
        default=False,
        description="whether a Realtime client may replace llm.system_prompt and tts.voice, and "
        "bring tools of its own",
    )

    @property
    def uses_tls(self) -> bool:
        """Whether the gateway has a certificate and uses it."""
        return bool(self.tls_certificate) and not self.plain_network

    @validator(mode="after")
    def _check(self) -> Self:
        return require(
            self,
            tls_key=(
                bool(self.tls_key) or not self.tls_certificate,
                "it is empty, but tls_certificate is set: TLS needs both",
            ),
            tls_certificate=(
                bool(self.tls_certificate) or not self.tls_key,
                "it is empty, but tls_key is set: TLS needs both",
            ),
            tls_client_ca=(
                not self.tls_client_ca or self.uses_tls,
                "client certificates need TLS: set tls_certificate, and not plain_network",
            ),
        )


@dataclass(frozen=True, slots=True, config=_STRICT)
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


@dataclass(frozen=True, slots=True, config=_STRICT)
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


@dataclass(frozen=True, slots=True, config=_STRICT)
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


@dataclass(frozen=True, slots=True, config=_STRICT)
class ExporterConfig:
    """Where metrics are served."""

    host: Host = Field(default="127.0.0.1", description="address that /metrics is served on")
    port: Port = Field(default=9465, description="TCP port that /metrics is served on")
    timeout_seconds: Seconds = Field(
        default=2.0, gt=0, le=60, description="how long a process may take to report its metrics"
    )


@dataclass(frozen=True, slots=True, config=_STRICT)
class SupervisionConfig:
    """When a process is restarted, and when the appliance ends."""

    start_seconds: WholeSeconds = Field(
        default=20,
        ge=1,
        le=3600,
        description="an exit before this counts as a failed start",
    )
    start_attempts: Annotated[int, Unit("starts")] = Field(
        default=5, ge=1, le=100, description="failed starts in a row that stop the appliance"
    )
    check_seconds: Seconds = Field(
        default=5.0, gt=0, le=300, description="interval at which the guard checks every process"
    )
    silent_seconds: Seconds = Field(
        default=15.0,
        gt=0,
        le=3600,
        description="a process that stops answering this long is restarted",
    )
    load_seconds: Seconds = Field(
        default=300.0,
        gt=0,
        le=DAY_SECONDS,
        description="an engine that is not ready this long after its start is restarted",
    )
    max_restarts: Annotated[int, Unit("restarts")] = Field(
        default=5,
        ge=0,
        le=1000,
        description="restarts allowed per process within the window; one more stops the appliance",
    )
    restart_window_seconds: Seconds = Field(
        default=1800.0, gt=0, le=WEEK_SECONDS, description="window in which restarts are counted"
    )
    gateway_memory_bytes: MemoryLimit = Field(
        default=800_000_000,
        description="restart the gateway when it uses more memory than this; 0: no limit",
    )
    llm_memory_bytes: MemoryLimit = Field(
        default=2_500_000_000, description="the same for the speech-LLM engine"
    )
    tts_memory_bytes: MemoryLimit = Field(
        default=1_500_000_000,
        description="the same for the speech synthesis engine",
    )
    exporter_memory_bytes: MemoryLimit = Field(
        default=400_000_000, description="the same for the exporter"
    )
    growth_bytes: MemoryLimit = Field(
        default=300_000_000,
        description="restart a process when its memory floor rises by this much within "
        "growth_seconds; 0: never",
    )
    growth_seconds: Seconds = Field(
        default=3600.0,
        gt=0,
        le=WEEK_SECONDS,
        description="window in which memory growth is measured",
    )
    seal_check: Literal["auto", "full", "quick"] = Field(
        default="auto",
        description="check of the model files at start: full (every byte), quick (names and sizes) "
        "or auto (full once after each start of the host)",
    )

    @validator(mode="after")
    def _check(self) -> Self:
        # Otherwise a process that dies as soon as it counts as started would be restarted forever.
        needed = self.max_restarts * self.start_seconds
        return require(
            self,
            restart_window_seconds=(
                self.restart_window_seconds > needed,
                f"it has to be above max_restarts * start_seconds ({needed})",
            ),
        )


@dataclass(frozen=True, slots=True, config=_STRICT)
class JournalConfig:
    """The log, and what leaves the appliance as text."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
    )
    format: Literal["auto", "json", "pretty"] = Field(
        default="auto",
        description="format of log lines; auto: pretty on a terminal, otherwise json",
    )
    transcripts: bool = Field(
        default=True, description="send each client the text of its own session; it is never logged"
    )
    pipecat_messages: bool = Field(
        default=False, description="log messages of libraries, which may contain what users say"
    )


@dataclass(frozen=True, slots=True, config=_STRICT)
class AuditConfig:
    """The audit log: who called and what operators did, in lines that are chained by hashes."""

    folder: str = Field(
        default="",
        description="folder for the audit log; empty: it is only written to the log",
    )
    required: bool = Field(
        default=False,
        description="do not start if the folder cannot be written; otherwise calls are served "
        "without it",
    )
    file_bytes: Bytes = Field(
        default=16_777_216,
        ge=4096,
        le=1_073_741_824,
        description="a new file is begun when the last one has reached this size",
    )

    @validator(mode="after")
    def _check(self) -> Self:
        return require(
            self,
            folder=(
                bool(self.folder) or not self.required,
                "it is empty, but audit.required is set: name a folder",
            ),
        )


@dataclass(frozen=True, slots=True, config=_STRICT)
class Settings:
    """All settings of one process."""

    profile: Literal["cpu", "gpu"] = Field(
        default="cpu",
        description="set of defaults: cpu (small models) or gpu (Ultravox under vLLM)",
    )
    paths: PathsConfig = PathsConfig()
    gateway: GatewayConfig = GatewayConfig()
    turn: TurnConfig = TurnConfig()
    llm: LLMConfig = LLMConfig()
    tts: TTSConfig = TTSConfig()
    exporter: ExporterConfig = ExporterConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    journal: JournalConfig = JournalConfig()
    audit: AuditConfig = AuditConfig()


PROFILE_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "cpu": {},
    "gpu": {
        "llm.engine": "vllm",
        "llm.model": "ultravox-v0_5-llama-3_1-8b",
        "llm.system_prompt": LARGE_PROMPT,
        "llm.examples": "",
        "llm.context_tokens": 8192,
        "llm.history_tokens": 4096,
        "llm.history_turns": 100,
        "llm.hold_for_first_phrase": False,
        "tts.backend": "torch",
        "tts.device": "cuda",
        "tts.phrase_time_ratio": 0.3,
        "tts.start_delay_seconds": 0.0,  # a card makes several replies faster than they are spoken
        "gateway.max_sessions": 8,
        "turn.threads": 2,
        "supervision.start_seconds": 240,
        "supervision.load_seconds": 1200.0,
        "supervision.gateway_memory_bytes": 2_500_000_000,
        "supervision.llm_memory_bytes": 0,  # vLLM pins host memory by the card's size
        "supervision.tts_memory_bytes": 8_000_000_000,
        "supervision.growth_bytes": 1_000_000_000,
    },
}
