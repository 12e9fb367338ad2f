"""Collects the events of a call into one record per turn. Times are passed in. No I/O.

Turns form a queue. The bot's speech belongs to the first turn that is not closed. A turn that
begins while the bot speaks (a barge-in) waits until the interruption closes the turn before it.

A turn is finished when the server's report about it has arrived and all audio has been played. If
the server sends no reports, a turn is finished when the bot has stopped and nothing has happened
for `settle_seconds`. A notice ("One moment, please.") does not finish it: the answer follows.
"""

from __future__ import annotations

from client.playback import Player
from client.record import ClientTurnRecord, OpenTurn
from client.wire import AudioFrame, Frame, Interruption, RTVIMessage

GRACE_SECONDS = 0.2  # messages may overtake the last one or two audio frames of a turn
# A server that sends reports, but none about this turn yet, is still working on it: it waits up to
# 30 s for an engine that is overloaded or restarting. After this time without an event it has
# failed.
UNREPORTED_SECONDS = 40.0


class ClientTurnTracker:
    """Follows one call. Plays the bot's audio on `player` and flushes it on an interruption.

    With `follow_server`, a turn begins when the server detects speech (for a microphone). Without
    it, a turn begins only when `begin` is called (for a file or typed text).
    """

    def __init__(
        self, player: Player, *, follow_server: bool = False, settle_seconds: float = 1.5
    ) -> None:
        self._player = player
        self._follow_server = follow_server
        self._settle_seconds = settle_seconds
        self._open: list[OpenTurn] = []
        self._count = 0
        # The first and the last time at which the microphone was loud.
        self._user_speech: tuple[float, float] | None = None
        self._user_speaking = False
        self._confirmed_start: float | None = None  # last start of sound that was already reported
        self._discard_reply = False  # interrupted: drop the rest of the old reply
        self._pause_follows = False  # the next interruption frame is a pause
        self._paused_playback: bool | None = None  # during a pause: whether it stopped playback
        self._server_reports = False
        self._server_sends_user_input = False

    def begin(
        self,
        now: float,
        speech_started_at: float | None = None,
        speech_ended_at: float | None = None,
    ) -> int:
        """Begin a turn. Returns its number, counted from 1."""
        if not self._open:
            self._player.take()  # sound that belongs to no turn
            self._confirmed_start = self._player.audible_since
        self._count += 1
        turn = OpenTurn(self._count, now, speech_started_at, speech_ended_at, now)
        self._open.append(turn)
        return turn.number

    def user_audible(self, now: float) -> None:
        """Record that the microphone is loud. The last time before a reply is the end of speech."""
        self._user_speech = (self._user_speech[0] if self._user_speech else now, now)

    @property
    def numbers(self) -> list[int]:
        """The turns in progress."""
        return [turn.number for turn in self._open]

    @property
    def state(self) -> str:
        """What the bot is doing: listening, thinking or speaking."""
        current = self._current()
        if not self._player.drained or (current and current.bot_speaking):
            return "speaking"
        if current is None or self._user_speaking:
            return "listening"
        is_done = current.has_audio and not (current.generating or current.synthesizing)
        return "listening" if is_done else "thinking"

    def first_audible_at(self, number: int) -> float | None:
        """When the reply to this turn was first heard, while the turn is in progress."""
        current = self._current()
        return self._player.first_audible_at if current and current.number == number else None

    def playback_started(self, now: float) -> bool:
        """Whether the bot's reply has just become audible. True once per start of speech.

        A notice and the answer after it are two starts. A gap in the sound is not a start.
        """
        turn, since = self._current(), self._player.audible_since
        if turn is None or not turn.start_unconfirmed or since is None:
            return False
        if since == self._confirmed_start or since > now:
            return False
        turn.start_unconfirmed, self._confirmed_start = False, since
        return True

    def on_frame(self, frame: Frame, now: float) -> None:
        """Process a frame that arrived."""
        match frame:
            case AudioFrame(pcm, _, _):
                self._on_audio(pcm, now)
            case Interruption():
                self._on_interruption(now)
            case RTVIMessage():
                self._on_message(frame, now)

    def poll(self, now: float) -> list[ClientTurnRecord]:
        """Remove and return the turns that are finished, oldest first."""
        records: list[ClientTurnRecord] = []
        while self._open and self._is_finished(self._open[0], now):
            turn = self._open.pop(0)
            if turn.closed_at is None:
                self._take_heard(turn)
            records.append(turn.record())
        return records

    def quiet_seconds(self, number: int, now: float) -> float:
        """Return the seconds without an event in this turn since the user finished speaking."""
        for turn in self._open:
            if turn.number == number:
                playing_until = now if not self._player.drained else 0.0
                user_done_at = turn.speech_ended_at or turn.begun_at
                return max(0.0, now - max(turn.changed_at, user_done_at, playing_until))
        return 0.0

    def close(self, now: float, outcome: str) -> list[ClientTurnRecord]:
        """End all turns in progress with this outcome, and return them."""
        records = []
        for turn in self._open:
            if turn.closed_at is not None:
                records.append(turn.record())
                continue
            self._player.flush(now)
            self._take_heard(turn)
            unfinished = outcome == "no_answer" and turn.has_reply
            records.append(turn.record("unfinished" if unfinished else outcome))
        self._open.clear()
        return records

    def _take_heard(self, turn: OpenTurn) -> None:
        heard = self._player.take()
        if heard.pcm or not turn.heard.pcm:
            turn.heard = heard

    def _current(self) -> OpenTurn | None:
        """The turn that the bot's speech belongs to."""
        return next((turn for turn in self._open if turn.closed_at is None), None)

    def _is_finished(self, turn: OpenTurn, now: float) -> bool:
        quiet = now - turn.changed_at
        if self._paused_playback is not None and turn is self._current():
            return quiet >= UNREPORTED_SECONDS
        if turn.closed_at is not None:
            # The report comes when it is known whether the user goes on with the same question.
            report_follows = self._server_reports and self._user_speaking
            return turn.is_reported or (quiet >= self._settle_seconds and not report_follows)
        if not self._player.drained or (turn.speech_ended_at or 0.0) > now:
            return False
        if turn.reported_interrupted:  # the user continued; the answer follows
            return quiet >= UNREPORTED_SECONDS
        if turn.is_reported:
            is_complete = turn.has_reply and not turn.synthesizing
            return quiet >= (GRACE_SECONDS if is_complete else self._settle_seconds)
        if not turn.has_reply or turn.bot_speaking or turn.generating or turn.synthesizing:
            return False
        awaits_more = self._server_reports or turn.awaits_answer
        return quiet >= (UNREPORTED_SECONDS if awaits_more else self._settle_seconds)

    def _on_audio(self, pcm: bytes, now: float) -> None:
        self._discard_reply = False
        self._player.push(pcm, now)
        if turn := self._replying(now):
            turn.has_audio, turn.interrupted = True, False

    def _replying(self, now: float) -> OpenTurn | None:
        """Return the turn that the bot answers. With `follow_server`, begin one for a greeting."""
        if self._current() is None and self._follow_server:
            self.begin(now)
        turn = self._current()
        if turn is None:
            return None
        if self._follow_server and not turn.has_reply and self._user_speech:
            turn.speech_started_at, turn.speech_ended_at = self._user_speech
            self._user_speech = None
        turn.changed_at = now
        return turn

    def _on_interruption(self, now: float) -> None:
        """Pipecat sends the frame first, then user-started-speaking, then bot-interrupted."""
        was_playing = not self._player.drained or bool(self._paused_playback)
        self._player.flush(now)
        turn = self._current()
        if self._pause_follows:
            self._pause_follows, self._paused_playback = False, was_playing
            if turn is not None:
                turn.changed_at = now
            return
        self._paused_playback = None
        self._discard_reply = True
        if turn is None or not turn.has_reply:
            return
        turn.changed_at = now
        turn.interrupted = was_playing or turn.bot_speaking or turn.generating
        self._take_heard(turn)
        has_next = any(other.closed_at is None for other in self._open if other is not turn)
        if has_next or self._follow_server:
            turn.closed_at = now
        else:  # the user continued after a pause that the server took for the end of the turn
            turn.restart_reply()

    def _on_message(self, message: RTVIMessage, now: float) -> None:
        match message.type:
            case "user-started-speaking":
                self._user_speaking = True
                current = self._current()
                if self._follow_server and (current is None or current.has_reply):
                    self.begin(now)
                elif current is not None:
                    current.continue_user_speech()
            case "user-stopped-speaking":
                self._user_speaking = False
                if turn := self._current():
                    turn.continue_user_speech()
            case "user-input" | "user-transcription":
                self._on_user_text(message)
            case "bot-interrupted":
                if not self._discard_reply:
                    self._on_interruption(now)
            case "bot-llm-started" | "bot-llm-stopped":
                self._discard_reply &= message.type == "bot-llm-stopped"
                if turn := self._current():
                    turn.generating = message.type == "bot-llm-started"
                    turn.has_generated |= turn.generating
                    turn.changed_at = now
            case "bot-tts-started" | "bot-tts-stopped":
                if turn := self._current():
                    turn.synthesizing = message.type == "bot-tts-started"
                    turn.changed_at = now
            case "bot-llm-text":
                if not self._discard_reply and (turn := self._replying(now)):
                    turn.generated += message.text()
            case "bot-tts-text" | "bot-output" | "bot-transcription":
                self._on_bot_text(message, now)
            case "bot-started-speaking" | "bot-stopped-speaking":
                if turn := self._current():
                    turn.bot_speaking = message.type == "bot-started-speaking"
                    turn.start_unconfirmed |= turn.bot_speaking
                    turn.changed_at = now
            case "server-message":
                self._on_server_message(message, now)

    def _on_user_text(self, message: RTVIMessage) -> None:
        """Pipecat sends `user-input`, and for older clients also `user-transcription`."""
        self._server_sends_user_input |= message.type == "user-input"
        data = message.data if isinstance(message.data, dict) else {}
        if message.type == "user-transcription" and self._server_sends_user_input:
            return
        live = [turn for turn in self._open if turn.closed_at is None]
        if not live or not data.get("final", True) or not message.text():
            return
        turn = next((turn for turn in live if not turn.user_texts), live[0])
        turn.user_texts.append(message.text().strip())

    def _on_bot_text(self, message: RTVIMessage, now: float) -> None:
        """`bot-tts-text` holds sentences as they are spoken; `bot-transcription` is a fallback."""
        turn = self._current()
        text = message.text().strip()
        if turn is None or not text or self._discard_reply:
            return
        turn.changed_at = now
        if message.type == "bot-tts-text":
            turn.spoken.append(text)
        elif message.type == "bot-transcription" and not turn.generated:
            turn.generated = text

    def _on_server_message(self, message: RTVIMessage, now: float) -> None:
        """Process the appliance's own messages."""
        data = message.data
        match data.get("kind") if isinstance(data, dict) else None:
            case "turn":
                self._on_report(message, now)
            case "bot-paused":
                self._pause_follows = True
            case "bot-resumed":
                self._paused_playback = None

    def _on_report(self, message: RTVIMessage, now: float) -> None:
        """Process the report of a turn. Every field is optional."""
        data = message.data if isinstance(message.data, dict) else {}
        self._server_reports = True
        closed = (t for t in self._open if t.closed_at is not None and not t.is_reported)
        turn = next(closed, None) or self._current()
        if turn is None:
            return
        turn.changed_at = now
        if data.get("outcome") == "joined":
            turn.join()
            return
        turn.is_reported = True
        turn.reported_interrupted = data.get("interrupted") is True
        turn.interrupted |= turn.reported_interrupted and turn.closed_at is not None
        if user_text := message.text("user_text").strip():
            turn.server_user_texts.append(user_text)
        turn.server_reply = message.text("reply_text").strip() or turn.server_reply
        turn.outcome = message.text("outcome") or turn.outcome
        stages = data.get("stages")
        if isinstance(stages, dict):
            seconds = {k: float(v) for k, v in stages.items() if isinstance(v, int | float)}
            turn.stages = seconds or turn.stages
