"""What the LLM service reports to its session about the user's speech, turns and replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import EngineFailed
from appliance.link.engine import Result


@dataclass(frozen=True, slots=True)
class TurnCallbacks:
    """Events of a turn, for the session. Called on the event loop; must not block.

    on_speech_started         the user started to speak: how many seconds ago
    on_speech_stopped         the user stopped: how many seconds ago. The turn may continue
    on_turn_submitted         a turn needs a reply: "spoken" or "typed", the seconds of speech, and
                              whether it continues the question of the previous turn
    on_response_begun         what a Realtime client has asked for begins: the id of its response
    on_first_token            the first chunk of the reply arrived
    on_tool_call              a tool call ended: "done", "failed", "too_slow" or "malformed"
    on_client_tool_timed_out  the reply goes on without the result of a client's tool
    on_generated              the text of the reply is complete, with the engine's measurements
    on_hang_up                end the session; True: only after the reply has been played
    on_transcript             the user's speech was transcribed
    on_engine_failed          a request to the engine failed
    on_turn_dropped           the turn gets no reply: "nothing_heard", "too_short" or "failed"
    """

    on_speech_started: Callable[[float], None]
    on_speech_stopped: Callable[[float], None]
    on_turn_submitted: Callable[[str, float, bool], None]
    on_response_begun: Callable[[str], None]
    on_first_token: Callable[[], None]
    on_tool_call: Callable[[str], None]
    on_client_tool_timed_out: Callable[[], None]
    on_generated: Callable[[Result], None]
    on_hang_up: Callable[[bool], None]
    on_transcript: Callable[[str], None]
    on_engine_failed: Callable[[EngineFailed], None]
    on_turn_dropped: Callable[[str], None]
