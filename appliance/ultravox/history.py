"""What the model is told of the past; pure.

Past user turns stay what was said, as audio, while there is room; then as what the engine
understood. Answers are what the user heard of them. Roles alternate: what a user said twice
without an answer in between is one turn. When the budget is full the older half goes at once,
because every change at the front costs the engine its cached prefix.

Token estimates: Ultravox v0.5 makes 6.25 tokens of a second of speech; English text is about
four characters a token.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.link.conversation import Said, Utterance

AUDIO_TOKENS_PER_SECOND = 6.25
CHARS_PER_TOKEN = 4
TOKENS_PER_TURN = 5  # what the chat formats of Llama 3.1 and Qwen 2.5 wrap around a turn


@dataclass(slots=True)
class Exchange:
    """What a user typed or said, what the engine understood of it, what was heard of the answer."""

    text: str = ""
    utterance: Utterance | None = None
    understood: str = ""
    reply: str = ""

    def said(self) -> Said:
        """The user's turn: what was typed, then what was said, as audio while we hold it."""
        if self.utterance is not None:
            return Said("user", self.text, self.utterance)
        return Said("user", f"{self.text} {self.understood}".strip())

    @property
    def tokens(self) -> float:
        """Estimated size in a prompt."""
        seconds = self.utterance.seconds if self.utterance is not None else 0.0
        said = self.text if self.utterance is not None else self.said().text
        chars = len(said) + len(self.reply)
        return 2 * TOKENS_PER_TURN + chars / CHARS_PER_TOKEN + seconds * AUDIO_TOKENS_PER_SECOND


class History:
    """The conversation of one session. All bounds are those of the settings."""

    def __init__(self, system_prompt: str, max_tokens: int, max_turns: int) -> None:
        self._system_prompt = system_prompt
        self._max_tokens = max_tokens
        self._max_exchanges = max(1, max_turns // 2)
        self.exchanges: list[Exchange] = []

    def ask(self, text: str = "", utterance: Utterance | None = None) -> None:
        """The user said or typed something that now wants an answer."""
        self.exchanges.append(Exchange(text=text, utterance=utterance))

    def unanswered(self) -> Exchange | None:
        """Takes back the last exchange if nothing of an answer to it was heard."""
        if self.exchanges and not self.exchanges[-1].reply:
            return self.exchanges.pop()
        return None

    def heard(self, reply: str) -> None:
        """What the user heard, or heard further, of the answer to the last exchange."""
        if self.exchanges and reply:
            self.exchanges[-1].reply = f"{self.exchanges[-1].reply} {reply}".strip()

    def understood(self, utterance: Utterance, text: str) -> None:
        """What the engine understood, used in place of the audio once that has to go."""
        for exchange in self.exchanges:
            if exchange.utterance is utterance:
                exchange.understood = text

    def trim(self) -> list[Utterance]:
        """Makes room when over budget; returns the utterances that nothing refers to now.

        What was understood of the older half replaces its audio; if that is not enough, or there
        are too many exchanges, the older half goes; and so on with what is left.
        """
        freed: list[Utterance] = []
        # The last exchange stays whatever it holds: it is the one to be answered.
        while len(self.exchanges) > 1 and not self._fits():
            keep = len(self.exchanges) // 2
            older = self.exchanges[:-keep]
            freed += [e.utterance for e in older if e.utterance is not None and e.understood]
            for exchange in older:
                if exchange.understood:
                    exchange.utterance = None
            if not self._fits():
                freed += [e.utterance for e in older if e.utterance is not None]
                del self.exchanges[:-keep]
        return freed

    def _fits(self) -> bool:
        tokens = sum(exchange.tokens for exchange in self.exchanges)
        return tokens <= self._max_tokens and len(self.exchanges) <= self._max_exchanges

    def conversation(self) -> list[Said]:
        """The turns as the engine is told of them, from the system prompt to the last question."""
        turns = [Said("system", self._system_prompt)] if self._system_prompt else []
        for exchange in self.exchanges:
            turns.append(exchange.said())
            if exchange.reply:
                turns.append(Said("assistant", exchange.reply))
        return turns
