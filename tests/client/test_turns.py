"""Conversion of call events to turns, with explicit times."""

import pytest

from client.display import transcript_lines
from client.playback import Playback, SimulatedSpeaker
from client.record import ClientTurnRecord
from client.turns import ClientTurnTracker
from client.wire import AudioFrame, Interruption, RTVIMessage
from tests.fakes import tone


class Scene:
    """Drives a ClientTurnTracker with a virtual clock, in steps of 10 ms."""

    def __init__(self, follow_server: bool = False) -> None:
        self.now = 0.0
        self.speaker = SimulatedSpeaker(Playback(prebuffer_seconds=0.0), 0.0)
        self.turns = ClientTurnTracker(self.speaker, follow_server=follow_server)
        self.done: list[ClientTurnRecord] = []
        self.playback_started: list[float] = []  # when playback-started was due

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            self.speaker.advance(self.now)
            if self.turns.playback_started(self.now):
                self.playback_started.append(round(self.now, 2))
            self.done += self.turns.poll(self.now)

    def receive(self, message_type: str, /, **data: object) -> None:
        self.turns.on_frame(RTVIMessage(message_type, data), self.now)

    def audio(self, seconds: float) -> None:
        self.turns.on_frame(AudioFrame(tone(seconds), 24_000), self.now)

    def interrupt(self) -> None:
        """Send an interruption as Pipecat 1.14 does, with late messages about the old reply."""
        self.turns.on_frame(Interruption(), self.now)
        self.receive("bot-llm-text", text="and so on")
        self.receive("user-started-speaking")
        self.receive("bot-interrupted")
        self.receive("bot-tts-text", text="and so on")
        self.receive("bot-stopped-speaking")

    def pause(self) -> None:
        """Pause the bot as the gateway does."""
        self.receive("server-message", kind="bot-paused")
        self.turns.on_frame(Interruption(), self.now)

    def report(self, **fields: object) -> None:
        self.receive("server-message", kind="turn", **fields)

    def reply(self, text: str, seconds: float = 0.5) -> None:
        self.receive("bot-llm-started")
        self.receive("bot-llm-text", text=text)
        self.receive("bot-llm-stopped")
        self.receive("bot-started-speaking")
        self.audio(seconds)

    def end_reply(self, text: str) -> None:
        self.receive("bot-tts-text", text=text)
        self.receive("bot-stopped-speaking")


def test_turn_ends_after_its_report_arrived_and_all_audio_was_played() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.1, 1.0)
    scene.wait(1.5)
    scene.reply("Hello there.")
    scene.wait(0.4)
    scene.report(
        turn=1, user_text="Hi", reply_text="Hello there.", outcome="answered", stages={"llm": 0.2}
    )
    assert not scene.done, "half of the reply is still in the buffer"
    scene.wait(0.4)
    (record,) = scene.done
    assert (record.number, record.user_text, record.reply_text) == (1, "Hi", "Hello there.")
    assert record.stages == {"llm": 0.2}
    assert record.voice_to_voice_seconds == pytest.approx(0.5, abs=0.01)
    assert record.heard.seconds == pytest.approx(0.5, abs=0.001)
    assert (record.interrupted, record.outcome) == (False, "answered")


def test_turn_without_reports_ends_after_the_bot_was_quiet() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.5)
    scene.receive("user-input", text="Are you", final=False)
    scene.receive("user-input", text="Are you there?", final=True)
    scene.receive("user-transcription", text="Are you there?", final=True)
    scene.wait(1.0)
    scene.reply("Yes. I am.")
    scene.wait(0.6)
    scene.end_reply("Yes. I am.")
    scene.wait(1.4)
    assert not scene.done
    scene.wait(0.2)
    (record,) = scene.done
    assert (record.user_text, record.reply_text) == ("Are you there?", "Yes. I am.")


