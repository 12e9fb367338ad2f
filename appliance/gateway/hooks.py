"""What happens in a turn, as the service tells the session that it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import EngineFailed
from appliance.link.engine import Result


@dataclass(frozen=True, slots=True)
class TurnHooks:
    """What the session wants to know of a turn; called on the event loop, must not block.

    speech_started  speech began, so many seconds ago
    speech_ended    speech ended, for now, so many seconds ago
    asked           a turn wants an answer: "spoken" or "typed", seconds of speech
    first_token     the first piece of the answer arrived
    called          the model asked for a tool: "done", "failed", "too_slow" or "unreadable"
    generated       the answer is complete; the engine's measurements
    hang_up         the call is to end once the answer was spoken, if there is one (true)
    understood      what the engine made of the user's speech
    failed          the engine did not do what it was asked
    ended           the turn came to nothing: "nothing_heard", "too_short" or "failed"
    """

    speech_started: Callable[[float], None]
    speech_ended: Callable[[float], None]
    asked: Callable[[str, float], None]
    first_token: Callable[[], None]
    called: Callable[[str], None]
    generated: Callable[[Result], None]
    hang_up: Callable[[bool], None]
    understood: Callable[[str], None]
    failed: Callable[[EngineFailed], None]
    ended: Callable[[str], None]
