"""Check the configured voice against those in `image-manifest.lock`. No model is loaded."""

from __future__ import annotations

from pathlib import PurePosixPath

from appliance.errors import BadSetting
from appliance.settings import Settings, parse_voice
from appliance.weights import manifest
from appliance.weights.manifest import Manifest

FOLDER = "voices"  # voices/NAME.bin or voices/NAME.safetensors in the folder of the TTS model


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


def sealed_voices(lock: Manifest, profile: str) -> tuple[str, ...]:
    """Return the names of the voices that the lock lists for a profile, sorted."""
    sources = {source.name for source in lock.for_profile(profile)}
    paths = [PurePosixPath(weight.path) for weight in lock.weights if weight.source in sources]
    return tuple(sorted(path.stem for path in paths if path.parent.name == FOLDER))
