import pytest

from client.playback import Playback, SimulatedSpeaker
from client.turns import Turns
from client.wire import Audio, Interruption, Message
from tests.fakes import tone


class Scene:
    """Drives Turns with a clock of its own, 10 ms a step."""

    def __init__(self, **options):
        self.now = 0.0
        self.speaker = SimulatedSpeaker(Playback(prebuffer_seconds=0.0), 0.0)
        self.turns = Turns(self.speaker, **options)
        self.done = []
        self.told = []  # when the server was to be told that a reply is audible

    def wait(self, seconds):
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            self.speaker.advance(self.now)
            if self.turns.playback_started(self.now):
                self.told.append(round(self.now, 2))
            self.done += self.turns.poll(self.now)

    def get(self, message_type, /, **data):
        self.turns.on_frame(Message(message_type, data), self.now)

    def audio(self, seconds):
        self.turns.on_frame(Audio(tone(seconds), 24_000), self.now)

    def interrupt(self):
        """In the order of a real Pipecat 1.14 gateway, with a straggler of the old reply."""
        self.turns.on_frame(Interruption(), self.now)
        self.get("bot-llm-text", text="and so on")
        self.get("user-started-speaking")
        self.get("bot-interrupted")
        self.get("bot-tts-text", text="and so on")
        self.get("bot-stopped-speaking")

    def server_turn(self, **fields):
        self.get("server-message", kind="turn", **fields)

    def reply(self, text, seconds=0.5):
        self.get("bot-llm-started")
        self.get("bot-llm-text", text=text)
        self.get("bot-llm-stopped")
        self.get("bot-started-speaking")
        self.audio(seconds)

    def reply_ends(self, text):
        self.get("bot-tts-text", text=text)
        self.get("bot-stopped-speaking")


def test_a_turn_ends_when_its_message_came_and_all_is_played():
    scene = Scene()
    scene.turns.begin(0.0, 0.1, 1.0)
    scene.wait(1.5)
    scene.reply("Hello there.")
    scene.wait(0.4)
    scene.server_turn(
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


def test_without_turn_messages_a_turn_ends_when_the_bot_has_been_quiet():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.5)
    scene.get("user-input", text="Are you", final=False)
    scene.get("user-input", text="Are you there?", final=True)
    scene.get("user-transcription", text="Are you there?", final=True)
    scene.wait(1.0)
    scene.reply("Yes. I am.")
    scene.wait(0.6)
    scene.reply_ends("Yes. I am.")
    scene.wait(1.4)
    assert not scene.done
    scene.wait(0.2)
    (record,) = scene.done
    assert (record.user_text, record.reply_text) == ("Are you there?", "Yes. I am.")


def test_a_bot_that_asks_for_patience_still_owes_the_answer():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.5)
    scene.reply("Paris.")
    scene.reply_ends("Paris.")
    scene.server_turn(reply_text="Paris.", outcome="answered")
    scene.wait(1.0)
    assert len(scene.done) == 1
    scene.turns.begin(scene.now, scene.now, scene.now + 0.5)
    scene.wait(1.0)
    scene.get("bot-started-speaking")
    scene.audio(1.0)
    scene.reply_ends("One moment, please.")
    scene.wait(12.0)  # the engine restarts
    assert len(scene.done) == 1
    scene.reply("The Louvre.")
    scene.reply_ends("The Louvre.")
    scene.server_turn(reply_text="The Louvre.", outcome="answered")
    scene.wait(1.0)
    assert [record.reply_text for record in scene.done] == ["Paris.", "The Louvre."]


def test_a_bot_that_asks_for_patience_in_the_first_turn_still_owes_the_answer():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.5)
    scene.wait(1.0)
    scene.get("bot-started-speaking")
    scene.audio(1.0)
    scene.reply_ends("One moment, please.")
    scene.wait(12.0)  # the engine restarts
    assert not scene.done, "whether this server tells of turns is not known yet"
    scene.reply("Paris.")
    scene.reply_ends("Paris.")
    scene.server_turn(reply_text="Paris.", outcome="answered")
    scene.wait(1.0)
    assert [record.reply_text for record in scene.done] == ["Paris."]


