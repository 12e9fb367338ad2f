"""What `talk` shows: transcript lines, and below them a status line that is redrawn.

listening  [=====     ]  last answer after 1.84 s at the client's buffer
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TextIO

from client.record import ClientTurnRecord
from client.report import plain

METER_MIN_DBFS = -60.0
METER_WIDTH = 12  # characters


@dataclass(frozen=True, slots=True)
class TalkStatus:
    """The content of the status line."""

    state: str = "connecting"
    level_dbfs: float = METER_MIN_DBFS  # level of the microphone
    latency_seconds: float | None = None  # latency of the last answer
    sound_gaps: int = 0  # under- and overruns of the sound devices


def meter(level_dbfs: float, width: int = METER_WIDTH) -> str:
    """Render a level as a bar of `width` characters, from METER_MIN_DBFS to full scale."""
    fraction = (level_dbfs - METER_MIN_DBFS) / -METER_MIN_DBFS
    filled = round(width * min(1.0, max(0.0, fraction)))
    return "=" * filled + " " * (width - filled)


def status_line(status: TalkStatus, columns: int) -> str:
    """Render the status line, cut to `columns` characters."""
    parts = []
    if (latency := status.latency_seconds) is not None:
        parts.append(f"last answer after {latency:.2f} s at the client's buffer")
    if status.sound_gaps:
        parts.append(f"sound gaps: {status.sound_gaps}")
    line = f"{status.state:10} [{meter(status.level_dbfs)}]  {'; '.join(parts)}"
    return line[:columns].rstrip()


def transcript_lines(record: ClientTurnRecord) -> list[str]:
    """Render the transcript of a finished turn. An interrupted reply ends with a dash."""
    lines = []
    if user_text := plain(record.user_text):
        lines.append(f"you  {user_text}")
    if reply_text := plain(record.reply_text):
        lines.append(f"bot  {reply_text}{' -' if record.interrupted else ''}")
    return lines


class Screen:
    """Draws on a terminal. If the output is a pipe or a file, prints only the transcript."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()

    def draw(self, status: TalkStatus) -> None:
        """Redraw the status line."""
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns
            self._write(f"\r{status_line(status, columns - 1)}\x1b[K")

    def print(self, line: str) -> None:
        """Print a line above the status line."""
        self._write(f"\r{line}\x1b[K\n" if self._is_terminal else f"{line}\n")

    def clear(self) -> None:
        """Erase the status line."""
        if self._is_terminal:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        encoding = self._out.encoding or "utf-8"
        self._out.write(text.encode(encoding, "replace").decode(encoding))
        self._out.flush()
