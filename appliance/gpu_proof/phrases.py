"""Phrases of five lengths with their phonemes, so that no step needs the G2P and its packages.

A test compares the phonemes with those of appliance.engines.tts.g2p. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProofPhrase:
    """A text and its phonemes in Kokoro's alphabet."""

    text: str
    phonemes: str


PHRASES = (
    ProofPhrase("Yes, of course.", "jˈɛs, ʌv kˈɔɹs."),
    ProofPhrase("The museum opens at nine.", "ðə mjuzˈiəm ˈOpᵊnz æt nˈIn."),
    ProofPhrase(
        "Your appointment with the doctor is on Tuesday morning at ten.",
        "jˌʊɹ əpˈYntmənt wɪð ðə dˈɑktəɹ ɪz ˌɔn tˈuzdˌA mˈɔɹnɪŋ æt tˈɛn.",
    ),
    ProofPhrase(
        "Please take the second door on the left, walk past the reception desk, and wait in the "
        "blue chairs until a nurse calls your name.",
        "plˈiz tˈAk ðə sˈɛkənd dˈɔɹ ˌɔn ðə lˈɛft, wˈɔk pˈæst ðə ɹəsˈɛpʃən dˈɛsk, ænd wˈAt ɪn ðə "
        "blˈu ʧˈɛɹz ˌʌntˈɪl ɐ nˈɜɹs kˈɔlz jʊɹ nˈAm.",
    ),
    ProofPhrase(
        "The committee met in the large hall on the third floor, and after a discussion of nearly "
        "three hours it decided to postpone the vote, because several members had asked for more "
        "time to read the report and to speak with the people who live near the river.",
        "ðə kəmˈɪTi mˈɛt ɪn ðə lˈɑɹʤ hˈɔl ˌɔn ðə θˈɜɹd flˈɔɹ, ænd ˈæftəɹ ɐ dəskˈʌʃən ʌv nˈɪɹli "
        "θɹˈi ˈWəɹz ɪt dəsˈIdᵻd tə pˌOstpˈOn ðə vˈOt, bəkˈʌz sˈɛvəɹəl mˈɛmbəɹz hæd ˈæskt fɔɹ mˈɔɹ "
        "tˈIm tə ɹˈid ðə ɹəpˈɔɹt ænd tə spˈik wɪð ðə pˈipᵊl hˌu lˈɪv nˌɪɹ ðə ɹˈɪvəɹ.",
    ),
)
