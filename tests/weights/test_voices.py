"""The voices that the lock lists, and those that a client may choose."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from appliance.settings import Settings
from appliance.weights.voices import selectable_voices

LOCK = Path(__file__).resolve().parents[2] / "image-manifest.lock"


def settings(lock: Path, **tts: Any) -> Settings:
    base = Settings()
    return dataclasses.replace(
        base,
        paths=dataclasses.replace(base.paths, lock=lock),
        tts=dataclasses.replace(base.tts, **tts),
    )


def test_all_sealed_voices_can_be_chosen() -> None:
    voices = selectable_voices(settings(LOCK))
    assert {"af_heart", "am_adam", "bf_emma"} <= set(voices)
    assert voices == selectable_voices(settings(LOCK, streaming=False))


def test_a_voice_without_statistics_cannot_be_chosen_for_streaming(tmp_path: Path) -> None:
    tree = json.loads(LOCK.read_text(encoding="utf-8"))
    tree["weights"] = [
        weight for weight in tree["weights"] if "statistics/am_adam" not in weight["path"]
    ]
    lock = tmp_path / "lock"
    lock.write_text(json.dumps(tree), encoding="utf-8")
    assert "am_adam" not in selectable_voices(settings(lock))
    assert "am_adam" in selectable_voices(settings(lock, streaming=False))


def test_without_a_lock_there_is_no_choice(tmp_path: Path) -> None:
    assert selectable_voices(settings(tmp_path / "missing")) == ()
