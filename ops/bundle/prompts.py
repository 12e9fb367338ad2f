"""Prompt the user to accept licences, and for a token. Neither answer is stored."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from getpass import getpass
from typing import NamedTuple

from appliance.errors import LicenceNotAccepted


class Licence(NamedTuple):
    """A licence, and the page where the user can read it."""

    repository: str
    name: str
    page: str


def accept_licences(licences: Sequence[Licence]) -> None:
    """Prompt the user to accept all licences. Raises LicenceNotAccepted."""
    names = ", ".join(licence.repository for licence in licences)
    if not sys.stdin.isatty():
        why = "there is no terminal for a prompt; confirm that you read it with --accept-licences"
        raise LicenceNotAccepted(repository=names, why=why)
    print("  The authors of these models publish them under these licences:")
    for licence in licences:
        print(f"    {licence.name}: {licence.page}")
    if input("  Do you accept them? [yes/no] ").strip().lower() not in ("y", "yes"):
        raise LicenceNotAccepted(repository=names, why="the answer was not yes")


def ask_token(repository: str, page: str) -> str:
    """Prompt for the access token of a model hub account, without echo.

    Raises LicenceNotAccepted if there is no terminal or the answer is empty.
    """
    if not sys.stdin.isatty():
        why = "it is gated, and HF_TOKEN is not set"
        raise LicenceNotAccepted(repository=repository, why=why)
    print(f"  {repository} is gated: accept its licence with an account of the hub at")
    print(f"    {page}")
    token = getpass("  Token of that account (not shown, not stored): ").strip()
    if not token:
        raise LicenceNotAccepted(repository=repository, why="no token was given")
    return token
