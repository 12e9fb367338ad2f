"""The command line options of `smoke-test`. Imports no other module of the appliance."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

CHECKS = (
    "ready",
    "seal",
    "container",
    "conversation",
    "interruption",
    "overload",
    "metrics",
    "recovery",
    "egress",
)
LIMITS = ("voice_to_voice_p50", "voice_to_voice_p95", "interruption_p95", "recovery", "agreement")


@dataclass(frozen=True, slots=True)
class AcceptanceOptions:
    """Options of a test run; `add_options` describes each of them."""

    url: str = ""
    turns: int = 12
    interruptions: int = 4
    quick_seal: bool = False
    kill: bool = False
    wait_seconds: float = 60.0
    recordings: str = ""
    skip: frozenset[str] = frozenset()
    limits: Mapping[str, float] = field(default_factory=dict)
    image_id: str = ""
    container: str = ""
    host: str = ""


def add_options(parser: ArgumentParser) -> None:
    """Add the options to a command line."""
    _add_checks(parser)
    _add_output(parser)
    for name in ("image-id", "container", "host"):
        help_text = "shown in the report; passed by voicectl on the host"
        parser.add_argument(f"--{name}", default="", help=help_text)


def _add_checks(parser: ArgumentParser) -> None:
    """Add what is checked, and how strictly."""
    default = AcceptanceOptions()
    add = parser.add_argument
    add(
        "--url",
        type=_url,
        default="",
        help="WebSocket URL of the appliance; default: from the settings",
    )
    add(
        "--turns",
        type=_at_least_one,
        default=default.turns,
        help=f"number of spoken questions; default: {default.turns}",
    )
    add(
        "--interruptions",
        type=_at_least_one,
        default=default.interruptions,
        help=f"number of interrupted answers; default: {default.interruptions}",
    )
    add(
        "--quick-seal",
        action="store_true",
        help="compare only the names and sizes of the sealed files, not their contents",
    )
    add(
        "--kill",
        action="store_true",
        help="also kill each process once and wait for its recovery; disturbs other calls",
    )
    add(
        "--wait",
        type=_seconds,
        default=default.wait_seconds,
        help=f"seconds to wait until the appliance is ready; default: {default.wait_seconds:g}",
    )
    add(
        "--recordings",
        default="",
        metavar="FOLDER",
        help="also speak recordings of people: pairs NAME.wav and NAME.txt with the words",
    )
    add(
        "--skip",
        type=_checks,
        default=default.skip,
        metavar="CHECK,...",
        help=f"checks to skip: {', '.join(CHECKS)}",
    )
    add(
        "--limit",
        type=_limit,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"replace a limit: {', '.join(LIMITS)}; in seconds, agreement from 0 to 1",
    )


def _add_output(parser: ArgumentParser) -> None:
    """Add what is printed."""
    add = parser.add_argument
    add(
        "--json",
        action="store_true",
        help="print the report as JSON on stdout; the results then go to stderr",
    )
    add(
        "--page",
        action="store_true",
        help="run no checks; read a JSON report from stdin and print it as an HTML page",
    )
    add(
        "--record",
        action="store_true",
        help="run no checks; read a JSON report from stdin and print its latencies as a record",
    )


def parse(args: Namespace) -> AcceptanceOptions:
    """Return the options of a parsed command line."""
    return AcceptanceOptions(
        url=args.url,
        turns=args.turns,
        interruptions=args.interruptions,
        quick_seal=args.quick_seal,
        kill=args.kill,
        wait_seconds=args.wait,
        recordings=args.recordings,
        skip=args.skip,
        limits=dict(args.limit),
        image_id=args.image_id,
        container=args.container,
        host=args.host,
    )


def _url(text: str) -> str:
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("ws", "wss") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ArgumentTypeError(f"{text!r} is not a URL like wss://HOST:PORT/ws")
    return urlunsplit(parts._replace(path=parts.path if len(parts.path) > 1 else "/ws"))


def _checks(text: str) -> frozenset[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        _require_choice(name, CHECKS)
    return frozenset(names)


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    _require_choice(name, LIMITS)
    return name, _seconds(value)


def _require_choice(name: str, choices: Sequence[str]) -> None:
    if name not in choices:
        raise ArgumentTypeError(f"invalid choice: {name!r} (choose from {', '.join(choices)})")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ArgumentTypeError(f"{text!r} is not a number that is 0 or more")
    return value


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number that is 1 or more")
    return int(text)
