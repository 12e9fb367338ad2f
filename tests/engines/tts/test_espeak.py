"""Words by the espeak-ng program: in time, in one run, and never as a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.engines.tts import g2p
from appliance.engines.tts.g2p import Espeak, to_tts


@pytest.mark.parametrize(
    ("ipa", "american", "british"),
    [
        ("təmˈe^ɪɾo^ʊ", "təmˈATO", "təmˈATɔʊ"),
        ("d^ʒˌælɐpˈiːnjo^ʊ", "ʤˌæləpˈinjO", "ʤˌæləpˈiːnjɔʊ"),
        ("nˈɜːs", "nˈɜɹs", "nˈɜːs"),
        ("(fr)nwˈɑː(en-us)", "nwˈɑ", "nwˈɑː"),
    ],
)
def test_ipa_becomes_the_phonemes_of_the_voice(ipa: str, american: str, british: str) -> None:
    assert to_tts(ipa, british=False) == american
    assert to_tts(ipa, british=True) == british


def test_a_word_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Espeak(british=False)
    program.learn(["Pipecat", "Ultravox", "Pipecat"])
    monkeypatch.setattr(program, "_run", lambda words: pytest.fail("asked again"))
    assert program.phonemes("Pipecat") == "pˈIpkæt"
    assert program.phonemes("Ultravox")


@pytest.mark.parametrize("word", ["[[h@l'oU]]", "--help", "<speak>", "a\nb", "-f/etc/passwd", "\0"])
def test_no_word_is_taken_as_a_command(word: str) -> None:
    program = Espeak(british=False)
    program.learn([word, "Pipecat"])
    assert program.phonemes("Pipecat") == "pˈIpkæt"


def script(folder: Path, body: str) -> str:
    path = folder / "fake-espeak"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("body", ["exec sleep 10", "exit 1", "echo one; echo two; echo three"])
def test_a_program_that_fails_or_hangs_costs_only_the_pronunciation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr(g2p, "TIMEOUT_SECONDS", 0.3)
    assert Espeak(False, script(tmp_path, body)).phonemes("Pipecat") is None


def test_without_the_program_there_is_no_answer() -> None:
    assert Espeak(False, "no-such-program").phonemes("Pipecat") is None