def test_turn_does_not_end_after_a_notice() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.5)
    scene.reply("Paris.")
    scene.end_reply("Paris.")
    scene.report(reply_text="Paris.", outcome="answered")
    scene.wait(1.0)
    assert len(scene.done) == 1
    scene.turns.begin(scene.now, scene.now, scene.now + 0.5)
    scene.wait(1.0)
    scene.receive("bot-started-speaking")
    scene.audio(1.0)
    scene.end_reply("One moment, please.")
    scene.wait(12.0)  # the engine restarts
    assert len(scene.done) == 1
    scene.reply("The Louvre.")
    scene.end_reply("The Louvre.")
    scene.report(reply_text="The Louvre.", outcome="answered")
    scene.wait(1.0)
    assert [record.reply_text for record in scene.done] == ["Paris.", "The Louvre."]


def test_first_turn_does_not_end_after_a_notice() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.5)
    scene.wait(1.0)
    scene.receive("bot-started-speaking")
    scene.audio(1.0)
    scene.end_reply("One moment, please.")
    scene.wait(12.0)  # the engine restarts
    assert not scene.done, "it is not known yet whether this server sends reports"
    scene.reply("Paris.")
    scene.end_reply("Paris.")
    scene.report(reply_text="Paris.", outcome="answered")
    scene.wait(1.0)
    assert [record.reply_text for record in scene.done] == ["Paris."]


def test_pause_between_two_sentences_does_not_end_the_turn() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.1)
    scene.receive("bot-llm-started")
    scene.receive("bot-llm-text", text="One. Two.")
    scene.receive("bot-started-speaking")
    scene.audio(0.2)
    scene.wait(0.5)
    scene.receive("bot-stopped-speaking")
    scene.wait(3.0)
    assert not scene.done, "the model has not finished"
    scene.audio(0.2)
    scene.receive("bot-llm-stopped")
    scene.wait(2.0)
    (record,) = scene.done
    assert record.heard.underruns == 1
    assert record.heard.longest_gap_seconds > 3


def test_barge_in_ends_the_reply_and_the_next_reply_belongs_to_the_next_turn() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.wait(0.5)
    scene.reply("A long story.", seconds=3)
    scene.wait(1.0)
    scene.turns.begin(scene.now, scene.now, scene.now + 0.3)
    began_at = scene.now
    scene.wait(0.3)
    scene.interrupt()
    assert scene.speaker.drained
    scene.report(turn=1, user_text="Tell", reply_text="A long", interrupted=True)
    scene.wait(0.5)
    scene.reply("Fine.")
    scene.report(turn=2, user_text="Stop", reply_text="Fine.")
    scene.wait(1.0)
    first, second = scene.done
    assert (first.interrupted, first.reply_text, first.user_text) == (True, "A long", "Tell")
    assert first.heard.seconds == pytest.approx(1.3, abs=0.02)
    assert first.heard.dropped_seconds == pytest.approx(1.7, abs=0.02)
    assert first.heard.ended_at is not None
    assert first.heard.ended_at - began_at == pytest.approx(0.3, abs=0.02)
    assert (second.interrupted, second.reply_text, second.user_text) == (False, "Fine.", "Stop")
    assert second.voice_to_voice_seconds == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("follow_server", [False, True])
def test_paused_reply_that_goes_on_is_one_turn_without_a_gap(follow_server: bool) -> None:
    scene = Scene(follow_server)
    if not follow_server:
        scene.turns.begin(0.0, 0.0, 0.2)
    scene.wait(0.5)
    scene.reply("A long story.", seconds=1)
    scene.wait(0.5)
    scene.pause()
    assert scene.speaker.drained
    scene.wait(2.0)
    assert scene.done == []
    scene.receive("server-message", kind="bot-resumed")
    scene.audio(1.0)
    scene.wait(1.5)
    scene.end_reply("A long story.")
    scene.report(turn=1, outcome="answered", reply_text="A long story.")
    scene.wait(1.0)
    (turn,) = scene.done
    assert (turn.interrupted, turn.reply_text, turn.outcome) == (False, "A long story.", "answered")
    assert turn.heard.seconds == pytest.approx(1.5, abs=0.02)
    assert turn.heard.underruns == 0


