"""Collects the events of a call into one record per turn. Pure: times are passed in.

Records stand in a queue. What the bot says belongs to the first of them that is still open; a turn
that begins while the bot speaks (a barge-in) stands behind it until the interruption closes it.

A turn is over when the server's turn message came and everything is played, or, from a server
without such messages, when the bot has stopped and nothing more comes for `settle_seconds`. A bot
that asks for patience ("One moment, please.") has stopped, too, and its answer is still to come.
"""

from __future__ import annotations

from client.playback import Player
from client.record import OpenTurn, TurnRecord
from client.wire import Audio, Frame, Interruption, Message

GRACE_SECONDS = 0.2  # messages may overtake the last audio of a turn by a frame or two
# A server that tells of turns and has not told of this one, or not of all of it, is still at it:
# its engine starves or restarts, for which it waits 30 s. So long after the last of it, something
# has gone wrong.
UNTOLD_SECONDS = 40.0


class Turns:
    """Follows one call. Plays the bot's audio on `player` and flushes it on an interruption.

    With `follow_server` a turn begins when the server hears the user (a microphone); without it,
    only where `begin` is called (a file, typed text).
    """

    def __init__(
        self, player: Player, *, follow_server: bool = False, settle_seconds: float = 1.5
    ) -> None:
        self._player = player
        self._follow_server = follow_server
        self._settle_seconds = settle_seconds
        self._open: list[OpenTurn] = []
        self._count = 0
        self._voice: tuple[float, float] | None = None  # first and last time the user was loud
        self._user_speaking = False
        self._told_start: float | None = None  # the last of which the server was told, or is not
        self._void = False  # interrupted: what still comes of the old reply's text is not heard
        self._server_tells = False
        self._knows_user_input = False

    def begin(
        self,
        now: float,
        speech_started_at: float | None = None,
        speech_ended_at: float | None = None,
    ) -> int:
        """A turn of the user begins; returns its number, counted from 1."""
        if not self._open:
            self._player.take()  # sound that belongs to no turn
            self._told_start = self._player.sounds_since
        self._count += 1
        turn = OpenTurn(self._count, now, speech_started_at, speech_ended_at, now)
        self._open.append(turn)
        return turn.number

    def user_audible(self, now: float) -> None:
        """The microphone is loud: the last time before the reply is the end of the speech."""
        self._voice = (self._voice[0] if self._voice else now, now)

    @property
    def numbers(self) -> list[int]:
        """The turns that are still going on."""
        return [turn.number for turn in self._open]

    @property
    def state(self) -> str:
        """What the bot is doing: listening, thinking or speaking."""
        front = self._front()
        if not self._player.drained or (front and front.bot_speaking):
            return "speaking"
        if front is None or self._user_speaking:
            return "listening"
        is_done = front.has_audio and not (front.generating or front.synthesizing)
        return "listening" if is_done else "thinking"

    def first_audible_at(self, number: int) -> float | None:
        """When the reply to this turn was first heard, while it is still going on."""
        front = self._front()
        return self._player.first_audible_at if front and front.number == number else None

    def playback_started(self, now: float) -> bool:
        """Whether the bot's reply has just become audible: true once each time it begins to speak.

        Where the bot asks for patience and later answers, that is twice; a gap in the sound is
        no new beginning.
        """
        turn, since = self._front(), self._player.sounds_since
        if turn is None or not turn.start_untold or since is None:
            return False
        if since == self._told_start or since > now:
            return False
        turn.start_untold, self._told_start = False, since
        return True

    def on_frame(self, frame: Frame, now: float) -> None:
        """Something arrived."""
        match frame:
            case Audio(pcm, _, _):
                self._bot_audio(pcm, now)
            case Interruption():
                self._interrupted(now)
            case Message():
                self._message(frame, now)

    def poll(self, now: float) -> list[TurnRecord]:
        """The turns that are over by now, oldest first."""
        done: list[TurnRecord] = []
        while self._open and self._is_over(self._open[0], now):
            turn = self._open.pop(0)
            if turn.cut_at is None:
                self._account(turn)
            done.append(turn.record())
        return done

    def quiet_seconds(self, number: int, now: float) -> float:
        """For how long nothing happened in this turn since the user was done."""
        for turn in self._open:
            if turn.number == number:
                playing_until = now if not self._player.drained else 0.0
                said_at = turn.speech_ended_at or turn.begun_at
                return max(0.0, now - max(turn.changed_at, said_at, playing_until))
        return 0.0

    def close(self, now: float, outcome: str) -> list[TurnRecord]:
        """Ends every open turn as it stands."""
        done = []
        for turn in self._open:
            if turn.cut_at is None:
                self._player.flush(now)
                self._account(turn)
            unfinished = outcome == "no_answer" and turn.answered
            ending = "unfinished" if unfinished else outcome
            done.append(turn.record(ending if turn.cut_at is None else ""))
        self._open.clear()
        return done

    def _account(self, turn: OpenTurn) -> None:
        heard = self._player.take()
        if heard.pcm or not turn.heard.pcm:
            turn.heard = heard

    def _front(self) -> OpenTurn | None:
        return next((turn for turn in self._open if turn.cut_at is None), None)

    def _is_over(self, turn: OpenTurn, now: float) -> bool:
        quiet = now - turn.changed_at
        if turn.cut_at is not None:
            return turn.told or quiet >= self._settle_seconds
        if not self._player.drained or (turn.speech_ended_at or 0.0) > now:
            return False
        if turn.told and turn.answered and not (turn.told_interrupted or turn.synthesizing):
            return quiet >= GRACE_SECONDS
        if turn.told_interrupted:  # the user went on, and will be answered, however late
            return quiet >= UNTOLD_SECONDS
        if turn.told:
            return quiet >= self._settle_seconds
        if not turn.answered or turn.bot_speaking or turn.generating or turn.synthesizing:
            return False
        is_owed = self._server_tells or turn.put_off
        return quiet >= (UNTOLD_SECONDS if is_owed else self._settle_seconds)

    def _bot_audio(self, pcm: bytes, now: float) -> None:
        self._void = False
        self._player.push(pcm, now)
        if turn := self._replying(now):
            turn.has_audio, turn.interrupted = True, False

    def _replying(self, now: float) -> OpenTurn | None:
        """The turn that the bot answers; with a microphone also one that nobody asked for."""
        if self._front() is None and self._follow_server:
            self.begin(now)
        turn = self._front()
        if turn is None:
            return None
        if self._follow_server and not turn.answered and self._voice:
            turn.speech_started_at, turn.speech_ended_at = self._voice
            self._voice = None
        turn.changed_at = now
        return turn

    def _interrupted(self, now: float) -> None:
        """Pipecat's frame comes first, then user-started-speaking, then bot-interrupted."""
        was_playing = not self._player.drained
        self._player.flush(now)
        self._void = True
        turn = self._front()
        if turn is None or not turn.answered:
            return
        turn.changed_at = now
        turn.interrupted = was_playing or turn.bot_speaking or turn.generating
        self._account(turn)
        has_next = any(other.cut_at is None for other in self._open if other is not turn)
        if has_next or self._follow_server:
            turn.cut_at = now
        else:  # the user went on after a pause that the server took for the end
            turn.begin_reply_again()

    def _message(self, message: Message, now: float) -> None:
        match message.type:
            case "user-started-speaking":
                self._user_speaking = True
                front = self._front()
                if self._follow_server and (front is None or front.answered):
                    self.begin(now)
                elif front is not None:
                    front.user_goes_on()
            case "user-stopped-speaking":
                self._user_speaking = False
                if turn := self._front():
                    turn.user_goes_on()
            case "user-input" | "user-transcription":
                self._user_text(message, now)
            case "bot-interrupted":
                if not self._void:
                    self._interrupted(now)
            case "bot-llm-started" | "bot-llm-stopped":
                self._void &= message.type == "bot-llm-stopped"
                if turn := self._front():
                    turn.generating = message.type == "bot-llm-started"
                    turn.begun |= turn.generating
                    turn.changed_at = now
            case "bot-tts-started" | "bot-tts-stopped":
                if turn := self._front():
                    turn.synthesizing = message.type == "bot-tts-started"
                    turn.changed_at = now
            case "bot-llm-text":
                if not self._void and (turn := self._replying(now)):
                    turn.generated += message.text()
            case "bot-tts-text" | "bot-output" | "bot-transcription":
                self._bot_text(message, now)
            case "bot-started-speaking" | "bot-stopped-speaking":
                if turn := self._front():
                    turn.bot_speaking = message.type == "bot-started-speaking"
                    turn.start_untold |= turn.bot_speaking
                    turn.changed_at = now
            case "server-message":
                self._turn_message(message, now)

    def _user_text(self, message: Message, now: float) -> None:
        """Pipecat sends `user-input` and, for older clients, the same as `user-transcription`."""
        self._knows_user_input |= message.type == "user-input"
        data = message.data if isinstance(message.data, dict) else {}
        if message.type == "user-transcription" and self._knows_user_input:
            return
        live = [turn for turn in self._open if turn.cut_at is None]
        if not live or not data.get("final", True) or not message.text():
            return
        turn = next((turn for turn in live if not turn.user_texts), live[0])
        turn.user_texts.append(message.text().strip())

    def _bot_text(self, message: Message, now: float) -> None:
        """Sentences as they are spoken: `bot-tts-text`; the others only stand in for it."""
        turn = self._front()
        text = message.text().strip()
        if turn is None or not text or self._void:
            return
        turn.changed_at = now
        if message.type == "bot-tts-text":
            turn.spoken.append(text)
        elif message.type == "bot-transcription" and not turn.generated:
            turn.generated = text

    def _turn_message(self, message: Message, now: float) -> None:
        data = message.data
        if not isinstance(data, dict) or data.get("kind") != "turn":
            return
        self._server_tells = True
        waiting = (turn for turn in self._open if turn.cut_at is not None and not turn.told)
        turn = next(waiting, None) or self._front()
        if turn is None:
            return
        turn.told, turn.changed_at = True, now
        turn.told_interrupted = data.get("interrupted") is True
        turn.interrupted |= turn.told_interrupted and turn.cut_at is not None
        if user_text := message.text("user_text").strip():
            turn.server_user_texts.append(user_text)
        turn.server_reply = message.text("reply_text").strip() or turn.server_reply
        turn.outcome = message.text("outcome") or turn.outcome
        stages = data.get("stages")
        if isinstance(stages, dict):
            numbers = {k: float(v) for k, v in stages.items() if isinstance(v, int | float)}
            turn.stages = numbers or turn.stages
