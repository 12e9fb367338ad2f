"""What the model is told of the past; pure.

Past user turns stay what was said, as audio, while there is room; the last few always do, older
ones then become what the engine understood. Answers are what the user heard of them, and what the
model had done in between stays with them. What a user said twice without an answer in between is
one turn. When the budget is full half of it is freed at once, because every change at the front
costs the engine its cached prefix.

Token estimates: Ultravox v0.5 makes 6.25 tokens of a second of speech; English text is about
four characters a token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.link.engine import Turn, Utterance

AUDIO_TOKENS_PER_SECOND = 6.25
CHARS_PER_TOKEN = 4
TOKENS_PER_TURN = 5  # what the chat formats of Llama 3.1 and Qwen 2.5 wrap around a turn
MOST_TURNS = 160  # the link carries 200, and the last question may not be cut off
INTERRUPTED = "interrupted by the caller, nothing came of it"


@dataclass(slots=True)
class Call:
    """A tool the model asked for, in the words it used, and what came of it."""

    text: str
    result: str = INTERRUPTED  # until there is another


@dataclass(slots=True)
class Exchange:
    """What a user typed or said, what the engine understood of it, what was heard of the answer."""

    text: str = ""
    utterance: Utterance | None = None
    understood: str = ""
    reply: str = ""
    calls: list[Call] = field(default_factory=list)

    def question(self) -> list[Turn]:
        """What was typed, then what was said, as audio while we hold it; and the calls since."""
        if self.utterance is not None:
            turns = [Turn("user", self.text, self.utterance.id)]
        else:
            turns = [Turn("user", f"{self.text} {self.understood}".strip())]
        for call in self.calls:
            turns += [Turn("assistant", call.text), Turn("tool", call.result)]
        return turns

    @property
    def tokens(self) -> float:
        """Estimated size in a prompt."""
        turns = [*self.question(), Turn("assistant", self.reply)]
        chars = sum(len(turn.text) for turn in turns)
        seconds = self.utterance.seconds if self.utterance is not None else 0.0
        wrapping = len(turns) * TOKENS_PER_TURN
        return wrapping + chars / CHARS_PER_TOKEN + seconds * AUDIO_TOKENS_PER_SECOND

    @property
    def turns(self) -> int:
        """A question and its answer are two, a call and its result are two more."""
        return 2 + 2 * len(self.calls)


class History:
    """The conversation of one session. All bounds are those of the settings."""

    def __init__(
        self, system_prompt: str, max_tokens: int, max_turns: int, audio_turns: int
    ) -> None:
        self._system_prompt = system_prompt
        self._max_tokens = max_tokens
        self._max_turns = min(max(2, max_turns), MOST_TURNS)
        self._audio_turns = audio_turns
        self._greeting = ""
        self.exchanges: list[Exchange] = []

    def ask(self, text: str = "", utterance: Utterance | None = None) -> Exchange:
        """The user said or typed something that now wants an answer."""
        self.exchanges.append(Exchange(text=text, utterance=utterance))
        return self.exchanges[-1]

    def waiting(self) -> Exchange | None:
        """The last exchange if nothing of an answer to it was heard."""
        return self.exchanges[-1] if self.exchanges and not self.exchanges[-1].reply else None

    def unanswered(self) -> Exchange | None:
        """Takes back the last exchange if nothing of an answer to it was heard, or done."""
        waiting = self.waiting()
        return self.exchanges.pop() if waiting is not None and not waiting.calls else None

    def heard(self, reply: str) -> None:
        """What the user heard, or heard further, of the answer to the last exchange.

        Before there was one it was a greeting, which stays the first that the model has said.
        """
        if self.exchanges:
            self.exchanges[-1].reply = f"{self.exchanges[-1].reply} {reply}".strip()
        else:
            self._greeting = f"{self._greeting} {reply}".strip()

    def understood(self, utterance: Utterance, text: str) -> None:
        """What the engine understood, used in place of the audio once that has to go."""
        for exchange in self.exchanges:
            if exchange.utterance is utterance:
                exchange.understood = text

    def is_full(self) -> bool:
        """Whether it is time to `trim`."""
        return not self._fits(self._max_tokens, self._max_turns)

    def trim(self) -> list[Utterance]:
        """Makes room when over budget; returns the utterances that nothing refers to now.

        What was understood replaces the audio of all but the last questions. Then the oldest
        exchanges go until the past takes half of the budget. The last exchange stays whatever it
        holds: it may be the one to be answered.
        """
        if not self.is_full():
            return []
        freed: list[Utterance] = []
        for exchange in self.exchanges[: -max(1, self._audio_turns)]:
            if exchange.utterance is not None and exchange.understood:
                freed.append(exchange.utterance)
                exchange.utterance = None
        while len(self.exchanges) > 1 and not self._is_roomy():
            gone = self.exchanges.pop(0)
            if gone.utterance is not None:
                freed.append(gone.utterance)
        return freed

    def _is_roomy(self) -> bool:
        past = sum(exchange.tokens for exchange in self.exchanges[:-1])
        return past <= self._max_tokens / 2 and self._fits(self._max_tokens, self._max_turns // 2)

    def _fits(self, tokens: float, turns: int) -> bool:
        return (
            sum(exchange.tokens for exchange in self.exchanges) <= tokens
            and sum(exchange.turns for exchange in self.exchanges) <= turns
        )

    def conversation(self) -> list[Turn]:
        """The turns as the engine is told of them, from the system prompt to the last answer."""
        turns = self.question()
        if self.exchanges and self.exchanges[-1].reply:
            turns.append(Turn("assistant", self.exchanges[-1].reply))
        return turns

    def question(self) -> list[Turn]:
        """The same, up to the last question: what was heard of an answer to it is left out."""
        turns = [Turn("system", self._system_prompt)] if self._system_prompt else []
        if self._greeting:
            turns.append(Turn("assistant", self._greeting))
        for number, exchange in enumerate(self.exchanges, 1):
            turns += exchange.question()
            if exchange.reply and number < len(self.exchanges):
                turns.append(Turn("assistant", exchange.reply))
        return turns
