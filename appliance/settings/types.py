"""Types of settings. Each type has a check for pydantic and a description of its values."""

from __future__ import annotations

import datetime
import ipaddress
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import annotated_types as bounds
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

# How pydantic checks a section: without NaN, and without blanks around texts. `defer_build`: the
# checks are built when settings are first loaded, not when a module is imported.
SECTION = ConfigDict(allow_inf_nan=False, str_strip_whitespace=True, defer_build=True)
Section = TypeVar("Section")
DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS
MAX_EXAMPLES_CHARS = 4000


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a number, in the plural."""

    name: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """The accepted values in words, if they cannot be derived from bounds or choices."""

    values: str


class Contradiction(ValueError):
    """Raised for fields of one section that are valid alone but not together.

    problems   pairs of a field's name and the reason why its value is refused
    """

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{name} {why}" for name, why in self.problems))


def require(section: Section, **rules: tuple[bool, str]) -> Section:
    """Return `section`. Raises Contradiction unless all rules hold.

    The keyword of a rule is the field that it concerns. Its value is a pair: whether the rule
    holds, and why the field is refused if it does not.
    """
    problems = [(name, why) for name, (holds, why) in rules.items() if not holds]
    if problems:
        raise Contradiction(problems)
    return section


def parse_voice(voice: str) -> tuple[tuple[str, float], ...]:
    """Parse a voice or a blend of voices into (name, weight) pairs.

    `a:2,b` gives voice `a` weight 2 and voice `b` weight 1. Raises ValueError if `voice` is neither
    a name nor a blend. Whether the voices exist is not checked.
    """
    parts = []
    for part in voice.split(","):
        name, colon, number = part.strip().partition(":")
        weight = float(number) if colon else 1.0
        if not re.fullmatch(r"\w+", name) or not 0 < weight < math.inf:
            raise ValueError(part)
        parts.append((name, weight))
    return tuple(parts)


def parse_examples(text: str) -> tuple[tuple[str, str], ...]:
    """Parse `QUESTION => ANSWER | QUESTION => ANSWER` into (question, answer) pairs.

    Raises ValueError for a part without both.
    """
    pairs = []
    for part in filter(None, map(str.strip, text.split("|"))):
        question, arrow, answer = (each.strip() for each in part.partition("=>"))
        if not (question and arrow and answer):
            raise ValueError(f"{part!r} is not QUESTION => ANSWER")
        pairs.append((question, answer))
    return tuple(pairs)


def _check_examples(text: str) -> str:
    parse_examples(text)
    return text


def _check_voice(voice: str) -> str:
    parse_voice(voice)
    return voice


def _check_host(host: str) -> str:
    if ":" in host or re.fullmatch(r"[\d.]+", host):
        ipaddress.ip_address(host)
    elif not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host):
        raise ValueError(host)
    return host


def _check_network(network: str) -> str:
    ipaddress.ip_network(network, strict=True)
    return network


def _check_date(text: str) -> str:
    if text:
        datetime.datetime.strptime(text, "%d %b %Y")  # raises ValueError
    return text


def _check_not_empty(path: object) -> object:
    if path == "":  # Path("") would be the current folder
        raise ValueError(path)
    return path


Seconds = Annotated[float, Unit("seconds")]
WholeSeconds = Annotated[int, Unit("seconds")]
Tokens = Annotated[int, Unit("tokens")]
Bytes = Annotated[int, Unit("bytes")]
MemoryLimit = Annotated[Bytes, Field(ge=0, le=10**12)]
Turns = Annotated[int, Unit("turns")]
Threads = Annotated[int, Unit("threads"), Field(ge=1, le=256)]
Words = Annotated[int, Unit("words"), Field(ge=1, le=200)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, AfterValidator(_check_host), Allowed("an IP address or a host name")]
FolderName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"),
    Allowed("a folder name of letters, digits, '.', '_' and '-'"),
]
OptionalFolderName = Annotated[
    str,
    Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$"),
    Allowed("a folder name of letters, digits, '.', '_' and '-', or empty"),
]
HeaderText = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._:-]{0,64}$"),
    Allowed("at most 64 letters, digits, '.', '_', ':' and '-', or empty"),
]
FilePath = Annotated[Path, BeforeValidator(_check_not_empty), Allowed("a path")]
Voice = Annotated[
    str,
    Field(max_length=200),  # limit of the engine link (appliance/link/protocol.py)
    AfterValidator(_check_voice),
    Allowed("a voice, or a blend such as af_heart:2,am_adam:1"),
]
Examples = Annotated[
    str,
    Field(max_length=MAX_EXAMPLES_CHARS),
    AfterValidator(_check_examples),
    Allowed(f"QUESTION => ANSWER | QUESTION => ANSWER, at most {MAX_EXAMPLES_CHARS} characters"),
]
Date = Annotated[str, AfterValidator(_check_date), Allowed("a date such as 22 Nov 2026, or empty")]
Origins = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*://[^/\s]+$")], ...],
    Allowed("a list of origins such as https://app.example, separated by commas"),
]
Networks = Annotated[
    tuple[Annotated[str, AfterValidator(_check_network)], ...],
    Allowed("a list of IP addresses and networks such as 10.0.0.0/8, separated by commas"),
]
ToolNames = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], ...],
    Field(max_length=16),  # limit of the engine link (appliance/link/engine.py)
    Allowed("a list of at most 16 tool names, separated by commas"),
]


def allowed(field: FieldInfo) -> str:
    """Describe the values that a field accepts: "a number of seconds above 0, at most 60"."""
    kind = field.annotation
    for item in field.metadata:
        if isinstance(item, Allowed):
            return item.values
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if kind in (int, float):
        unit = "".join(f" of {item.name}" for item in field.metadata if isinstance(item, Unit))
        return f"a {'whole ' if kind is int else ''}number{unit} {_range(field.metadata)}"
    return "text" + _length(field.metadata)


def _range(metadata: Iterable[Any]) -> str:
    """Describe the bounds of a number. A test checks that every number has both bounds."""
    low = high = ""
    for bound in metadata:
        match bound:
            case bounds.Ge(ge=value):
                low = f"from {value} to"
            case bounds.Gt(gt=value):
                low = f"above {value}, at most"
            case bounds.Le(le=value):
                high = f"{value}"
            case bounds.Lt(lt=value):
                high = f"below {value}"
    return f"{low} {high}"


def _length(metadata: Iterable[Any]) -> str:
    least = next((item.min_length for item in metadata if isinstance(item, bounds.MinLen)), 0)
    most = next((item.max_length for item in metadata if isinstance(item, bounds.MaxLen)), None)
    return (", not empty" if least else "") + (f", at most {most} characters" if most else "")
