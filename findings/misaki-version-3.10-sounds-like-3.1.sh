#!/usr/bin/env bash
# misaki 0.9.4, the grapheme-to-phoneme library of Kokoro: zeros at the end of a decimal are lost, because the text
# becomes a float before it becomes words. "Python 3.10" sounds exactly like "Python 3.1", and "section 4.10", which
# comes after 4.9, like "section 4.1". num2words does the same with a text, and even with a Decimal. Text for Kokoro
# needs such numbers as words: "3 point 10". Pipecat had the same in a text transform of its own
# (pipecat-ai/pipecat#5213); that mends nothing for Kokoro without the transform.
#
# Seen with misaki 0.9.4 and num2words 0.5.14 on Python 3.11, 2026-11-29:
#   3.1  θɹˈi pYnt wˈʌn
#   3.10 θɹˈi pYnt wˈʌn
#   3.11 θɹˈi pYnt wˈʌn wˈʌn
#   num2words(Decimal("3.10")): three point one

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'misaki==0.9.4' 'spacy==3.8.18' \
    'num2words==0.5.14'
"$folder/venv/bin/python" -W ignore - <<'PY'
from decimal import Decimal

from misaki import en
from num2words import num2words

lexicon = en.Lexicon(False)  # American English
sounds = {text: lexicon.get_number(text, None, True, "")[0] for text in ("3.1", "3.10", "3.11")}
for text, phonemes in sounds.items():
    print(f"{text:4} {phonemes}")
words = num2words(Decimal("3.10"))
print(f'num2words(Decimal("3.10")): {words}')
assert sounds["3.10"] == sounds["3.1"] != sounds["3.11"]
assert words == num2words("3.10") == "three point one"
PY
