"""The result of a tool call, as the metrics count it and as the model sees it. No I/O."""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

MAX_RESULT_CHARS = 4_000  # about 1,000 tokens, which the model reads while the user waits
TIMED_OUT = "error: it took too long and was stopped"
FAILED = "error: it failed and returned nothing"


class ToolResult(NamedTuple):
    """The outcome for the metrics ("too_slow" is a timeout), and the text for the model.

    reply  whether the model replies to it
    """

    outcome: Literal["done", "failed", "too_slow"]
    text: str
    reply: bool = True


def format_result(result: Any) -> str:
    """Return a tool's result as text, at most MAX_RESULT_CHARS: JSON unless it is a string."""
    text = (
        result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    )
    return text[:MAX_RESULT_CHARS]
