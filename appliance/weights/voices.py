"""The voices in `image-manifest.lock`: whether they have the configured one. No model is loaded."""

from __future__ import annotations

from pathlib import PurePosixPath

from appliance.errors import BadSetting
from appliance.settings import Settings, parse_voice
from appliance.weights import manifest
from appliance.weights.manifest import Manifest

FOLDER = "voices"  # voices/NAME.bin or voices/NAME.safetensors in the folder of the TTS model
STATISTICS = "statistics"  # statistics/NAME.bin, which streamed synthesis of a voice needs


def check_voice(settings: Settings) -> None:
    """Raises BadSetting for a voice that the lock does not list, and BadLock for an invalid lock.

    Accepts any voice if there is no lock, or if the lock lists no voices for the profile.
    """
    if not settings.paths.lock.exists():
        return
    sealed = sealed_voices(manifest.read(settings.paths.lock), settings.profile)
    unknown = [name for name, _ in parse_voice(settings.tts.voice) if name not in sealed]
    if sealed and unknown:
        raise BadSetting(
            name="VOICE_TTS_VOICE",
            why=f"there is no voice {unknown[0]!r}; the voices are {', '.join(sealed)}",
        )


def selectable_voices(settings: Settings) -> tuple[str, ...]:
    """Return the sealed voices that the TTS engine can speak with, sorted; none without a lock.

    Raises BadLock for an invalid lock.
    """
    if not settings.paths.lock.exists():
        return ()
    lock = manifest.read(settings.paths.lock)
    voices = sealed_voices(lock, settings.profile)
    if settings.tts.backend == "onnx" and settings.tts.streaming:
        streamed = _names(lock, settings.profile, STATISTICS)
        return tuple(voice for voice in voices if voice in streamed)
    return voices


def sealed_voices(lock: Manifest, profile: str) -> tuple[str, ...]:
    """Return the names of the voices that the lock lists for a profile, sorted."""
    return _names(lock, profile, FOLDER)


def _names(lock: Manifest, profile: str, folder: str) -> tuple[str, ...]:
    sources = {source.name for source in lock.for_profile(profile)}
    paths = [PurePosixPath(weight.path) for weight in lock.weights if weight.source in sources]
    return tuple(sorted(path.stem for path in paths if path.parent.name == folder))
