"""The section [supervision]: when a process is restarted, and when the appliance ends."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field
from pydantic import model_validator as validator
from pydantic.dataclasses import dataclass

from appliance.settings.types import (
    DAY_SECONDS,
    SECTION,
    WEEK_SECONDS,
    MemoryLimit,
    Seconds,
    Unit,
    WholeSeconds,
    require,
)


@dataclass(frozen=True, slots=True, config=SECTION)
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