def test_pause_before_an_interruption_belongs_to_the_interruption() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.wait(0.5)
    scene.reply("A long story.", seconds=3)
    scene.wait(1.0)
    scene.turns.begin(scene.now, scene.now, scene.now + 0.3)
    scene.pause()
    scene.wait(0.3)
    scene.interrupt()
    scene.report(turn=1, reply_text="A long", interrupted=True)
    scene.wait(0.5)
    scene.reply("Fine.")
    scene.report(turn=2, reply_text="Fine.")
    scene.wait(1.0)
    first, second = scene.done
    assert (first.interrupted, second.interrupted) == (True, False)
    assert first.heard.seconds == pytest.approx(1.0, abs=0.02)
    assert second.heard.seconds == pytest.approx(0.5, abs=0.02)


def test_interrupted_turn_ends_without_its_report() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.wait(0.3)
    scene.reply("A long story.", seconds=3)
    scene.wait(0.3)
    scene.turns.begin(scene.now, scene.now, scene.now + 0.3)
    scene.interrupt()
    scene.wait(1.6)
    (record,) = scene.done
    assert (record.number, record.interrupted, record.outcome) == (1, True, "interrupted")
    assert record.reply_text == "A long story."


def test_pause_in_the_speech_of_a_file_does_not_split_its_turn() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 2.0)
    scene.wait(1.0)
    scene.reply("Go on?", seconds=1)
    scene.wait(0.2)
    scene.interrupt()
    scene.report(turn=1, user_text="So I", reply_text="Go", interrupted=True)
    scene.wait(1.3)
    scene.reply("I see.")
    scene.report(turn=2, user_text="was thinking", reply_text="I see.")
    scene.wait(1.0)
    (record,) = scene.done
    assert (record.user_text, record.reply_text) == ("So I was thinking", "I see.")
    assert not record.interrupted
    assert record.heard.seconds == pytest.approx(0.5, abs=0.01)
    assert record.voice_to_voice_seconds == pytest.approx(0.5, abs=0.02)


def test_late_report_about_half_a_question_does_not_end_the_turn() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 2.0)
    scene.wait(1.0)
    scene.interrupt()  # the user continues after a pause that the server treated as the end
    scene.wait(1.2)
    scene.receive("user-stopped-speaking")
    scene.report(turn=1, outcome="interrupted", interrupted=True)
    scene.wait(6.0)
    assert not scene.done, "an overloaded model is still generating"
    scene.reply("I see.")
    scene.wait(4.0)
    assert not scene.done, "an overloaded TTS is still synthesizing the next phrase"
    scene.report(turn=2, reply_text="I see.", outcome="answered", interrupted=False)
    scene.wait(1.0)
    assert [(r.outcome, r.reply_text, r.interrupted) for r in scene.done] == [
        ("answered", "I see.", False)
    ]


def test_joined_question_is_shown_once() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 2.0)
    scene.wait(1.0)
    scene.receive("user-input", text="What is the", final=True)
    scene.reply("It", seconds=0.2)
    scene.wait(0.1)
    scene.interrupt()  # the user continues after a pause that the server treated as the end
    scene.wait(1.2)
    scene.receive("user-stopped-speaking")
    scene.report(turn=1, outcome="joined", interrupted=False, user_text="", reply_text="")
    scene.wait(6.0)
    assert not scene.done, "the answer follows"
    scene.receive("user-input", text="What is the capital of France?", final=True)
    scene.reply("Paris.")
    scene.wait(0.6)
    assert not scene.done
    scene.report(turn=2, replaces=1, outcome="answered", reply_text="Paris.")
    scene.wait(1.0)
    (record,) = scene.done
    assert record.user_text == "What is the capital of France?"
    assert (record.reply_text, record.interrupted, record.outcome) == ("Paris.", False, "answered")


def test_joined_question_of_a_microphone_is_shown_once() -> None:
    scene = Scene(follow_server=True)
    scene.reply("Hello.")
    scene.report(turn=1, outcome="answered", reply_text="Hello.")
    scene.wait(1.0)
    scene.done.clear()
    scene.receive("user-started-speaking")
    scene.receive("user-stopped-speaking")
    scene.receive("user-input", text="What is the", final=True)
    scene.reply("It", seconds=0.2)
    scene.wait(0.1)
    scene.interrupt()
    scene.wait(4.0)  # the rest of the question
    assert not scene.done
    scene.receive("user-stopped-speaking")
    scene.report(turn=1, outcome="joined", interrupted=False, user_text="", reply_text="")
    scene.receive("user-input", text="What is the capital of France?", final=True)
    scene.reply("Paris.")
    scene.wait(0.6)
    scene.report(
        turn=2,
        replaces=1,
        outcome="answered",
        user_text="What is the capital of France?",
        reply_text="Paris.",
    )
    scene.wait(1.0)
    lines = [line for record in scene.done for line in transcript_lines(record)]
    assert lines == ["you  What is the capital of France?", "bot  Paris."]
    assert not any(record.interrupted for record in scene.done)


