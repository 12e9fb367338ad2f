"""The settings of one process: read once from the environment at start, checked, immutable.

A setting is named by section and field: `gateway.port` is `VOICE_GATEWAY_PORT` in the environment,
and `port` under `[gateway]` in the TOML file that `VOICE_CONFIG` names. The environment overrides
the file, and the file overrides the defaults of the profile. `load` refuses unknown names and
values out of bounds, and reports all of them together.

To add a setting, add a field to its section, a file in sections/. `python -m appliance settings`
prints the description and the bounds of each field, and `load` names the bounds when it refuses a
value.
"""

from appliance.settings.listing import render
from appliance.settings.loading import load
from appliance.settings.names import CONFIG_FILE, FIELDS, PREFIX, variable, walk
from appliance.settings.profiles import PROFILE_DEFAULTS
from appliance.settings.sections import (
    AuditConfig,
    ExporterConfig,
    GatewayConfig,
    JournalConfig,
    LLMConfig,
    PathsConfig,
    Settings,
    SupervisionConfig,
    TTSConfig,
    TurnConfig,
)
from appliance.settings.sections.tts import LEXICON_FILE
from appliance.settings.types import allowed, parse_examples, parse_voice

VERSION = "0.1.0"  # as in pyproject.toml; a test compares

__all__ = [
    "CONFIG_FILE",
    "FIELDS",
    "LEXICON_FILE",
    "PREFIX",
    "PROFILE_DEFAULTS",
    "VERSION",
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
    "allowed",
    "load",
    "parse_examples",
    "parse_voice",
    "render",
    "variable",
    "walk",
]
