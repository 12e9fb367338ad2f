"""Which programs and rights the tests of the pool need."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, package: str = "") -> str:
    """Return the path of a program; without it the test is skipped, or fails if CI is set."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return path or unable(f"{name} IS MISSING (apt-get install {package or name})")


def need_root() -> None:
    """Skip the test unless it may make network namespaces."""
    if os.geteuid() != 0:
        unable("ONLY ROOT CAN MAKE NETWORK NAMESPACES")


def unable(reason: str) -> str:
    """Skip the test, or fail it if CI is set."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(f"SKIPPED: {reason}")