def test_interruption_before_any_reply_changes_nothing() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.interrupt()
    scene.wait(0.5)
    scene.reply("Yes.")
    scene.report(reply_text="Yes.")
    scene.wait(1.0)
    assert [record.interrupted for record in scene.done] == [False]


def test_turn_without_speech_ends_with_the_servers_outcome() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.wait(0.5)
    scene.report(outcome="nothing_heard")
    scene.wait(2.0)
    (record,) = scene.done
    assert (record.outcome, record.reply_text) == ("nothing_heard", "")
    assert record.voice_to_voice_seconds is None


def test_report_fields_are_optional_and_invalid_ones_are_ignored() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.reply("Yes.")
    scene.receive("server-message", kind="other")
    scene.turns.on_frame(RTVIMessage("server-message", ["turn"]), scene.now)
    scene.report(user_text=5, stages={"llm": "fast", "tts": 0.5}, interrupted="no", turn=None)
    scene.wait(1.0)
    (record,) = scene.done
    assert (record.user_text, record.reply_text, record.stages) == ("", "Yes.", {"tts": 0.5})


def test_close_ends_turns_in_progress() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.reply("A long story.", seconds=3)
    scene.wait(0.5)
    (record,) = scene.turns.close(scene.now, "call_dropped")
    assert record.outcome == "call_dropped"
    assert record.heard.seconds == pytest.approx(0.5, abs=0.01)
    assert scene.turns.close(scene.now, "call_dropped") == []


def test_quiet_time_counts_from_the_end_of_speech() -> None:
    scene = Scene()
    number = scene.turns.begin(0.0, 0.0, 5.0)
    scene.wait(4.0)
    assert scene.turns.quiet_seconds(number, scene.now) == 0
    scene.wait(3.0)
    assert scene.turns.quiet_seconds(number, scene.now) == pytest.approx(2.0)
    scene.reply("Hm.", seconds=1)
    assert scene.turns.quiet_seconds(number, scene.now) == 0
    assert scene.turns.quiet_seconds(99, scene.now) == 0


def test_microphone_turns_follow_the_servers_endpointing() -> None:
    scene = Scene(follow_server=True)
    scene.wait(0.2)
    scene.turns.user_audible(scene.now)
    scene.wait(0.3)
    scene.interrupt()
    assert scene.turns.state == "listening"
    scene.turns.user_audible(scene.now)
    spoke_until = scene.now
    scene.wait(0.4)
    scene.receive("user-stopped-speaking")
    assert scene.turns.state == "thinking"
    scene.wait(0.6)
    scene.reply("Hello.", seconds=2)
    assert scene.turns.state == "speaking"
    scene.wait(0.5)
    scene.interrupt()  # the user interrupts the reply
    scene.report(interrupted=True, reply_text="Hel")
    scene.wait(0.1)
    (record,) = scene.done
    assert record.speech_ended_at == spoke_until
    assert record.voice_to_voice_seconds == pytest.approx(1.0, abs=0.02)
    assert record.interrupted
    scene.receive("user-stopped-speaking")
    scene.reply("Sorry.")
    scene.report(reply_text="Sorry.")
    scene.wait(1.0)
    assert [record.reply_text for record in scene.done] == ["Hel", "Sorry."]
    assert scene.turns.state == "listening"


def test_greeting_is_a_turn_without_user_speech() -> None:
    scene = Scene(follow_server=True)
    scene.reply("Welcome.")
    scene.wait(0.6)
    scene.end_reply("Welcome.")
    assert scene.turns.state == "listening", "the bot has finished, but the turn has not ended"
    scene.wait(3.0)
    (record,) = scene.done
    assert (record.reply_text, record.voice_to_voice_seconds) == ("Welcome.", None)


