"""What happens in a session, and who is told: the monitor, the client's protocol, other processors.

The processors of the pipeline report here. session.py connects them.
"""

from __future__ import annotations

import time

from appliance.gateway.generation.turn_callbacks import TurnCallbacks
from appliance.gateway.hang_up import GracefulHangUp
from appliance.gateway.reply_observer import ReplyObserver
from appliance.gateway.session_monitor import SessionMonitor
from appliance.gateway.turns.interruption_gate import BotActivity


class SessionEvents:
    """The events of one session.

    monitor   gets all of them, for metrics, log and reports to the client
    observer  what the client's protocol is told of the replies; set before the first event
    activity  what the bot does; the interruption gate reads it
    """

    def __init__(self, monitor: SessionMonitor, hang_up: GracefulHangUp) -> None:
        self.monitor = monitor
        self.observer = ReplyObserver()
        self.activity = BotActivity()
        self._hang_up = hang_up
        self._phrase_skipped = False  # of the reply: its engine was lost
        self._user_speaking = False
        self._sound_at = time.monotonic()  # of the bot or the user

    def silent_seconds(self, now: float) -> float:
        """Return how long neither user nor bot have spoken. `now` is in monotonic seconds."""
        return 0.0 if self._user_speaking else now - self._sound_at

    def count_audio(self, direction: str, size_bytes: int) -> None:
        """Note PCM received ("in") or sent ("out")."""
        if direction == "out":
            self._sound_at = time.monotonic()
        self.monitor.count_audio(direction, size_bytes)

    def phrase_skipped(self) -> None:
        """Note that a phrase of the reply could not be spoken, because the engine was lost."""
        self._phrase_skipped = True
        self.monitor.phrase_skipped()

    def heard(self, text: str, interrupted: bool, was_speaking: bool) -> None:
        """Note what the user has heard of a reply that has ended; see `HeardProcessor`."""
        self.monitor.heard(text, interrupted, was_speaking)
        if self._phrase_skipped and not text and not interrupted:
            self.observer.reply_failed("engine_failed")
        self._phrase_skipped = False
        self._hang_up.heard(interrupted)
        self.observer.reply_ended(interrupted, text)

    def turn_callbacks(self) -> TurnCallbacks:
        """Return what the LLM service calls."""
        return TurnCallbacks(
            on_speech_started=self._speech_started,
            on_speech_stopped=self._speech_stopped,
            on_turn_submitted=self._turn_submitted,
            on_response_begun=self.observer.response_begun,
            on_first_token=self.monitor.mark("first_token"),
            on_tool_call=self.monitor.tool_called,
            on_client_tool_timed_out=self.observer.tool_timed_out,
            on_generated=self.monitor.generated,
            on_hang_up=self._hang_up.begin,
            on_transcript=self._transcribed,
            on_engine_failed=self.monitor.engine_failed("llm"),
            on_turn_dropped=self._turn_dropped,
        )

    def _speech_started(self, seconds_ago: float) -> None:
        self._user_speaking = True
        self.monitor.speech_started(seconds_ago)

    def _speech_stopped(self, seconds_ago: float) -> None:
        self._user_speaking = False
        self._sound_at = time.monotonic()
        self.monitor.speech_stopped(seconds_ago)

    def _turn_submitted(self, kind: str, speech_seconds: float, joined: bool) -> None:
        self.activity.replying = True
        self.monitor.turn_submitted(kind, speech_seconds, joined)
        self.observer.reply_started(kind == "spoken")

    def _turn_dropped(self, outcome: str) -> None:
        self.activity.replying = False
        self.monitor.turn_dropped(outcome)
        if outcome == "failed":
            self.observer.reply_failed("engine_failed")

    def _transcribed(self, text: str) -> None:
        self.monitor.transcribed(text)
        self.observer.transcribed(text)
