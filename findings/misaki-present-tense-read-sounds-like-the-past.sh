#!/usr/bin/env bash
# misaki 0.9.4, the grapheme-to-phoneme library of Kokoro: its American dictionary gives the verb "read" the
# sound of the past for the tag VBP, which the Penn tag set uses for the present tense except the third
# person singular. A tagger that is right therefore makes "They read the label every day." sound like "They
# red the label every day." The base form (VB, "to read") is right. So a better tagger makes speech worse.
#
# Seen with misaki 0.9.4, 2026-11-28: VB ɹˈid, VBP ɹˈɛd, VBD ɹˈɛd.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'misaki==0.9.4' 'spacy==3.8.18' \
    'num2words==0.5.14'
"$folder/venv/bin/python" - <<'PY'
from misaki import en

lexicon = en.Lexicon(False)  # American English
sounds = {tag: lexicon.lookup("read", tag, None, None)[0] for tag in ("VB", "VBP", "VBD")}
for tag, meaning in (("VB", "to read"), ("VBP", "they read"), ("VBD", "yesterday they read")):
    print(f"read as {tag:3} ({meaning}): {sounds[tag]}")
assert sounds["VB"] != sounds["VBD"], "present and past sound the same"
assert sounds["VBP"] == sounds["VBD"], "the present tense no longer sounds like the past"
PY
