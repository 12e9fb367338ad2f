"""Final records of turns."""

from typing import Any

from client.playback import HeardReply
from client.record import ClientTurnRecord, OpenTurn


def open_turn(**fields: Any) -> OpenTurn:
    return OpenTurn(1, 0.0, 0.0, 1.0, 0.0, **fields)


def test_latency_is_measured_from_end_of_speech_to_first_audible_sample() -> None:
    record = ClientTurnRecord(1, heard=HeardReply(first_audible_at=3.5), speech_ended_at=2.0)
    assert record.voice_to_voice_seconds == 1.5
    assert ClientTurnRecord(1, speech_ended_at=2.0).voice_to_voice_seconds is None
    assert (
        ClientTurnRecord(1, heard=HeardReply(first_audible_at=3.5)).voice_to_voice_seconds is None
    )


def test_texts_of_the_server_override_collected_texts() -> None:
    turn = open_turn(user_texts=["um"], generated="Yes. And more.", spoken=["Yes."])
    assert (turn.record().user_text, turn.record().reply_text) == ("um", "Yes. And more.")
    turn.server_user_texts, turn.server_reply = ["Are you", "there?"], "Yes."
    assert (turn.record().user_text, turn.record().reply_text) == ("Are you there?", "Yes.")


def test_interrupted_reply_keeps_only_spoken_text() -> None:
    turn = open_turn(generated="Yes. And more.", spoken=["Yes."], interrupted=True)
    record = turn.record()
    assert (record.reply_text, record.outcome) == ("Yes.", "interrupted")


def test_outcome_argument_overrides_the_servers_which_overrides_the_default() -> None:
    assert open_turn().record().outcome == "no_answer"
    assert open_turn(has_audio=True).record().outcome == "answered"
    assert open_turn(outcome="nothing_heard").record().outcome == "nothing_heard"
    assert open_turn(outcome="nothing_heard").record("call_dropped").outcome == "call_dropped"
