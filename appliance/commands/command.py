"""The type of a command of `python -m appliance`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from appliance.settings import Settings


def _no_options(parser: ArgumentParser) -> None:
    """Add nothing, for commands without options."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `python -m appliance`.

    add_options    adds its options to the command line; called only when the command runs
    defaults       values of environment variables that are not set
    log_to_stderr  whether to log to stderr, because stdout has another use
    """

    help: str
    run: Callable[[Settings, Namespace], int]
    add_options: Callable[[ArgumentParser], None] = _no_options
    defaults: Mapping[str, str] = field(default_factory=dict)
    log_to_stderr: bool = False