def test_cough_before_the_question_does_not_end_its_turn() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 2.0)
    scene.wait(0.3)
    scene.receive("user-started-speaking")
    scene.receive("user-stopped-speaking")
    scene.report(turn=0, outcome="too_short")
    scene.wait(1.0)
    scene.receive("user-started-speaking")
    scene.wait(1.0)
    scene.receive("user-stopped-speaking")
    scene.wait(4.0)
    assert not scene.done, "a slow model is still generating"
    scene.reply("Here I am.")
    scene.report(turn=1, reply_text="Here I am.", outcome="answered")
    scene.wait(1.0)
    assert [record.outcome for record in scene.done] == ["answered"]


def test_cough_without_a_question_ends_with_the_servers_outcome() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.receive("user-started-speaking")
    scene.wait(0.5)
    scene.receive("user-stopped-speaking")
    scene.report(turn=0, outcome="too_short")
    scene.wait(2.0)
    assert [record.outcome for record in scene.done] == ["too_short"]


def test_report_before_the_last_phrase_does_not_truncate_the_reply() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.1)
    scene.receive("bot-tts-started")
    scene.reply("One. Two.", seconds=0.2)
    scene.wait(0.3)
    scene.report(reply_text="One.", outcome="answered")
    scene.wait(0.6)
    scene.audio(0.2)
    scene.receive("bot-tts-stopped")
    scene.wait(1.0)
    (record,) = scene.done
    assert record.heard.seconds > 0.4


def test_reply_that_never_ends_is_recorded_as_unfinished() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.1)
    scene.receive("bot-llm-started")
    scene.receive("bot-llm-text", text="Well")
    scene.wait(40)
    (record,) = scene.turns.close(scene.now, "no_answer")
    assert (record.outcome, record.reply_text) == ("unfinished", "Well")


def test_start_of_playback_is_reported_once_per_reply() -> None:
    scene = Scene()
    for _ in range(2):
        scene.turns.begin(scene.now, scene.now, scene.now + 0.2)
        scene.wait(1.0)
        scene.reply("Yes.", seconds=0.2)
        scene.wait(0.5)  # a gap in the audio
        scene.audio(0.2)
        scene.end_reply("Yes.")
        scene.report(reply_text="Yes.")
        scene.wait(1.0)
    assert len(scene.done) == 2
    assert scene.playback_started == [1.01, 3.51]


def test_notice_and_answer_are_reported_as_two_starts_of_playback() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.receive("bot-started-speaking")
    scene.audio(0.5)
    scene.wait(0.7)
    scene.end_reply("One moment, please.")
    scene.wait(1.0)
    scene.reply("Paris.")
    scene.wait(1.0)
    assert scene.playback_started == [0.01, 1.71]


def test_audio_outside_a_turn_is_not_reported_as_a_start_of_playback() -> None:
    scene = Scene()
    scene.receive("bot-started-speaking")
    scene.audio(0.5)
    scene.wait(1.0)
    scene.turns.begin(scene.now, scene.now, scene.now + 0.2)
    scene.wait(0.5)
    scene.receive("bot-started-speaking")  # the message arrives before the audio
    scene.wait(0.2)
    assert scene.playback_started == []
    scene.audio(0.5)
    scene.wait(0.1)
    assert scene.playback_started == [1.71]


def test_reply_interrupted_before_it_is_audible_is_not_reported_as_a_start() -> None:
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.reply("A long story.", seconds=3)
    scene.interrupt()
    scene.wait(1.0)
    assert scene.playback_started == []
    scene.reply("Yes.")
    scene.wait(0.1)
    assert scene.playback_started == [1.01]


def test_audio_outside_a_turn_is_not_part_of_the_next_turn() -> None:
    scene = Scene()
    scene.audio(0.5)
    scene.wait(1.0)
    number = scene.turns.begin(scene.now, scene.now, scene.now + 0.2)
    scene.wait(0.5)
    scene.reply("Yes.")
    scene.report(reply_text="Yes.")
    scene.wait(1.0)
    (record,) = scene.done
    assert (number, record.number) == (1, 1)
    assert record.heard.seconds == pytest.approx(0.5, abs=0.01)
