"""Parse a reply while it is streamed: speech, a tool call, or the word for noise. No I/O.

Text that may still become a tool call, or the model's reply to audio without speech, is held back.
Speech rarely begins like either, so this adds no delay to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engines.llm.text import ReplyText
from appliance.engines.llm.vllm.tools import PYTHON_TAG, parse_call
from appliance.link.engine import Tool, ToolCall

# How a tool call begins: as Llama 3.1 is prompted to write it, and as it also learned to.
CALL_PREFIXES = ("{", "<function", PYTHON_TAG)
_AROUND_NOISE = " \t\r\n."  # ignored before and after the noise reply


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """The end of a reply.

    text   the rest of its speech
    call   the tool call, nameless if it is malformed; None if the reply is not a call
    noise  whether the model replied that it heard no speech
    """

    text: str = ""
    call: ToolCall | None = None
    noise: bool = False


class ReplyParser:
    """Splits one reply, fed in pieces of any size, into speech and its end."""

    def __init__(self, tools: Sequence[Tool], noise_reply: str) -> None:
        self._tools = tools
        self._noise = noise_reply.strip(_AROUND_NOISE).casefold()
        self._reply = ReplyText()
        self._returned = 0  # characters of the reply

    @property
    def is_looping(self) -> bool:
        """Whether the model is stuck in a loop and should be stopped."""
        return self._reply.is_looping

    def feed(self, text: str) -> str:
        """Add text. Returns the speech that is certain now, which may be empty."""
        self._reply.add(text)
        return self._take(self._count_certain())

    def finish(self) -> ReplyEnd:
        """The reply is complete."""
        self._reply.finish()
        whole = self._reply.text
        if self._noise and whole.strip(_AROUND_NOISE).casefold() == self._noise:
            return ReplyEnd(noise=True)
        call = self._find_call()
        if call is not None and (not whole[:call].strip() or '"name"' in whole[call:]):
            return ReplyEnd(self._take(call), call=parse_call(whole, self._tools))
        return ReplyEnd(self._take(len(whole)))

    def _take(self, end: int) -> str:
        text = self._reply.text[self._returned : end]
        self._returned = max(self._returned, end)
        return text

    def _count_certain(self) -> int:
        """The number of characters that remain speech when more text follows."""
        whole = self._reply.text
        if self._may_be_noise(whole):
            return 0
        call = self._find_call()
        if call is not None:
            return call
        if not self._tools:
            return len(whole)
        longest = max(map(len, CALL_PREFIXES)) - 1
        for start in range(max(0, len(whole) - longest), len(whole)):
            if any(prefix.startswith(whole[start:]) for prefix in CALL_PREFIXES):
                return start
        return len(whole)

    def _find_call(self) -> int | None:
        """Where a tool call may begin. Speech may precede it, and may contain a brace itself."""
        if not self._tools:
            return None
        starts = [self._reply.text.find(prefix) for prefix in CALL_PREFIXES]
        return min((start for start in starts if start >= 0), default=None)

    def _may_be_noise(self, whole: str) -> bool:
        text = whole.lstrip(_AROUND_NOISE).casefold()
        if not self._noise:
            return False
        return self._noise.startswith(text) or text.rstrip(_AROUND_NOISE) == self._noise