def test_a_pause_between_two_sentences_does_not_end_the_turn():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.1)
    scene.get("bot-llm-started")
    scene.get("bot-llm-text", text="One. Two.")
    scene.get("bot-started-speaking")
    scene.audio(0.2)
    scene.wait(0.5)
    scene.get("bot-stopped-speaking")
    scene.wait(3.0)
    assert not scene.done, "the model has not finished"
    scene.audio(0.2)
    scene.get("bot-llm-stopped")
    scene.wait(2.0)
    (record,) = scene.done
    assert record.heard.underruns == 1
    assert record.heard.longest_gap_seconds > 3


def test_a_barge_in_cuts_the_reply_and_the_next_turn_gets_the_next_one():
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
    scene.server_turn(turn=1, user_text="Tell", reply_text="A long", interrupted=True)
    scene.wait(0.5)
    scene.reply("Fine.")
    scene.server_turn(turn=2, user_text="Stop", reply_text="Fine.")
    scene.wait(1.0)
    first, second = scene.done
    assert (first.interrupted, first.reply_text, first.user_text) == (True, "A long", "Tell")
    assert first.heard.seconds == pytest.approx(1.3, abs=0.02)
    assert first.heard.dropped_seconds == pytest.approx(1.7, abs=0.02)
    assert first.heard.ended_at - began_at == pytest.approx(0.3, abs=0.02)
    assert (second.interrupted, second.reply_text, second.user_text) == (False, "Fine.", "Stop")
    assert second.voice_to_voice_seconds == pytest.approx(0.5, abs=0.02)


def test_an_interrupted_turn_does_not_wait_for_ever_for_its_message():
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


def test_a_pause_in_the_users_speech_makes_no_second_turn_of_a_file():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 2.0)
    scene.wait(1.0)
    scene.reply("Go on?", seconds=1)
    scene.wait(0.2)
    scene.interrupt()
    scene.server_turn(turn=1, user_text="So I", reply_text="Go", interrupted=True)
    scene.wait(1.3)
    scene.reply("I see.")
    scene.server_turn(turn=2, user_text="was thinking", reply_text="I see.")
    scene.wait(1.0)
    (record,) = scene.done
    assert (record.user_text, record.reply_text) == ("So I was thinking", "I see.")
    assert not record.interrupted
    assert record.heard.seconds == pytest.approx(0.5, abs=0.01)
    assert record.voice_to_voice_seconds == pytest.approx(0.5, abs=0.02)


def test_late_news_of_half_a_question_does_not_end_the_turn_before_its_answer():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 2.0)
    scene.wait(1.0)
    scene.interrupt()  # the user goes on after a pause that the server took for the end
    scene.wait(1.2)
    scene.get("user-stopped-speaking")
    scene.server_turn(turn=1, outcome="interrupted", interrupted=True)
    scene.wait(6.0)
    assert not scene.done, "a starved model is still thinking"
    scene.reply("I see.")
    scene.wait(4.0)
    assert not scene.done, "a starved voice is at the next phrase"
    scene.server_turn(turn=2, reply_text="I see.", outcome="answered", interrupted=False)
    scene.wait(1.0)
    assert [(r.outcome, r.reply_text, r.interrupted) for r in scene.done] == [
        ("answered", "I see.", False)
    ]


def test_an_interruption_before_any_reply_changes_nothing():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.interrupt()
    scene.wait(0.5)
    scene.reply("Yes.")
    scene.server_turn(reply_text="Yes.")
    scene.wait(1.0)
    assert [record.interrupted for record in scene.done] == [False]


