"""Parse a streamed reply: speech, a tool call, or the reply to noise. No I/O.

Text that may be the beginning of a tool call or of the reply to noise is held back. Ordinary text
rarely begins like either, so speech is not delayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engines.llm.text import ReplyText
from appliance.engines.llm.vllm.tools import PYTHON_TAG, parse_call
from appliance.link.engine import Tool, ToolCall

# Beginnings of a tool call: the prompted format, and two that Llama 3.1 learned in training.
CALL_PREFIXES = ("{", "<function", PYTHON_TAG)
_AROUND_NOISE = " \t\r\n."  # ignored before and after the noise reply


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """The end of a reply.

    text   the remaining text to speak
    call   the tool call, without a name if it is invalid; None if the reply is not a call
    noise  whether the reply is the reply to noise
    """

    text: str = ""
    call: ToolCall | None = None
    noise: bool = False


class ReplyParser:
    """Splits a reply, which may be fed in chunks of any size, into speech and a ReplyEnd.

    `noise_reply` is the text with which the model answers audio that contains no speech.
    """

    def __init__(self, tools: Sequence[Tool], noise_reply: str) -> None:
        self._tools = tools
        self._noise = noise_reply.strip(_AROUND_NOISE).casefold()
        self._reply = ReplyText()
        self._returned = 0  # number of characters returned so far

    @property
    def is_looping(self) -> bool:
        """Whether the model is stuck in a loop and should be stopped."""
        return self._reply.is_looping

    def feed(self, text: str) -> str:
        """Add text. Returns the text that is certain to be speech, which may be empty."""
        self._reply.add(text)
        return self._take(self._count_certain())

    def finish(self) -> ReplyEnd:
        """End the reply and return its end."""
        self._reply.finish()
        text = self._reply.text
        if self._noise and text.strip(_AROUND_NOISE).casefold() == self._noise:
            return ReplyEnd(noise=True)
        call = self._find_call()
        if call is not None and (not text[:call].strip() or '"name"' in text[call:]):
            return ReplyEnd(self._take(call), call=parse_call(text, self._tools))
        return ReplyEnd(self._take(len(text)))

    def _take(self, end: int) -> str:
        text = self._reply.text[self._returned : end]
        self._returned = max(self._returned, end)
        return text

    def _count_certain(self) -> int:
        """Return the number of characters that are speech whatever text follows."""
        text = self._reply.text
        if self._may_be_noise(text):
            return 0
        call = self._find_call()
        if call is not None:
            return call
        if not self._tools:
            return len(text)
        longest = max(map(len, CALL_PREFIXES)) - 1
        for start in range(max(0, len(text) - longest), len(text)):
            if any(prefix.startswith(text[start:]) for prefix in CALL_PREFIXES):
                return start
        return len(text)

    def _find_call(self) -> int | None:
        """Return the position at which a tool call may begin; None if there is none.

        Speech may precede the call, and the speech itself may contain a brace.
        """
        if not self._tools:
            return None
        starts = [self._reply.text.find(prefix) for prefix in CALL_PREFIXES]
        return min((start for start in starts if start >= 0), default=None)

    def _may_be_noise(self, text: str) -> bool:
        stripped = text.lstrip(_AROUND_NOISE).casefold()
        if not self._noise:
            return False
        return self._noise.startswith(stripped) or stripped.rstrip(_AROUND_NOISE) == self._noise
