"""From a decoded reply to what of it is spoken, as it streams; pure.

A reply may be a call of a tool, the model's word for "that was no speech", or speech. What may
still become one of the first two is held back. That costs a spoken reply nothing, since speech
begins otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.engines.llm.text import Reply
from appliance.engines.llm.vllm.tools import PYTHON_TAG, parse
from appliance.link.engine import Tool, ToolCall

# How a call begins: as Llama 3.1 is told to write it, and in ways it also knows from training.
CALLS = ("{", "<function", PYTHON_TAG)
_AROUND = " \t\r\n."  # around the noise reply


@dataclass(frozen=True, slots=True)
class Ending:
    """text   the rest of what is to be spoken
    call   of a tool, without a name if it is malformed; None when the reply is none
    noise  whether the model says that it heard no speech
    """

    text: str = ""
    call: ToolCall | None = None
    noise: bool = False


class Answer:
    """Takes the text of one reply in any pieces."""

    def __init__(self, tools: Sequence[Tool], noise_reply: str) -> None:
        self._tools = tools
        self._noise = noise_reply.strip(_AROUND).casefold()
        self._reply = Reply()
        self._given_out = 0  # characters of the reply's text

    @property
    def loops(self) -> bool:
        """Whether the reply goes in circles and should be ended."""
        return self._reply.loops

    def add(self, text: str) -> str:
        """More of the reply; what of it can be spoken now, which may be nothing."""
        self._reply.add_text(text)
        return self._until(self._certain())

    def finish(self) -> Ending:
        """The reply is complete."""
        self._reply.finish()
        whole = self._reply.text
        if self._noise and whole.strip(_AROUND).casefold() == self._noise:
            return Ending(noise=True)
        call = self._call_at()
        if call is not None and (not whole[:call].strip() or '"name"' in whole[call:]):
            return Ending(self._until(call), call=parse(whole, self._tools))
        return Ending(self._until(len(whole)))

    def _until(self, end: int) -> str:
        text = self._reply.text[self._given_out : end]
        self._given_out = max(self._given_out, end)
        return text

    def _certain(self) -> int:
        """So many characters are speech, whatever follows."""
        whole = self._reply.text
        if self._may_be_noise(whole):
            return 0
        call = self._call_at()
        if call is not None:
            return call
        if not self._tools:
            return len(whole)
        longest = max(map(len, CALLS)) - 1
        for start in range(max(0, len(whole) - longest), len(whole)):
            if any(mark.startswith(whole[start:]) for mark in CALLS):
                return start
        return len(whole)

    def _call_at(self) -> int | None:
        """Where a call begins; a reply may announce it, which speech with a brace in it may not."""
        if not self._tools:
            return None
        whole = self._reply.text
        return min((at for mark in CALLS if (at := whole.find(mark)) >= 0), default=None)

    def _may_be_noise(self, whole: str) -> bool:
        said = whole.lstrip(_AROUND).casefold()
        if not self._noise:
            return False
        return self._noise.startswith(said) or said.rstrip(_AROUND) == self._noise
