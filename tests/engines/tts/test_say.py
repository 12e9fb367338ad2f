"""`python -m appliance say`: the words, the phonemes and the speech of a text."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from appliance.link.engine import OUTPUT_SAMPLE_RATE
from tests.recognizer import word_error_rate, words

ROOT = Path(__file__).parents[3]


def say(*arguments: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", "say", *arguments],
        env={**os.environ, **environ},
        cwd=ROOT,
        capture_output=True,
    )


@pytest.fixture
def lexicon(tmp_path: Path) -> Path:
    path = tmp_path / "lexicon.tsv"
    path.write_text("Kefzol\tkef zole\nSiobhan\t/ʃəvˈɔn/\n", encoding="utf-8")
    return path


def samples(wav: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert file.getframerate() == OUTPUT_SAMPLE_RATE
        pcm = file.readframes(file.getnframes())
    return np.frombuffer(pcm, dtype="<i2")


def test_words_and_phonemes_are_printed_with_the_lexicon_of_the_site(lexicon: Path) -> None:
    done = say("Give", "Kefzol to Siobhan.", VOICE_TTS_LEXICON_FILE=str(lexicon))
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.decode().splitlines()
    assert first == "words     Give kef zole to Siobhan."
    assert second.startswith("phonemes  ɡˈɪv kˈɛf")
    assert second.endswith("ʃəvˈɔn.")


def test_phonemes_are_those_of_the_accent_of_the_voice() -> None:
    american = say("bath").stdout.decode()
    assert american != say("bath", VOICE_TTS_VOICE="bf_emma").stdout.decode()


def test_speech_is_written_to_a_file_or_to_stdout(tmp_path: Path) -> None:
    path = tmp_path / "said.wav"
    done = say("Show me the garden.", "--wav", str(path))
    assert done.returncode == 0, done.stderr
    assert b"words     Show me the garden.\n" in done.stdout
    heard = words(samples(path.read_bytes()), OUTPUT_SAMPLE_RATE)
    assert word_error_rate("show me the garden", heard) <= 0.25
    done = say("Show me the garden.", "--wav", "-")
    assert b"words     Show me the garden.\n" in done.stderr
    assert len(samples(done.stdout)) == len(samples(path.read_bytes()))


def test_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "said.wav"
    done = say("Hello.", "--wav", str(path))
    assert done.returncode == 1
    assert f"{path}: No such file or directory" in done.stderr.decode()


def test_text_without_words_has_nothing_to_say() -> None:
    done = say("***")
    assert (done.returncode, done.stdout) == (1, b"nothing to say\n")


def test_wrong_lexicon_is_reported_with_its_line(lexicon: Path) -> None:
    with lexicon.open("a", encoding="utf-8") as file:
        file.write("Keflex\n")
    done = say("Hello.", VOICE_TTS_LEXICON_FILE=str(lexicon))
    assert done.returncode == 78
    assert f"{lexicon}, line 3: it has 0 TABs" in done.stderr.decode()
