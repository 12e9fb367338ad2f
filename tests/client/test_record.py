from client.playback import Heard
from client.record import OpenTurn, TurnRecord


def open_turn(**fields):
    return OpenTurn(1, 0.0, 0.0, 1.0, 0.0, **fields)


def test_the_latency_runs_from_the_end_of_speech_to_the_first_audible_sample():
    record = TurnRecord(1, heard=Heard(first_audible_at=3.5), speech_ended_at=2.0)
    assert record.voice_to_voice_seconds == 1.5
    assert TurnRecord(1, speech_ended_at=2.0).voice_to_voice_seconds is None
    assert TurnRecord(1, heard=Heard(first_audible_at=3.5)).voice_to_voice_seconds is None


def test_what_the_server_says_of_a_turn_goes_before_what_was_pieced_together():
    turn = open_turn(user_texts=["um"], generated="Yes. And more.", spoken=["Yes."])
    assert (turn.record().user_text, turn.record().reply_text) == ("um", "Yes. And more.")
    turn.server_user_texts, turn.server_reply = ["Are you", "there?"], "Yes."
    assert (turn.record().user_text, turn.record().reply_text) == ("Are you there?", "Yes.")


def test_of_an_interrupted_reply_only_what_was_spoken_is_kept():
    turn = open_turn(generated="Yes. And more.", spoken=["Yes."], interrupted=True)
    record = turn.record()
    assert (record.reply_text, record.outcome) == ("Yes.", "interrupted")


def test_the_outcome_is_the_callers_then_the_servers_then_what_happened():
    assert open_turn().record().outcome == "no_answer"
    assert open_turn(has_audio=True).record().outcome == "answered"
    assert open_turn(outcome="nothing_heard").record().outcome == "nothing_heard"
    assert open_turn(outcome="nothing_heard").record("broke_off").outcome == "broke_off"
