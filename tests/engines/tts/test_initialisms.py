"""Initialisms, single letters and names sound as people say them."""

from __future__ import annotations

import pytest

from appliance.engines.tts.g2p import G2P
from tests.engines.tts.test_homographs import sounds


@pytest.mark.parametrize(
    ("sentence", "spelled"),
    [
        ("He has COPD.", "C O P D"),
        ("Move her to the OR now.", "O R"),
        ("She had an MI last year.", "M I"),
        ("The BUN is high.", "B U N"),
        ("The LED is on.", "L E D"),
        ("The POA was signed.", "P O A"),
        ("Tire pressure is thirty PSI.", "P S I"),
        ("The US is big.", "U S"),
        ("Call our IT team.", "I T"),
        ("The WHO says so.", "W H O"),
        ("Ask the DNR team.", "D N R"),
        ("COPD, MI, BUN, LED, PSI.", "B U N"),
    ],
)
def test_initialism_is_spelled(g2p: G2P, sentence: str, spelled: str) -> None:
    assert "".join(sounds(g2p, spelled)) in sounds(g2p, sentence)


@pytest.mark.parametrize(
    ("sentence", "sound"),
    [
        ("MRSA was found.", "mɜɹsə"),
        ("The SCADA screen froze.", "skAdə"),
        ("Follow the LOTO steps.", "lOTO"),
        ("He uses CPAP at night.", "sipæp"),
        ("He uses BiPAP at night.", "bIpæp"),
        ("She is in the PACU.", "pækju"),
        ("Press ESC to exit.", "əskAp"),
        ("NASA called.", "næsə"),
        ("She flew with Pan Am.", "æm"),
        ("NSAIDs can hurt the stomach.", "ɛnsAdz"),
        ("Yes OR no?", "ɔɹ"),
        ("Do NOT turn.", "nɑt"),
        ("BEDS are free.", "bɛdz"),
        ("STOP! DO NOT TOUCH THE RED BUN OR THE OTHER.", "bʌn"),
        ("Dr. Nguyen is here.", "nwɪn"),
        ("COPD's cause is smoke.", "siOpidiz"),
        ("The LEDs are on.", "ɛlidiz"),
    ],
)
def test_word_in_capitals_or_name_is_said_as_a_word(g2p: G2P, sentence: str, sound: str) -> None:
    assert sound in sounds(g2p, sentence)


@pytest.mark.parametrize(
    ("sentence", "sound"),
    [
        ("Take option a.", "A"),
        ("Go to Gate A twelve.", "A"),
        ("Hepatitis A is rare.", "A"),
        ("It starts at ten A M.", "A"),
        ("A B C", "A"),
        ("A nurse came.", "ɐ"),
        ("Which option a patient takes is open.", "ɐ"),
    ],
)
def test_letter_a_is_told_from_the_article(g2p: G2P, sentence: str, sound: str) -> None:
    assert sound in sounds(g2p, sentence)


def test_full_stop_after_a_last_letter_is_kept(g2p: G2P) -> None:
    assert g2p.phonemes("It starts at ten A M.").endswith(".")
    assert g2p.phonemes("Take option b.").endswith(".")
    assert "." in g2p.phonemes("Take option b. Then go on.")[:-1]
