"""The list of all settings that `python -m appliance settings` prints."""

from __future__ import annotations

from appliance.settings.loading import load
from appliance.settings.names import CONFIG_FILE, FIELDS, variable, walk
from appliance.settings.sections import Settings
from appliance.settings.types import allowed

HEADER = (
    f"# Set these in the environment, or in the TOML file that {CONFIG_FILE} names, as NAME in\n"
    f"# the table [SECTION]. The environment overrides the file, and the file the defaults.\n"
)


def render(settings: Settings) -> str:
    """Render name, value, description, allowed values and default of every setting.

    The defaults are those of the current profile.
    """
    defaults = load({variable("profile"): settings.profile})
    paragraphs = [HEADER, _paragraph("profile", settings.profile, Settings().profile)]
    heading = ""
    for (section, field, value), (_, _, default) in zip(
        walk(settings), walk(defaults), strict=True
    ):
        if section != heading:
            heading = section
            paragraphs.append(f"\n[{section}]")
        paragraphs.append(_paragraph(f"{section}.{field}", value, default))
    return "\n".join(paragraphs)


def _paragraph(name: str, value: object, default: object) -> str:
    field = FIELDS[name]
    return (
        f"{variable(name)} = {_text(value)}\n"
        f"    {field.description}\n"
        f"    {allowed(field)}; default: {_text(default) or 'empty'}"
    )


def _text(value: object) -> str:
    """Format a value as it is written in the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)
