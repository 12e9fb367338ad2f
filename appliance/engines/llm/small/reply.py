"""Parse the text of a streamed reply: speech, a tool call, or a copy of the prompt. No I/O.

Text that may be the beginning of a call or of a copy is held back. Other text is returned at once,
so speech is not delayed.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.engines.llm.small.copies import CopyGuard, CopyState
from appliance.engines.llm.small.tools import CallText, certain_speech, find_call
from appliance.engines.llm.text import ReplyText
from appliance.link.engine import Tool


class ReplySplitter:
    """Splits a reply into speech and the text of a call.

    `tools` are those in the prompt: text that looks like a call is not spoken.
    """

    def __init__(self, guard: CopyGuard, tools: Sequence[Tool]) -> None:
        self._guard = guard
        self._tools = tools
        self._reply = ReplyText()
        self._returned = 0  # number of characters returned so far
        self._copy = CopyState.OPEN

    @property
    def is_looping(self) -> bool:
        """Whether the model is stuck in a loop and should be stopped."""
        return self._reply.is_looping

    @property
    def text(self) -> str:
        """The reply so far, with what is held back."""
        return self._reply.text

    @property
    def copied(self) -> str:
        """The text that the reply copies; empty if it is not a copy. None of it was returned."""
        return self._guard.copied if self._copy is CopyState.COPY else ""

    @property
    def call(self) -> CallText | None:
        """The call in the reply so far; None if there is none."""
        return find_call(self._reply.text, self._tools)

    def feed(self, data: bytes) -> str:
        """Add the bytes of a token. Returns the text that is certain to be speech."""
        self._reply.add_bytes(data)
        return self._take(is_complete=False)

    def finish(self, is_cut: bool = False) -> str:
        """End the reply. Returns the rest of the speech; nothing if the reply is a copy.

        `is_cut`: the reply reached its limit, so it is spoken as it is.
        """
        self._reply.finish()
        if is_cut:
            self._copy = CopyState.OWN
        return self._take(is_complete=True)

    def _take(self, is_complete: bool) -> str:
        text, call = self._reply.text, self.call
        end = len(text) if call is None else call.start
        if self._copy is CopyState.OPEN:
            self._copy = self._guard.judge(text[:end], is_complete or call is not None)
        if self._copy is not CopyState.OWN:
            return ""
        if call is None and not is_complete:
            end = certain_speech(text, self._tools)
        new = text[self._returned : end]
        self._returned = max(self._returned, end)
        return new
