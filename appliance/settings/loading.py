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
from appliance.settings.names import CONFIG_FILE, FIELDS, PREFIX, SECTIONS, SHARED_TEXTS, variable
from appliance.settings.profiles import PROFILE_DEFAULTS
from appliance.settings.sections import Settings
from appliance.settings.types import Contradiction, allowed

MAX_SHOWN_CHARS = 60  # of a refused value


def load(environ: Mapping[str, str]) -> Settings:
    """Build the settings from `environ` and the TOML file that `environ` may name.

    Raises BadSetting for the first wrong setting; its `others` holds all further ones. Unknown
    names, values out of bounds and an unreadable file are refused. Values that contradict each
    other are refused, too, but only in sections where each value is valid alone.
    """
    problems: list[BadSetting] = []
    values: dict[str, object] = {}
    source_names: dict[str, str] = {}  # setting -> its name as the operator wrote it
    for source, names in (
        (_from_file(environ.get(CONFIG_FILE, ""), problems), _NAMES_IN_FILE),
        (_from_environment(environ), _NAMES_IN_ENVIRONMENT),
    ):
        for source_name, value in source.items():
            name = names.get(source_name)
            if name is None:
                problems.append(_bad_setting(source_name, _describe_unknown(source_name, names)))
            else:
                values[name], source_names[name] = value, source_name
    values = {**PROFILE_DEFAULTS.get(str(values.get("profile")), {}), **values}
    try:
        settings = _ADAPTER.validate_python(_tree(values))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            for name, why in _explain(detail):
                problems.append(_bad_setting(source_names.get(name, variable(name)), why))
    if problems:
        first, *others = problems
        first.others = tuple(others)
        raise first
    return settings


_ADAPTER = TypeAdapter(Settings)
# Name in the source -> dotted name of the setting.
_NAMES_IN_FILE = {name: name for name in FIELDS}
_NAMES_IN_ENVIRONMENT = {variable(name): name for name in FIELDS}


def _bad_setting(name: str, why: str) -> BadSetting:
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
        # A byte order mark, which Windows editors write, does not count.
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        problems.append(_bad_setting(CONFIG_FILE, f"{path}: {error.strerror}"))
        return {}
    except UnicodeDecodeError:
        problems.append(_bad_setting(CONFIG_FILE, f"{path}: it is not UTF-8 text"))
        return {}
    except ValueError as error:
        problems.append(_bad_setting(CONFIG_FILE, f"{path}: {error}"))
        return {}
    values: dict[str, object] = {}
    for section, table in tables.items():
        if isinstance(table, dict):
            values |= {f"{section}.{name}": value for name, value in table.items()}
        else:
            values[section] = table
    return values


def _tree(values: Mapping[str, object]) -> dict[str, Any]:
    """Nest the values by section, as pydantic expects them."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        section, _, field = name.rpartition(".")
        table = tree.setdefault(section, {}) if section else tree
        table[field] = _prepare(value, FIELDS[name])
    return tree


def _prepare(value: object, field: FieldInfo) -> object:
    """Convert a value for pydantic: split a list given as text, and do not read true as 1."""
    if isinstance(value, str) and isinstance(field.default, tuple):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, bool) and field.annotation is not bool:
        return str(value).lower()
    return value


def _explain(detail: ErrorDetails) -> list[tuple[str, str]]:
    """Convert an error of pydantic to pairs of a setting's name and why it is refused."""
    problem = detail.get("ctx", {}).get("error")
    section = str(detail["loc"][0])
    if isinstance(problem, Contradiction):
        return [(f"{section}.{field}", why) for field, why in problem.problems]
    name = ".".join(map(str, detail["loc"][:2]))  # a third part is the index in a list
    return [(name, f"{_shown(name, detail['input'])} is not {allowed(FIELDS[name])}")]


def _shown(name: str, value: object) -> str:
    """Return a refused value as the error quotes it, which is logged: of texts only the length."""
    if isinstance(value, str) and FIELDS[name].annotation is str and name not in SHARED_TEXTS:
        return f"a text of {len(value)} characters"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "..."


def _describe_unknown(source_name: str, names: Mapping[str, str]) -> str:
    if source_name in SECTIONS:  # of a file
        return f"it is a table: write [{source_name}], and its settings below"
    by_lower = {name.lower(): name for name in names}
    matches = difflib.get_close_matches(source_name.lower(), by_lower, n=1)
    hint = f" (did you mean {by_lower[matches[0]]}?)" if matches else ""
    return "there is no such setting" + hint
