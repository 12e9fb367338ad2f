"""Print which reference lines are spoken wrongly, a table per category, and the score.

Every line is scored twice: whole, and cut into phrases as in a call. FILE=path in the environment
scores another file of the same form. The phonemes of the G2P are
compared, too, if the weights are present. NeMo-text-processing and wetext are scored if they are
installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from appliance.engines.tts.text.normalize import normalize
from appliance.errors import MissingWeights
from tests.spoken.scoring import Case, Speak, in_phrases, load, score

ROOT = Path(__file__).resolve().parents[2]
FILES = tuple(sorted((ROOT / "tests" / "spoken").glob("*.tsv")))


def main() -> int:
    """Score the files; return 0 unless FILE cannot be read."""
    files = (Path(os.environ["FILE"]),) if os.environ.get("FILE") else FILES
    try:
        cases = [case for file in files for case in load(file)]
    except (OSError, ValueError) as error:
        print(f"Cannot read the reference lines: {error}", file=sys.stderr)
        return 1
    phonemes = _own_phonemes()
    for name, load_library in (("NeMo-text-processing", _nemo), ("wetext", _wetext)):
        _compare(name, load_library, cases, phonemes)
    result = score(cases, normalize, phonemes)
    in_call = score(cases, in_phrases(normalize), phonemes)
    for wrong in result.wrong:
        print(wrong)
    for wrong in in_call.wrong:
        print(f"in a call, {wrong}")
    print(result.table())
    print(f"in a call: {in_call.summary()}")
    print(result.summary())
    return 0


def _compare(
    name: str, load_library: Callable[[], Speak], cases: list[Case], phonemes: Speak | None
) -> None:
    try:
        speak = load_library()
    except ImportError:
        print(f"{name}: not installed")
        return
    print(f"{name}: {score(cases, speak, phonemes).summary()}")


def _own_phonemes() -> Speak | None:
    # Imported here because spaCy takes seconds to load.
    from appliance.engines.tts.g2p import G2P

    try:
        return G2P(ROOT / "weights").phonemes
    except MissingWeights:
        print("The weights are missing: only words are compared.")
        return None


def _nemo() -> Speak:
    module = import_module("nemo_text_processing.text_normalization.normalize")
    normalizer = module.Normalizer(input_case="cased", lang="en")
    return lambda text: str(normalizer.normalize(text))


def _wetext() -> Speak:
    normalizer = import_module("wetext").Normalizer(lang="en", operator="tn")
    return lambda text: str(normalizer.normalize(text))


if __name__ == "__main__":
    sys.exit(main())
