"""The voices that speak the questions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.acceptance.voices import VOICES, EspeakVoices, read_recordings
from client.errors import UsageError
from client.wav import write_wav
from tests.fakes import tone


async def test_two_voices_speak_the_same_words_differently() -> None:
    voices = EspeakVoices()
    spoken = [await voices.say("What is my name?", voices.voice_of(turn)) for turn in range(3)]
    assert len(VOICES) >= 2
    assert spoken[0] != spoken[1]
    assert spoken[0] == spoken[2]
    for pcm in spoken:
        assert 0.5 < len(pcm) / 2 / 16_000 < 3
        assert np.abs(np.frombuffer(pcm, "<i2")).max() > 3000


async def test_failures_of_espeak_are_explained() -> None:
    with pytest.raises(UsageError, match="no-such-program"):
        await EspeakVoices(program="no-such-program").say("Hello.")
    with pytest.raises(UsageError, match="cannot speak with"):
        await EspeakVoices(program="false").say("Hello.")


def test_recordings_are_pairs_of_sound_and_text(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_wav(tmp_path / f"{name}.wav", tone(0.5, 8000), 8000)
        (tmp_path / f"{name}.txt").write_text(f"Recording\n{name}.\n")
    recordings = read_recordings(tmp_path)
    assert [(each.name, each.text) for each in recordings] == [
        ("a", "Recording a."),
        ("b", "Recording b."),
    ]
    assert len(recordings[0].pcm) == pytest.approx(16_000, abs=4)


def test_incomplete_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recordings"):
        read_recordings(tmp_path / "missing")
    write_wav(tmp_path / "a.wav", tone(0.1), 16_000)
    with pytest.raises(UsageError, match=r"a\.txt"):
        read_recordings(tmp_path)
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(UsageError, match="is empty"):
        read_recordings(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot read"):
        read_recordings(tmp_path)
