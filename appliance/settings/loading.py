"""Read the settings from the environment and a TOML file."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from appliance.errors import BadSetting
from appliance.settings.names import CONFIG_FILE, FIELDS, PREFIX, variable
from appliance.settings.sections import PROFILE_DEFAULTS, Settings
from appliance.settings.types import Contradiction, allowed

MAX_SHOWN_CHARS = 60  # of a refused value


def load(environ: Mapping[str, str]) -> Settings:
    """Build the settings from `environ` and the TOML file that it may name.

    Raises BadSetting for the first wrong setting; its `others` are all the other ones. Wrong are
    unknown names, values out of bounds and an unreadable file; and, in sections where every value
    is valid alone, values that do not go together.
    """
    problems: list[BadSetting] = []
    values: dict[str, object] = {}
    spelling: dict[str, str] = {}  # of each setting, as the operator wrote its name
    for source, names in (
        (_from_file(environ.get(CONFIG_FILE, ""), problems), _IN_FILES),
        (_from_environment(environ), _VARIABLES),
    ):
        for written, value in source.items():
            name = names.get(written)
            if name is None:
                problems.append(_wrong(written, _unknown(written, names)))
            else:
                values[name], spelling[name] = value, written
    values = {**PROFILE_DEFAULTS.get(str(values.get("profile")), {}), **values}
    try:
        settings = _ADAPTER.validate_python(_tree(values))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            for name, why in _explain(detail):
                problems.append(_wrong(spelling.get(name, variable(name)), why))
    if problems:
        first, *others = problems
        first.others = tuple(others)
        raise first
    return settings


_ADAPTER = TypeAdapter(Settings)
# How names are written -> the dotted names of settings.
_IN_FILES = {name: name for name in FIELDS}
_VARIABLES = {variable(name): name for name in FIELDS}


def _wrong(name: str, why: str) -> BadSetting:
    return BadSetting(name=name, why=why)


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    return {
        name: value.strip()
        for name, value in environ.items()
        if name.startswith(PREFIX) and name != CONFIG_FILE
    }


def _from_file(path: str, problems: list[BadSetting]) -> dict[str, object]:
    if not path:
        return {}
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        problems.append(_wrong(CONFIG_FILE, str(problem)))
        return {}
    values: dict[str, object] = {}
    for section, table in tables.items():
        if isinstance(table, dict):
            values |= {f"{section}.{name}": value for name, value in table.items()}
        else:
            values[section] = table
    return values


def _tree(values: Mapping[str, object]) -> dict[str, Any]:
    """Nest the values by section, as pydantic takes them."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        section, _, field = name.rpartition(".")
        table = tree.setdefault(section, {}) if section else tree
        table[field] = _prepare(value, FIELDS[name])
    return tree


def _prepare(value: object, field: FieldInfo) -> object:
    """Split a list written as text, and keep pydantic from reading true as the number 1."""
    if isinstance(value, str) and isinstance(field.default, tuple):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, bool) and field.annotation is not bool:
        return str(value).lower()
    return value


def _explain(detail: ErrorDetails) -> list[tuple[str, str]]:
    """Translate an error of pydantic: names of settings, and what is wrong with each."""
    problem = detail.get("ctx", {}).get("error")
    section = str(detail["loc"][0])
    if isinstance(problem, Contradiction):
        return [(f"{section}.{field}", why) for field, why in problem.problems]
    name = ".".join(map(str, detail["loc"][:2]))  # a third one is the index in a list
    value = repr(detail["input"])
    if len(value) > MAX_SHOWN_CHARS:
        value = value[:MAX_SHOWN_CHARS] + "..."
    return [(name, f"{value} is not {allowed(FIELDS[name])}")]


def _unknown(written: str, names: Mapping[str, str]) -> str:
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(written.lower(), by_lower, n=1)
    hint = f" (did you mean {by_lower[close[0]]}?)" if close else ""
    return "there is no such setting" + hint
