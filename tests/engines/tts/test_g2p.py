"""Text to phonemes, offline, with no GPL library and no torch in the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.text.normalize import normalize
from appliance.errors import MissingWeights


def test_homographs_are_told_apart(g2p: G2P) -> None:
    assert "lˈɛd" not in g2p.phonemes("They lead the team.")
    assert g2p.phonemes("I read it now.") != g2p.phonemes("I have read it now.")


def test_punctuation_is_kept_for_the_melody(g2p: G2P) -> None:
    assert g2p.phonemes("Really? Yes, really!").count("?") == 1
    assert g2p.phonemes("Really? Yes, really!").endswith("!")


def test_british_voices_speak_british(g2p: G2P) -> None:
    assert g2p.phonemes("the bath", british=True) == "ðə bˈɑːθ"
    assert g2p.phonemes("the bath") == "ðə bˈæθ"


def test_words_the_dictionary_lacks_are_pronounced_by_the_program(g2p: G2P) -> None:
    assert g2p.phonemes("Pipecat") == "pˈIpkæt"
    assert "kjˈub" in g2p.phonemes("It runs on Kubernetes, xyzzy and Ultravox.")


def test_without_the_program_they_are_spelled(weights: Path) -> None:
    spelling = G2P(weights, espeak_program="no-such-program")
    assert spelling.phonemes("Xyzzyq") == "ˌɛksˌwˌIzˌizˌiwˌIkjˈu" or len(
        spelling.phonemes("Xyzzyq")
    ) > len("zˈɪzik")
    assert spelling.phonemes("Hello there.") == "həlˈO ðˈɛɹ."


@pytest.mark.parametrize("text", ["", "...", "?!", "— —", "'"])
def test_without_a_word_there_are_no_phonemes(g2p: G2P, text: str) -> None:
    assert g2p.phonemes(text) == ""


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=60), british=st.booleans())
def test_any_text_gives_phonemes_or_nothing(g2p: G2P, text: str, british: bool) -> None:
    assert isinstance(g2p.phonemes(normalize(text), british), str)
    assert isinstance(g2p.phonemes(text, british), str)


def test_nothing_is_printed_of_what_a_caller_said(
    g2p: G2P, capsys: pytest.CaptureFixture[str]
) -> None:
    g2p.phonemes("$, 5.5.5% ..5 -- ,, 1,,2 Qqxz")
    assert "Qqxz" not in capsys.readouterr().out


def test_a_missing_spacy_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="en_core_web_sm"):
        G2P(tmp_path)


def test_neither_gpl_libraries_nor_torch_are_imported_and_downloads_are_refused(
    weights: Path,
) -> None:
    code = f"""
import sys
for heavy in ("torch", "transformers"):
    sys.modules[heavy] = None  # an import of it would fail
from pathlib import Path
import spacy
from appliance.engines.tts.engine import KokoroEngine
from appliance.engines.tts.g2p import G2P
G2P(Path({str(weights)!r})).phonemes("Pipecat runs.")
print([name for name in ("phonemizer", "espeakng_loader") if name in sys.modules])
try:
    spacy.cli.download("en_core_web_sm")
except Exception as refused:
    print(type(refused).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "MissingWeights"]
