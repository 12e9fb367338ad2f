"""The mark by which an operator keeps new callers out: a file in the run folder.

A file and no signal, because a drained appliance whose gateway is restarted has to stay drained.
The gateway looks for it at each call that comes; boot removes it at the start of the appliance.
"""

from __future__ import annotations

from pathlib import Path

MARK = "draining"


def begin(run: Path) -> None:
    """Keeps new callers out. Raises FileNotFoundError when there is no run folder."""
    with (run / MARK).open("a"):  # a second time leaves the time of the first
        pass


def end(run: Path) -> None:
    """Lets callers in again."""
    (run / MARK).unlink(missing_ok=True)


def since(run: Path) -> float | None:
    """Unix time since which new callers are kept out; None when they are not."""
    try:
        return (run / MARK).stat().st_mtime
    except FileNotFoundError:
        return None