def test_a_turn_that_heard_nothing_ends_with_the_servers_word_for_it():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.wait(0.5)
    scene.server_turn(outcome="nothing_heard")
    scene.wait(2.0)
    (record,) = scene.done
    assert (record.outcome, record.reply_text) == ("nothing_heard", "")
    assert record.voice_to_voice_seconds is None


def test_every_field_of_a_turn_message_is_optional_and_nonsense_is_left_out():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.reply("Yes.")
    scene.get("server-message", kind="other")
    scene.turns.on_frame(Message("server-message", ["turn"]), scene.now)
    scene.server_turn(user_text=5, stages={"llm": "fast", "tts": 0.5}, interrupted="no", turn=None)
    scene.wait(1.0)
    (record,) = scene.done
    assert (record.user_text, record.reply_text, record.stages) == ("", "Yes.", {"tts": 0.5})


def test_closing_ends_open_turns_as_they_stand():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.reply("A long story.", seconds=3)
    scene.wait(0.5)
    (record,) = scene.turns.close(scene.now, "broke_off")
    assert record.outcome == "broke_off"
    assert record.heard.seconds == pytest.approx(0.5, abs=0.01)
    assert scene.turns.close(scene.now, "broke_off") == []


def test_the_time_in_which_nothing_happens_counts_from_the_end_of_the_speech():
    scene = Scene()
    number = scene.turns.begin(0.0, 0.0, 5.0)
    scene.wait(4.0)
    assert scene.turns.quiet_seconds(number, scene.now) == 0
    scene.wait(3.0)
    assert scene.turns.quiet_seconds(number, scene.now) == pytest.approx(2.0)
    scene.reply("Hm.", seconds=1)
    assert scene.turns.quiet_seconds(number, scene.now) == 0
    assert scene.turns.quiet_seconds(99, scene.now) == 0


def test_with_a_microphone_turns_follow_what_the_server_hears():
    scene = Scene(follow_server=True)
    scene.wait(0.2)
    scene.turns.user_audible(scene.now)
    scene.wait(0.3)
    scene.interrupt()
    assert scene.turns.state == "listening"
    scene.turns.user_audible(scene.now)
    spoke_until = scene.now
    scene.wait(0.4)
    scene.get("user-stopped-speaking")
    assert scene.turns.state == "thinking"
    scene.wait(0.6)
    scene.reply("Hello.", seconds=2)
    assert scene.turns.state == "speaking"
    scene.wait(0.5)
    scene.interrupt()  # the user speaks into the reply
    scene.server_turn(interrupted=True, reply_text="Hel")
    scene.wait(0.1)
    (record,) = scene.done
    assert record.speech_ended_at == spoke_until
    assert record.voice_to_voice_seconds == pytest.approx(1.0, abs=0.02)
    assert record.interrupted
    scene.get("user-stopped-speaking")
    scene.reply("Sorry.")
    scene.server_turn(reply_text="Sorry.")
    scene.wait(1.0)
    assert [record.reply_text for record in scene.done] == ["Hel", "Sorry."]
    assert scene.turns.state == "listening"


def test_a_greeting_is_a_turn_that_nobody_asked_for():
    scene = Scene(follow_server=True)
    scene.reply("Welcome.")
    scene.wait(0.6)
    scene.reply_ends("Welcome.")
    assert scene.turns.state == "listening", "the bot is done, though the turn is not yet closed"
    scene.wait(3.0)
    (record,) = scene.done
    assert (record.reply_text, record.voice_to_voice_seconds) == ("Welcome.", None)


def test_a_cough_before_the_question_does_not_end_its_turn():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 2.0)
    scene.wait(0.3)
    scene.get("user-started-speaking")
    scene.get("user-stopped-speaking")
    scene.server_turn(turn=0, outcome="too_short")
    scene.wait(1.0)
    scene.get("user-started-speaking")
    scene.wait(1.0)
    scene.get("user-stopped-speaking")
    scene.wait(4.0)
    assert not scene.done, "a slow model is still thinking"
    scene.reply("Here I am.")
    scene.server_turn(turn=1, reply_text="Here I am.", outcome="answered")
    scene.wait(1.0)
    assert [record.outcome for record in scene.done] == ["answered"]


