"""How the client prints a finished turn, as JSON and as text."""

import json

from client.playback import HeardReply
from client.record import ClientTurnRecord
from client.report import as_json, as_text, plain
from tests.fakes import tone

ANSWERED = ClientTurnRecord(
    2,
    "What time is it?",
    "Noon.",
    HeardReply(tone(0.5), 24_000, first_audible_at=12.25, underruns=1, longest_gap_seconds=0.1204),
    speech_started_at=9.0,
    speech_ended_at=10.0,
    stages={"llm": 0.41239, "tts": 1.5},
    outcome="answered",
)


def test_json_has_every_field_on_one_line() -> None:
    line = as_json(ANSWERED, "q.wav", "out/02-q.reply.wav")
    assert "\n" not in line
    assert json.loads(line) == {
        "turn": 2,
        "file": "q.wav",
        "user_text": "What time is it?",
        "reply_text": "Noon.",
        "reply_wav": "out/02-q.reply.wav",
        "reply_seconds": 0.5,
        "voice_to_voice_seconds": 2.25,
        "stages": {"llm": 0.412, "tts": 1.5},
        "interrupted": False,
        "outcome": "answered",
        "underruns": 1,
        "longest_gap_seconds": 0.12,
    }


def test_absent_values_are_null_in_json() -> None:
    fields = json.loads(as_json(ClientTurnRecord(1, outcome="no_answer"), "q.wav", None))
    assert fields["reply_wav"] is fields["voice_to_voice_seconds"] is None
    assert fields["stages"] == {}


def test_text_shows_transcript_latency_stages_and_gaps() -> None:
    text = as_text(ANSWERED, "q.wav", "out/02-q.reply.wav")
    for part in ("What time", "Noon.", "2.25 s", "llm 0.41", "1 gap", "120 ms", "02-q.reply.wav"):
        assert part in text
    assert "outcome" not in text


def test_text_shows_that_there_was_no_answer() -> None:
    text = as_text(ClientTurnRecord(1, interrupted=True, outcome="no_answer"), "q.wav", None)
    assert "no reply was heard" in text
    assert "outcome: no_answer" in text


def test_control_characters_are_removed() -> None:
    assert plain("a\x1b]0;title\x07b\r\nc\u202ed") == "a ]0;title b c d"
