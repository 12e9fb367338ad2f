"""The conversation of one session, as the model sees it. No I/O.

Questions are kept as audio while the budget allows it, and the latest ones always. Older
audio is replaced by its transcript. A reply is stored only as far as the user heard it. Tool calls
are kept with the question that led to them. Two questions without a reply in between become one.

When the budget is exceeded, half of it is freed at once. The reason: each change at the start of
the conversation invalidates the engine's cached prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.gateway.generation.utterances import latest_parts
from appliance.link.engine import ChatMessage
from appliance.link.utterance import Utterance

AUDIO_TOKENS_PER_SECOND = 6.25  # Ultravox v0.5: 100 mel frames a second, 16 frames to a token
CHARS_PER_TOKEN = 4  # of English text
TOKENS_PER_MESSAGE = 5  # added around a message by the chat formats of Llama 3.1 and Qwen 2.5
MAX_UNANSWERED_CHARS = 8_000  # of typed questions without a reply; the latest text is kept
MAX_MESSAGES = 160  # below the 200 of the link, so that the exchange in progress fits, too
INTERRUPTED = "cancelled: interrupted by the caller, no result"


@dataclass(slots=True)
class ToolCallRecord:
    """A tool call in the model's own format, and the result that the model sees.

    call_id  unique name of the call
    """

    text: str
    result: str = INTERRUPTED  # until the tool returns
    call_id: str = ""


@dataclass(slots=True)
class Exchange:
    """A question of the user, the tool calls that it caused, and the reply.

    text        the typed question, if any
    utterances  the spoken question, while it is kept as audio; several if the user went on before
                a reply was heard
    transcript  the engine's transcript of the utterances, once it is known
    reply       the part of the reply that the user has heard
    expected    the complete reply, while the user may still hear the rest of it
    tool_calls  made between question and reply
    """

    text: str = ""
    utterances: tuple[Utterance, ...] = ()
    transcript: str = ""
    reply: str = ""
    expected: str = ""
    tool_calls: list[ToolCallRecord] = field(default_factory=list)

    def question_messages(self) -> list[ChatMessage]:
        """Return the messages before the reply: the question, then tool calls and their results."""
        if self.utterances:
            messages = [
                ChatMessage("user", utterance=utterance.id) for utterance in self.utterances
            ]
            messages[0] = ChatMessage("user", self.text, messages[0].utterance)
        else:
            messages = [ChatMessage("user", f"{self.text} {self.transcript}".strip())]
        for call in self.tool_calls:
            messages += [ChatMessage("assistant", call.text), ChatMessage("tool", call.result)]
        return messages

    def joined(self, later: Exchange, max_seconds: float) -> Exchange:
        """Return this question and a later one as one, with at most `max_seconds` of speech."""
        text = f"{self.text}\n{later.text}".strip()[-MAX_UNANSWERED_CHARS:]
        return Exchange(text, latest_parts((*self.utterances, *later.utterances), max_seconds))

    @property
    def kind(self) -> str:
        """Whether the question is "spoken", at least in part, or "typed"."""
        return "spoken" if self.utterances else "typed"

    @property
    def speech_seconds(self) -> float:
        """Length of the spoken question, while it is kept as audio."""
        return sum(utterance.seconds for utterance in self.utterances)

    @property
    def tokens(self) -> float:
        """Estimated number of prompt tokens, including the reply."""
        reply = max(self.reply, self.expected, key=len)
        messages = [*self.question_messages(), ChatMessage("assistant", reply)]
        chars = sum(len(message.text) for message in messages)
        return (
            len(messages) * TOKENS_PER_MESSAGE
            + chars / CHARS_PER_TOKEN
            + self.speech_seconds * AUDIO_TOKENS_PER_SECOND
        )

    @property
    def message_count(self) -> int:
        """Number of messages: of the question and the reply, and two for each tool call."""
        return max(1, len(self.utterances)) + 1 + 2 * len(self.tool_calls)


class History:
    """The exchanges of one session, oldest first.

    max_tokens    budget; above it the history is trimmed
    max_messages  maximum number of messages
    audio_turns   number of most recent questions that are kept as audio
    """

    def __init__(
        self, system_prompt: str, max_tokens: int, max_messages: int, audio_turns: int
    ) -> None:
        self._system_prompt = system_prompt
        self._max_tokens = max_tokens
        self._max_messages = min(max(2, max_messages), MAX_MESSAGES)
        self._audio_turns = audio_turns
        self._greeting = ""
        self.exchanges: list[Exchange] = []

    def instruct(self, system_prompt: str) -> None:
        """Use another system prompt from now on."""
        self._system_prompt = system_prompt

    def add(self, text: str = "", *utterances: Utterance) -> Exchange:
        """Add a question that needs a reply. Return its exchange."""
        if self.exchanges:
            self.exchanges[-1].expected = ""
        self.exchanges.append(Exchange(text, utterances))
        return self.exchanges[-1]

    def pending(self) -> Exchange | None:
        """Return the last exchange if the user has not heard any part of its reply."""
        return self.exchanges[-1] if self.exchanges and not self.exchanges[-1].reply else None

    def unanswered(self) -> Exchange | None:
        """Return the last exchange if it has neither a reply nor tool calls.

        The next question is joined with it.
        """
        pending = self.pending()
        return pending if pending is not None and not pending.tool_calls else None

    def pop_unanswered(self) -> Exchange | None:
        """Remove and return what `unanswered` returns."""
        return self.exchanges.pop() if self.unanswered() is not None else None

    def expect_reply(self, text: str) -> None:
        """Note the complete reply of the last exchange, which the user will probably hear."""
        if self.exchanges:
            self.exchanges[-1].expected = text.strip()

    def add_heard(self, text: str) -> None:
        """Add text that the user has heard to the reply of the last exchange.

        Before the first exchange, the text belongs to the greeting.
        """
        if self.exchanges:
            self.exchanges[-1].reply = f"{self.exchanges[-1].reply} {text}".strip()
        else:
            self._greeting = f"{self._greeting} {text}".strip()

    def set_transcript(self, utterances: tuple[Utterance, ...], text: str) -> None:
        """Keep the transcript of a question; it replaces the audio when the audio is evicted."""
        for exchange in self.exchanges:
            if exchange.utterances == utterances:
                exchange.transcript = text

    def set_result(self, call_id: str, text: str) -> None:
        """Keep the result of a tool call, also of one that was interrupted."""
        for exchange in self.exchanges:
            for call in exchange.tool_calls:
                if call.call_id == call_id:
                    call.result = text

    def is_full(self) -> bool:
        """Whether the budget is exceeded."""
        return not self._fits(self._max_tokens, self._max_messages)

    def trim(self) -> list[Utterance]:
        """Free half of the budget if it is exceeded. Return the utterances that are no longer used.

        First, transcripts replace audio, except in the latest questions. Then the oldest exchanges
        are dropped until earlier exchanges use at most half of the budget. The last exchange is
        never dropped, because it may still need a reply.
        """
        if not self.is_full():
            return []
        dropped: list[Utterance] = []
        for exchange in self.exchanges[: -max(1, self._audio_turns)]:
            if exchange.transcript:
                dropped += exchange.utterances
                exchange.utterances = ()
        while len(self.exchanges) > 1 and not self._half_is_free():
            dropped += self.exchanges.pop(0).utterances
        return dropped

    def _half_is_free(self) -> bool:
        earlier = sum(exchange.tokens for exchange in self.exchanges[:-1])
        return earlier <= self._max_tokens / 2 and self._fits(
            self._max_tokens, self._max_messages // 2
        )

    def _fits(self, tokens: float, messages: int) -> bool:
        return (
            sum(exchange.tokens for exchange in self.exchanges) <= tokens
            and sum(exchange.message_count for exchange in self.exchanges) <= messages
        )

    def conversation(self) -> tuple[ChatMessage, ...]:
        """Return all messages, from the system prompt to the heard part of the last reply."""
        return self._messages(self.exchanges)

    def answered(self) -> tuple[ChatMessage, ...]:
        """Return the conversation without a question that the next one is joined with."""
        return self._messages(self.exchanges if self.unanswered() is None else self.exchanges[:-1])

    def expected_conversation(self) -> tuple[ChatMessage, ...]:
        """Return the conversation as it will be when the user has heard the last reply."""
        expected = self.exchanges[-1].expected if self.exchanges else ""
        return (
            (*self.prompt(), ChatMessage("assistant", expected))
            if expected
            else self.conversation()
        )

    def prompt(self) -> tuple[ChatMessage, ...]:
        """Return the messages before the last reply: the prompt of the next generation."""
        last = self.exchanges[-1].question_messages() if self.exchanges else []
        return (*self._messages(self.exchanges[:-1]), *last)

    def _messages(self, exchanges: Sequence[Exchange]) -> tuple[ChatMessage, ...]:
        """Return the messages from the system prompt to the reply of the last of `exchanges`."""
        messages = [ChatMessage("system", self._system_prompt)] if self._system_prompt else []
        if self._greeting:
            messages.append(ChatMessage("assistant", self._greeting))
        for exchange in exchanges:
            messages += exchange.question_messages()
            if exchange.reply:
                messages.append(ChatMessage("assistant", exchange.reply))
        return tuple(messages)
