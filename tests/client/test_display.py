"""The status line and the transcript of `talk`."""

import io

from client.display import Screen, TalkStatus, meter, status_line, transcript_lines
from client.record import ClientTurnRecord


class Terminal(io.StringIO):
    encoding = "ascii"

    def isatty(self) -> bool:
        return True


def test_meter_fills_from_silence_to_full_scale() -> None:
    assert meter(-90, 4) == meter(-60, 4) == "    "
    assert meter(-30, 4) == "==  "
    assert meter(0, 4) == meter(6, 4) == "===="


def test_status_line_shows_state_level_and_last_latency() -> None:
    line = status_line(TalkStatus("thinking", -30.0, 1.839), 80)
    assert line == "thinking   [======      ]  last answer after 1.84 s at the client's buffer"


def test_gaps_of_the_sound_devices_are_counted() -> None:
    line = status_line(TalkStatus("speaking", latency_seconds=1.0, sound_gaps=3), 100)
    assert line.endswith("at the client's buffer; sound gaps: 3")
    assert status_line(TalkStatus(sound_gaps=1), 100).endswith("]  sound gaps: 1")


def test_status_line_never_wraps() -> None:
    for columns in range(0, 60):
        assert len(status_line(TalkStatus("speaking", -3.0, 12.0), columns)) <= columns


def test_turn_is_shown_as_two_lines_without_control_characters() -> None:
    record = ClientTurnRecord(1, "What\x1b[2J time?", "It is\nnoon.", interrupted=True)
    assert transcript_lines(record) == ["you  What [2J time?", "bot  It is noon. -"]
    assert transcript_lines(ClientTurnRecord(1)) == []


def test_status_line_is_redrawn_and_erased_on_a_terminal() -> None:
    out = Terminal()
    screen = Screen(out)
    screen.draw(TalkStatus("listening"))
    screen.print("you  sch\u00f6n")
    screen.clear()
    assert out.getvalue() == "\rlistening  [            ]\x1b[K\ryou  sch?n\x1b[K\n\r\x1b[K"


def test_only_the_transcript_is_printed_into_a_pipe() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.draw(TalkStatus("listening"))
    screen.print("you  hello")
    screen.clear()
    assert out.getvalue() == "you  hello\n"
