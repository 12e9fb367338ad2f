"""One answer, from the question to its last word: what the engine says goes on as frames, and what
it asks for is done in between.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pipecat.frames.frames import (
    ControlFrame,
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)

from appliance.gateway.calling import Calling, as_asked
from appliance.gateway.history import Call, Exchange, History
from appliance.gateway.hooks import TurnHooks
from appliance.link.client import EngineClient
from appliance.link.engine import Result, Tool, ToolCall
from appliance.link.recovery import Lost, outlasting
from appliance.settings import LLM

ONE_MOMENT = "One moment, please."
COULD_NOT = "I am sorry, I could not do that."
MAX_CALLS = 4  # of tools in one turn; then the model has to answer with what it has


@dataclass
class AnswerEndFrame(ControlFrame):
    """Follows the last word of an answer, of all its parts; where it passes, nothing more comes.

    Pipecat's frames cannot say so: an answer with a tool in it is two replies, and a voice that
    is silent for some seconds has stopped speaking, whatever it still has to say.
    """


class Speaking:
    """Answers for one session; `push` sends a frame on."""

    def __init__(
        self,
        settings: LLM,
        client: EngineClient,
        history: History,
        hooks: TurnHooks,
        calling: Calling,
        push: Callable[[Frame], Awaitable[None]],
    ) -> None:
        self._knobs = settings
        self._client = client
        self._history = history
        self._hooks = hooks
        self._calling = calling
        self._push = push
        self.spoke = False  # whether the answer ended with words

    async def answer(
        self,
        exchange: Exchange,
        tools: Callable[[], Sequence[Tool]],
        first: Callable[[], Awaitable[None]],
    ) -> Result:
        """Answers the last exchange of the history; awaits `first` when there is something of it.

        The measurements are the sums over all that was generated. Raises EngineFailed when the
        engine does not come back in time.
        """
        stats: dict[str, float] = {}
        begun = False

        async def piece_came() -> None:
            nonlocal begun
            if not begun:
                begun = True
                await first()

        for calls_left in range(MAX_CALLS, -1, -1):
            call, result = await self._generate(tools() if calls_left else (), piece_came)
            for name, value in result.stats.items():
                stats[name] = stats.get(name, 0.0) + value
            if call is None:
                break
            if not (calls_left and self._calling.knows(call)):
                self._hooks.called("unreadable")
                await self._say(COULD_NOT)
                break
            done = Call(as_asked(call))
            exchange.calls.append(done)
            outcome, done.result = await self._calling.result(call, self._knobs.tool_seconds)
            self._hooks.called(outcome)
        return Result(result.reason, stats)

    async def _generate(
        self, tools: Sequence[Tool], piece_came: Callable[[], Awaitable[None]]
    ) -> tuple[ToolCall | None, Result]:
        """Passes on what the engine says at one go; the call that it ended with, if any."""
        knobs = self._knobs
        call: ToolCall | None = None
        result = Result("stop")
        speaking = self.spoke = False
        pieces = outlasting(
            lambda: self._client.generate(
                self._history.question(), knobs.reply_tokens, knobs.temperature, tools
            ),
            knobs.recover_seconds,
        )
        try:
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    match piece:
                        case str():
                            await piece_came()
                            self.spoke |= bool(piece.strip())
                            if not speaking:
                                speaking = True
                                await self._push(LLMFullResponseStartFrame())
                            await self._push(LLMTextFrame(piece))
                        case ToolCall():
                            await piece_came()
                            call = piece
                        case Result():
                            result = piece
                        case Lost():
                            if speaking:  # Kokoro plays what is outside of a reply behind it
                                speaking = False
                                await self._push(LLMFullResponseEndFrame())
                            if piece.wait:  # not again at each attempt
                                self._hooks.failed(piece.problem)
                                await self._push(TTSSpeakFrame(ONE_MOMENT, append_to_context=False))
        finally:
            if speaking:
                await self._push(LLMFullResponseEndFrame())
        return call, result

    async def _say(self, text: str) -> None:
        """Says something in the place of the model, as a part of its answer."""
        self.spoke = True
        for frame in (LLMFullResponseStartFrame(), LLMTextFrame(text), LLMFullResponseEndFrame()):
            await self._push(frame)
