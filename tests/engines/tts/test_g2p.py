"""Text to phonemes: offline, without GPL libraries and torch, and with a bounded espeak-ng."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.engines.tts.espeak import Espeak, ipa_to_phonemes
from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.text.normalize import normalize
from appliance.errors import MissingWeights


def test_homographs_are_distinguished(g2p: G2P) -> None:
    assert "lˈɛd" not in g2p.phonemes("They lead the team.")
    assert g2p.phonemes("I read it now.") != g2p.phonemes("I have read it now.")


def test_punctuation_is_kept_for_intonation(g2p: G2P) -> None:
    assert g2p.phonemes("Really? Yes, really!").count("?") == 1
    assert g2p.phonemes("Really? Yes, really!").endswith("!")


def test_british_voice_gets_british_phonemes(g2p: G2P) -> None:
    assert g2p.phonemes("the bath", british=True) == "ðə bˈɑːθ"
    assert g2p.phonemes("the bath") == "ðə bˈæθ"


def test_words_missing_from_the_dictionary_are_pronounced_by_espeak(g2p: G2P) -> None:
    assert g2p.phonemes("Pipecat") == "pˈIpkæt"
    assert "kjˈub" in g2p.phonemes("It runs on Kubernetes, xyzzy and Ultravox.")


def test_unknown_words_are_spelled_out_without_espeak(weights: Path) -> None:
    speller = G2P(weights, espeak_program="no-such-program")
    assert speller.phonemes("Xyzzyq") == "ˌɛksˌwˌIzˌizˌiwˌIkjˈu" or len(
        speller.phonemes("Xyzzyq")
    ) > len("zˈɪzik")
    assert speller.phonemes("Hello there.") == "həlˈO ðˈɛɹ."


@pytest.mark.parametrize("text", ["", "...", "?!", "— —", "'"])
def test_text_without_words_yields_no_phonemes(g2p: G2P, text: str) -> None:
    assert g2p.phonemes(text) == ""


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60), british=st.booleans())
def test_any_text_yields_phonemes_or_an_empty_string(g2p: G2P, text: str, british: bool) -> None:
    assert isinstance(g2p.phonemes(normalize(text), british), str)
    assert isinstance(g2p.phonemes(text, british), str)


def test_callers_words_are_never_printed(g2p: G2P, capsys: pytest.CaptureFixture[str]) -> None:
    g2p.phonemes("$, 5.5.5% ..5 -- ,, 1,,2 Qqxz")
    assert "Qqxz" not in capsys.readouterr().out


def test_missing_spacy_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="en_core_web_sm"):
        G2P(tmp_path)


def test_g2p_imports_no_gpl_library_or_torch_and_blocks_downloads(
    weights: Path,
) -> None:
    code = f"""
import sys
for heavy in ("torch", "transformers"):
    sys.modules[heavy] = None  # importing it would fail
from pathlib import Path
import spacy
from appliance.engines.tts.engine import KokoroEngine
from appliance.engines.tts.espeak import Espeak, ipa_to_phonemes
from appliance.engines.tts.g2p import G2P
G2P(Path({str(weights)!r})).phonemes("Pipecat runs.")
print([name for name in ("phonemizer", "espeakng_loader") if name in sys.modules])
try:
    spacy.cli.download("en_core_web_sm")
except Exception as error:
    print(type(error).__name__)
"""
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert completed.stdout.split("\n")[:2] == ["[]", "MissingWeights"]


@pytest.mark.parametrize(
    ("ipa", "american", "british"),
    [
        ("təmˈe^ɪɾo^ʊ", "təmˈATO", "təmˈATɔʊ"),
        ("d^ʒˌælɐpˈiːnjo^ʊ", "ʤˌæləpˈinjO", "ʤˌæləpˈiːnjɔʊ"),
        ("nˈɜːs", "nˈɜɹs", "nˈɜːs"),
        ("(fr)nwˈɑː(en-us)", "nwˈɑ", "nwˈɑː"),
    ],
)
def test_ipa_becomes_phonemes_of_the_accent(ipa: str, american: str, british: str) -> None:
    assert ipa_to_phonemes(ipa, british=False) == american
    assert ipa_to_phonemes(ipa, british=True) == british


def test_word_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    espeak = Espeak(british=False)
    espeak.prefetch(["Pipecat", "Ultravox", "Pipecat"])
    monkeypatch.setattr(espeak, "_run", lambda words: pytest.fail("looked up again"))
    assert espeak.phonemes("Pipecat") == "pˈIpkæt"
    assert espeak.phonemes("Ultravox")


@pytest.mark.parametrize("word", ["[[h@l'oU]]", "--help", "<speak>", "a\nb", "-f/etc/passwd", "\0"])
def test_word_is_never_interpreted_as_an_espeak_option(word: str) -> None:
    espeak = Espeak(british=False)
    espeak.prefetch([word, "Pipecat"])
    assert espeak.phonemes("Pipecat") == "pˈIpkæt"


def script(folder: Path, body: str) -> str:
    path = folder / "fake-espeak"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("body", ["exec sleep 10", "exit 1", "echo one; echo two; echo three"])
def test_failing_or_hanging_espeak_costs_only_the_pronunciation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setattr("appliance.engines.tts.espeak.ESPEAK_TIMEOUT_SECONDS", 0.3)
    assert Espeak(False, script(tmp_path, body)).phonemes("Pipecat") is None


def test_espeak_that_failed_once_is_asked_again(tmp_path: Path) -> None:
    """Otherwise one slow start would spell a name out as long as the process lives."""
    espeak = Espeak(False, script(tmp_path, "test -e ran && exec echo wan\n: >ran; exit 1"))
    with contextlib.chdir(tmp_path):
        espeak.prefetch(["Juan"])
        assert espeak.phonemes("Juan") is None
        espeak.prefetch(["Juan"])
        assert espeak.phonemes("Juan") == "wan"


def test_lookup_without_espeak_returns_none() -> None:
    assert Espeak(False, "no-such-program").phonemes("Pipecat") is None
