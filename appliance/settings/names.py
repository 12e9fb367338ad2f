"""Names of settings: `gateway.port` in code and TOML, `VOICE_GATEWAY_PORT` in the environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from appliance.settings.sections import Settings

PREFIX = "VOICE_"
CONFIG_FILE = "VOICE_CONFIG"  # the variable that names the TOML file
# Texts that a support bundle shows, and an error that refuses them. All others may hold text of the
# site: what the model is told, what it says, or a secret that was pasted into the wrong place.
SHARED_TEXTS = frozenset(
    {
        "paths.run",
        "paths.weights",
        "paths.lock",
        "gateway.host",
        "llm.model",
        "llm.hearing_model",
        "llm.short_recognizer",
        "llm.today",
        "tts.voice",
        "exporter.host",
    }
)


def variable(name: str) -> str:
    """Return the environment variable of a setting: VOICE_GATEWAY_PORT for gateway.port."""
    return PREFIX + name.upper().replace(".", "_")


def walk(settings: Settings) -> Iterator[tuple[str, str, Any]]:
    """Yield every setting except the profile, as (section, field, value)."""
    for section in SECTIONS:
        config = getattr(settings, section)
        for field in dataclasses.fields(config):
            yield section, field.name, getattr(config, field.name)


def _fields(config: Any) -> dict[str, FieldInfo]:
    fields: dict[str, FieldInfo] = config.__pydantic_fields__
    return fields


SECTIONS: Mapping[str, Any] = {
    name: field.annotation
    for name, field in _fields(Settings).items()
    if dataclasses.is_dataclass(field.annotation)
}
# Fields by dotted name; `profile` belongs to no section.
FIELDS: Mapping[str, FieldInfo] = {"profile": _fields(Settings)["profile"]} | {
    f"{section}.{name}": field
    for section, config in SECTIONS.items()
    for name, field in _fields(config).items()
}
