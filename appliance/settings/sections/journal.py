"""The section [journal]: the log, and what leaves the appliance as text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from appliance.settings.types import SECTION


@dataclass(frozen=True, slots=True, config=SECTION)
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
