"""The recorded phonemes are those of our G2P."""

from __future__ import annotations

import pytest

from appliance.engines.tts.g2p import G2P
from appliance.engines.tts.synthesizer import MAX_PHONEMES
from appliance.gpu_proof.phrases import PHRASES, ProofPhrase
from tests.engines.tts.conftest import g2p, weights  # noqa: F401  (fixtures)


@pytest.mark.parametrize("phrase", PHRASES, ids=lambda phrase: f"{len(phrase.text)} characters")
def test_phonemes_are_those_of_the_g2p(phrase: ProofPhrase, g2p: G2P) -> None:  # noqa: F811
    assert g2p.phonemes(phrase.text) == phrase.phonemes
    assert len(phrase.phonemes) <= MAX_PHONEMES