def test_nothing_but_a_cough_ends_with_the_servers_word_for_it():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.get("user-started-speaking")
    scene.wait(0.5)
    scene.get("user-stopped-speaking")
    scene.server_turn(turn=0, outcome="too_short")
    scene.wait(2.0)
    assert [record.outcome for record in scene.done] == ["too_short"]


def test_a_turn_message_before_the_last_phrase_is_synthesized_does_not_cut_it_off():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.1)
    scene.get("bot-tts-started")
    scene.reply("One. Two.", seconds=0.2)
    scene.wait(0.3)
    scene.server_turn(reply_text="One.", outcome="answered")
    scene.wait(0.6)
    scene.audio(0.2)
    scene.get("bot-tts-stopped")
    scene.wait(1.0)
    (record,) = scene.done
    assert record.heard.seconds > 0.4


def test_a_reply_that_never_ends_is_called_unfinished():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.1)
    scene.get("bot-llm-started")
    scene.get("bot-llm-text", text="Well")
    scene.wait(40)
    (record,) = scene.turns.close(scene.now, "no_answer")
    assert (record.outcome, record.reply_text) == ("unfinished", "Well")


def test_the_server_is_told_once_a_reply_when_it_is_audible():
    scene = Scene()
    for _ in range(2):
        scene.turns.begin(scene.now, scene.now, scene.now + 0.2)
        scene.wait(1.0)
        scene.reply("Yes.", seconds=0.2)
        scene.wait(0.5)  # the sound has a gap
        scene.audio(0.2)
        scene.reply_ends("Yes.")
        scene.server_turn(reply_text="Yes.")
        scene.wait(1.0)
    assert len(scene.done) == 2
    assert scene.told == [1.01, 3.51]


def test_a_request_for_patience_and_the_answer_after_it_are_told_apart():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.get("bot-started-speaking")
    scene.audio(0.5)
    scene.wait(0.7)
    scene.reply_ends("One moment, please.")
    scene.wait(1.0)
    scene.reply("Paris.")
    scene.wait(1.0)
    assert scene.told == [0.01, 1.71]


def test_the_server_is_not_told_of_sound_that_nobody_asked_for():
    scene = Scene()
    scene.get("bot-started-speaking")
    scene.audio(0.5)
    scene.wait(1.0)
    scene.turns.begin(scene.now, scene.now, scene.now + 0.2)
    scene.wait(0.5)
    scene.get("bot-started-speaking")  # the message overtakes the sound
    scene.wait(0.2)
    assert scene.told == []
    scene.audio(0.5)
    scene.wait(0.1)
    assert scene.told == [1.71]


def test_a_reply_that_is_cut_off_before_it_sounds_is_not_told():
    scene = Scene()
    scene.turns.begin(0.0, 0.0, 0.2)
    scene.reply("A long story.", seconds=3)
    scene.interrupt()
    scene.wait(1.0)
    assert scene.told == []
    scene.reply("Yes.")
    scene.wait(0.1)
    assert scene.told == [1.01]


def test_sound_that_nobody_asked_for_is_no_part_of_the_next_turn():
    scene = Scene()
    scene.audio(0.5)
    scene.wait(1.0)
    number = scene.turns.begin(scene.now, scene.now, scene.now + 0.2)
    scene.wait(0.5)
    scene.reply("Yes.")
    scene.server_turn(reply_text="Yes.")
    scene.wait(1.0)
    (record,) = scene.done
    assert (number, record.number) == (1, 1)
    assert record.heard.seconds == pytest.approx(0.5, abs=0.01)
