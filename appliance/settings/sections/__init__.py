"""All settings of one process. Each section is declared in the file of its name.

A field has a type, a default, bounds, a unit and a meaning. Rules that involve several fields of a
section are below them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from appliance.settings.sections.audit import AuditConfig
from appliance.settings.sections.exporter import ExporterConfig
from appliance.settings.sections.gateway import GatewayConfig
from appliance.settings.sections.journal import JournalConfig
from appliance.settings.sections.llm import LLMConfig
from appliance.settings.sections.paths import PathsConfig
from appliance.settings.sections.supervision import SupervisionConfig
from appliance.settings.sections.tts import TTSConfig
from appliance.settings.sections.turn import TurnConfig
from appliance.settings.types import SECTION

__all__ = [
    "AuditConfig",
    "ExporterConfig",
    "GatewayConfig",
    "JournalConfig",
    "LLMConfig",
    "PathsConfig",
    "Settings",
    "SupervisionConfig",
    "TTSConfig",
    "TurnConfig",
]


@dataclass(frozen=True, slots=True, config=SECTION)
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
