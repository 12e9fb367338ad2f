"""The tokens and the text of one reply while the model decodes it. No I/O.

The draft begins with the beginning that a hint gives. The result of a sum is put in as soon as the
reply states the sum. A reply that copies the prompt is begun again, once, with a penalty on the
copied words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from appliance.engines.llm.small.copies import CopyGuard
from appliance.engines.llm.small.hints.hint import Hint
from appliance.engines.llm.small.reply import ReplySplitter
from appliance.engines.llm.small.stated_sums import StatedResults
from appliance.engines.llm.small.tools import CallText
from appliance.link.engine import ChatMessage, Tool


class Tokenizer(Protocol):
    """What a draft needs of the language model."""

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of plain text."""

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token, maybe of a partial character."""

    def is_control(self, token: int) -> bool:
        """Return whether the token has no text, such as the end of the reply."""


class ReplyDraft:
    """The reply to a conversation.

    tokens       the prompt and the reply so far
    avoided      tokens that get a penalty: the words of the text that the reply copied at first
    is_complete  whether no more tokens are to be decoded
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        turns: Sequence[ChatMessage],
        hint: Hint,
        tools: Sequence[Tool],
        on_copy: Callable[[], None],
    ) -> None:
        """`prompt` has the tokens of `turns`; `on_copy` is called if the reply is begun again."""
        self._tokenizer = tokenizer
        self._prompt_tokens = len(prompt)
        self._turns = turns
        self._hint = hint
        self._tools = tools
        self._on_copy = on_copy
        self._results = StatedResults(hint.note)
        guard = CopyGuard((), "") if hint.beginning else CopyGuard.of(turns)
        self._splitter = ReplySplitter(guard, tools)
        self.tokens = list(prompt)
        self.avoided: Sequence[int] = ()
        self.is_complete = False

    @property
    def is_empty(self) -> bool:
        """Whether the next token is the first of the reply."""
        return len(self.tokens) == self._prompt_tokens

    @property
    def call(self) -> CallText | None:
        """The tool call in the reply so far; None if there is none."""
        return self._splitter.call

    def begin(self) -> str:
        """Begin with the beginning of the hint. Return its text, or '' if the hint has none."""
        self.is_complete = self._hint.is_whole
        return self._put(self._hint.beginning)

    def add(self, token: int) -> str:
        """Add a token of the model. Return the text that is now certain to be speech."""
        splitter = self._splitter
        if self._tokenizer.is_control(token):
            piece = self._put(self._results.at_end(splitter.text)) + splitter.finish()
            self.is_complete = True
        else:
            self.tokens.append(token)
            piece = splitter.feed(self._tokenizer.piece(token))
            piece += self._put(self._results.after(splitter.text))
            call = splitter.call
            self.is_complete = splitter.is_looping or (call is not None and call.is_complete)
        if splitter.copied:
            self._begin_again(splitter.copied)
            return ""
        return piece

    def finish(self) -> str:
        """End the reply, also one that has reached its limit. Return the rest of the speech."""
        return self._splitter.finish(is_cut=True)

    def _put(self, text: str) -> str:
        """Add text that the model has not decoded."""
        if not text:
            return ""
        self.tokens += self._tokenizer.tokenize(text)
        return self._splitter.feed(text.encode())

    def _begin_again(self, copied: str) -> None:
        """Drop the reply. If the second one is a copy, too, neither is better: keep the first."""
        if self.avoided:
            self.avoided, guard = (), CopyGuard((), "")
        else:
            self.avoided, guard = word_tokens(self._tokenizer, copied), CopyGuard.of(self._turns)
            self._on_copy()
        del self.tokens[self._prompt_tokens :]
        self._splitter = ReplySplitter(guard, self._tools)
        self.is_complete = False


def word_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the tokens of the words of a text, each as it is at its beginning and within."""
    tokens = {*tokenizer.tokenize(text), *tokenizer.tokenize(f" {text}")}
    return [
        token
        for token in tokens
        if any(map(str.isalnum, tokenizer.piece(token).decode("utf-8", "ignore")))
    ]
