"""What `talk` shows: transcript lines, and under them one line that changes. Pure but for `Screen`.

listening  [=====     ]  last answer after 1.84 s
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TextIO

from client.record import TurnRecord
from client.report import plain

METER_FROM_DBFS = -60.0
METER_WIDTH = 12


@dataclass(frozen=True, slots=True)
class View:
    """What is going on now."""

    state: str = "connecting"
    level_dbfs: float = METER_FROM_DBFS
    latency_seconds: float | None = None  # of the last answer
    note: str = ""  # takes the place of the latency while there is something to say


def meter(level_dbfs: float, width: int = METER_WIDTH) -> str:
    """A bar of `width` characters from METER_FROM_DBFS to full scale."""
    share = (level_dbfs - METER_FROM_DBFS) / -METER_FROM_DBFS
    filled = round(width * min(1.0, max(0.0, share)))
    return "=" * filled + " " * (width - filled)


def status_line(view: View, columns: int) -> str:
    """The changing line, cut to `columns` characters."""
    latency = view.latency_seconds
    tail = view.note or ("" if latency is None else f"last answer after {latency:.2f} s")
    return f"{view.state:10} [{meter(view.level_dbfs)}]  {plain(tail)}"[:columns].rstrip()


def transcript_lines(record: TurnRecord) -> list[str]:
    """A finished turn as it is kept above the changing line."""
    lines = []
    if user_text := plain(record.user_text):
        lines.append(f"you  {user_text}")
    if reply_text := plain(record.reply_text):
        lines.append(f"bot  {reply_text}{' -' if record.interrupted else ''}")
    return lines


class Screen:
    """Draws on a terminal; elsewhere (a pipe, a log) it prints the transcript only."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()

    def draw(self, view: View) -> None:
        if self._live:
            columns = shutil.get_terminal_size().columns
            self._write(f"\r{status_line(view, columns - 1)}\x1b[K")

    def print(self, line: str) -> None:
        self._write(f"\r{line}\x1b[K\n" if self._live else f"{line}\n")

    def clear(self) -> None:
        if self._live:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        encoding = self._out.encoding or "utf-8"
        self._out.write(text.encode(encoding, "replace").decode(encoding))
        self._out.flush()
