"""Figures of two builds, and what counts as a turn in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.playback import HeardReply
from client.record import ClientTurnRecord
from tests.bench.compare import share
from tests.bench.external import add_turns
from tests.bench.figures import Figure, Samples, compare
from tests.bench.independent import add_report
from tests.bench.recordings import RECORDINGS, RecordingsUnavailable, fetch, with_pause
from tests.bench.rounds import rotate

VOICE_TO_VOICE = Figure("voice to voice", "s")


def samples(**figures: list[float]) -> Samples:
    result = Samples()
    for name, values in figures.items():
        result.add(name, "ms", *values)
    return result


def record(latency: float | None, gap: float = 0.0) -> ClientTurnRecord:
    """A turn whose reply was audible `latency` seconds after the user's speech; None: never."""
    audible_at = None if latency is None else 10.0 + latency
    heard = HeardReply(first_audible_at=audible_at, longest_gap_seconds=gap)
    return ClientTurnRecord(1, heard=heard, speech_ended_at=10.0)


def test_ratio_is_above_one_when_this_build_is_slower() -> None:
    table = compare(samples(added=[20.0, 10.0, 30.0]), samples(added=[22.0, 15.0, 24.0, 22.0]))
    cells = list(table)[-1].split()
    assert " ".join(cells) == "added, ms 20.000 22.000 1.100 30.000 24.000 0.800 3, 4"


def test_figure_of_one_build_and_a_figure_of_zero_have_no_ratio() -> None:
    lines = list(compare(samples(old=[1.0], gap=[0.0]), samples(gap=[3.0], new=[2.0], none=[])))
    rows = {line.split(",")[0].strip(): line.split() for line in lines[2:]}
    assert rows["old"][2:5] == ["1.000", "-", "-"]
    assert rows["new"][2:5] == ["-", "2.000", "-"]
    assert rows["gap"][2:5] == ["0.000", "3.000", "-"]
    assert rows["none"][-2:] == ["0,", "0"]


def test_reason_for_a_missing_figure_is_shown_once_per_build() -> None:
    before, later = Samples(), Samples()
    for each in (before, later):
        each.notes.append("human: not measured: offline")
    before.merge(later)
    lines = [line for line in compare(before, Samples()) if "not measured" in line]
    assert lines == ["  before: human: not measured: offline"]


def test_rounds_together_have_at_least_the_wanted_turns() -> None:
    assert [share(total, 3) * 3 for total in (1, 21, 22)] == [3, 21, 24]


def test_rounds_together_use_every_recording() -> None:
    files = [bytes([number]) for number in range(10)]
    used = [each for number in range(3) for each in rotate(files, number * 7)[:7]]
    assert set(used) == set(files)


def test_answer_before_the_end_of_the_question_is_not_a_fast_answer() -> None:
    found = Samples()
    add_turns(found, "voice to voice", [record(1.0, 0.1), record(-0.5), record(None), record(2.0)])
    assert found.values[VOICE_TO_VOICE] == [1.0, 2.0]
    assert found.values[Figure("answered too early", "%")] == [25.0]
    assert found.values[Figure("not answered", "%")] == [25.0]
    assert found.values[Figure("longest silence inside a reply", "ms")] == [100.0, 0.0, 0.0]
    assert found.values[Figure("longest silence of all replies", "ms")] == [100.0]


def test_pause_is_silence_and_the_recording_is_kept() -> None:
    pcm = b"\x01\x02" * 16_000
    paused = with_pause(pcm, 0.25, 0.5)
    assert paused == pcm[:8000] + bytes(16_000) + pcm[8000:]


def test_every_recording_is_given_a_pause_within_its_sentence() -> None:
    assert len({each.name for each in RECORDINGS}) == 10
    for each in RECORDINGS:
        assert 0.3 <= each.pause_seconds <= 0.7
        assert each.quiet_seconds <= each.pause_seconds
        assert each.text.count("|") == 1


def test_recordings_that_cannot_be_fetched_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecordingsUnavailable, match="apt-get"):
        fetch(tmp_path / "cache")


def test_report_of_voicebench_names_the_turns_that_fail() -> None:
    def turn(expect: str, passed: bool, **values: object) -> dict[str, object]:
        empty = {"response_latency_ms": None, "stop_latency_ms": None, "responded": None}
        notes = [] if passed else ["agent stopped"]
        common = {"id": expect, "expect": expect, "passed": passed, "notes": notes}
        return {**empty, **common, **values}

    turns = [
        turn("respond", True, response_latency_ms=1500.0, responded=True),
        turn("respond", True, id="number", response_latency_ms=-200.0, responded=True),
        turn("respond", False, id="thanks", responded=False),
        turn("stop", True, stop_latency_ms=280.0),
        turn("ignore", False),
    ]
    found = Samples()
    add_report(found, {"sessions": [{"turns": turns}]}, "en-gb")
    values = {name: values for (name, _), values in found.values.items()}
    assert values["voicebench: response"] == [1.5]
    assert values["voicebench: stop after a barge-in"] == [280.0]
    assert values["voicebench: turns answered"] == [200 / 3]
    assert values["voicebench: answered too early"] == [100 / 3]
    assert values["voicebench: turns passed"] == [40.0]
    assert values["voicebench: number passed"] == [0.0]
    assert values["voicebench: respond passed"] == [100.0]
    assert values["voicebench: response p90 of a run"] == [1.5]
    assert values["voicebench: stop passed"] == [100.0]
    assert values["voicebench: ignore passed"] == [0.0]
    assert found.notes == [
        "voicebench, en-gb, number: answered 200 ms before its end",
        "voicebench, en-gb, thanks: agent stopped",
        "voicebench, en-gb, ignore: agent stopped",
    ]
