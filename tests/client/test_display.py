import io

from client.display import Screen, View, meter, status_line, transcript_lines
from client.record import TurnRecord


class Terminal(io.StringIO):
    encoding = "ascii"

    def isatty(self):
        return True


def test_the_meter_fills_from_silence_to_full_scale():
    assert meter(-90, 4) == meter(-60, 4) == "    "
    assert meter(-30, 4) == "==  "
    assert meter(0, 4) == meter(6, 4) == "===="


def test_the_line_shows_state_level_and_the_last_latency():
    line = status_line(View("thinking", -30.0, 1.839), 80)
    assert line == "thinking   [======      ]  last answer after 1.84 s"


def test_the_line_never_wraps():
    for columns in range(0, 60):
        assert len(status_line(View("speaking", -3.0, 12.0, note="x" * 90), columns)) <= columns


def test_a_note_takes_the_place_of_the_latency():
    assert status_line(View(latency_seconds=1.0, note="muted"), 80).endswith("]  muted")


def test_a_turn_is_shown_as_two_lines_without_control_characters():
    record = TurnRecord(1, "What\x1b[2J time?", "It is\nnoon.", interrupted=True)
    assert transcript_lines(record) == ["you  What [2J time?", "bot  It is noon. -"]
    assert transcript_lines(TurnRecord(1)) == []


def test_on_a_terminal_the_line_is_drawn_over_and_wiped():
    out = Terminal()
    screen = Screen(out)
    screen.draw(View("listening"))
    screen.print("you  sch\u00f6n")
    screen.clear()
    assert out.getvalue() == "\rlistening  [            ]\x1b[K\ryou  sch?n\x1b[K\n\r\x1b[K"


def test_in_a_pipe_only_the_transcript_appears():
    out = io.StringIO()
    screen = Screen(out)
    screen.draw(View("listening"))
    screen.print("you  hello")
    screen.clear()
    assert out.getvalue() == "you  hello\n"
