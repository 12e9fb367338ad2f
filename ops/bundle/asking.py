"""What only a person can give: a yes to licences, and a token. Asked for once, kept nowhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from getpass import getpass
from typing import NamedTuple

from appliance.errors import LicenceNotAccepted


class Licence(NamedTuple):
    """A licence, and the page on which a person reads it."""

    repository: str
    name: str
    page: str


def accept(licences: Sequence[Licence]) -> None:
    """Asks for a yes to all of them. Raises LicenceNotAccepted without one."""
    names = ", ".join(licence.repository for licence in licences)
    if not sys.stdin.isatty():
        why = "nobody is here to be asked; who has read it says so with --accept-licences"
        raise LicenceNotAccepted(repository=names, why=why)
    print("  These models come under their authors' licences:")
    for licence in licences:
        print(f"    {licence.name}: {licence.page}")
    if input("  Do you accept them? [yes/no] ").strip().lower() not in ("y", "yes"):
        raise LicenceNotAccepted(repository=names, why="the answer was not yes")


def token(repository: str, page: str) -> str:
    """Asks for the token of an account of the hub, without showing it.

    Raises LicenceNotAccepted when nobody is there or nothing is given.
    """
    if not sys.stdin.isatty():
        why = "its authors let only those in who accepted it, and HF_TOKEN is not set"
        raise LicenceNotAccepted(repository=repository, why=why)
    print(f"  {repository} is gated: its licence has to be accepted with an account of the hub, at")
    print(f"    {page}")
    given = getpass("  Token of that account (not shown, not kept): ").strip()
    if not given:
        raise LicenceNotAccepted(repository=repository, why="no token was given")
    return given
