"""Every setting in words: name, value, meaning, default; pure."""

from __future__ import annotations

from appliance import settings


def listing(given: settings.Settings) -> str:
    """Two lines for each setting, as it is in this process."""
    defaults = {(s, n): value for s, n, value in settings.walk(settings.Settings())}
    lines = [
        f"{settings.PREFIX}PROFILE = {given.profile}",
        f"    one of {', '.join(settings.PROFILE_DEFAULTS)} (default: cpu)",
    ]
    for section, name, value in settings.walk(given):
        default = _shown(defaults[section, name]) or "empty"
        lines.append(f"{settings.PREFIX}{section}_{name}".upper() + f" = {_shown(value)}")
        lines.append(f"    {settings.meaning(section, name)} (default: {default})")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
