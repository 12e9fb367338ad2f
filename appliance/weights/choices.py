"""Models of which an installation needs only one: the sources of the lock that have a `setting`.

The setting (`llm.model`) names the folder of the one to use. The default of the cpu profile has the
purpose `run`, the others `choice`. `choose` is pure: it returns the lock with the purpose `run` for
the chosen one only. No model is loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from appliance.errors import BadSetting, ModelNotInstalled
from appliance.settings import Settings, variable
from appliance.weights import manifest
from appliance.weights.manifest import Manifest, Source

LLM_MODEL = "llm.model"  # the setting that names the language model


def choices(lock: Manifest, profile: str, setting: str) -> dict[str, Source]:
    """Return the sources of a setting by folder; those with the purpose `run` come first."""
    sources = [source for source in lock.for_profile(profile) if source.setting == setting]
    sources.sort(key=lambda source: (source.purpose != "run", source.name))
    return {folder_of(lock, source): source for source in sources}


def folder_of(lock: Manifest, source: Source) -> str:
    """Return the folder of a source below the weights folder."""
    return PurePosixPath(lock.of_source(source.name)[0].path).parts[0]


def settings_with_choices(lock: Manifest, profile: str) -> tuple[str, ...]:
    """Return the settings that choose a model of the profile, as section.name, sorted."""
    return tuple(sorted({source.setting for source in lock.for_profile(profile)} - {""}))


def named_in(environ: Mapping[str, str], lock: Manifest, profile: str) -> dict[str, str]:
    """Return the names that an environment chooses, by setting; nothing for the defaults."""
    names = {
        setting: environ.get(variable(setting), "")
        for setting in settings_with_choices(lock, profile)
    }
    return {setting: name for setting, name in names.items() if name}


def choose(lock: Manifest, profile: str, names: Mapping[str, str]) -> Manifest:
    """Return the lock with the purpose `run` for the named models and `choice` for their rivals.

    names  folder by setting. A setting that is missing, or has no choices in the profile, changes
           nothing.

    Raises BadSetting for a name that is not one of the choices.
    """
    sources = dict(lock.sources)
    for setting, name in names.items():
        available = choices(lock, profile, setting)
        if available and name not in available:
            raise BadSetting(
                name=variable(setting),
                why=f"there is no model {name!r}; the models are {', '.join(available)}",
            )
        for folder, source in available.items():
            purpose = "run" if folder == name else "choice"
            sources[source.name] = dataclasses.replace(source, purpose=purpose)
    return dataclasses.replace(lock, sources=sources)


def read_chosen(settings: Settings) -> Manifest:
    """Read the lock and choose the models that the settings name. Raises BadLock, BadSetting."""
    lock = manifest.read(settings.paths.lock)
    return choose(lock, settings.profile, dict(_named(lock, settings)))


def check_models(settings: Settings) -> None:
    """Raise ModelNotInstalled if a setting names a model that is not here while another one is.

    Raises BadLock for an invalid lock. Accepts any name if there is no lock, or if no choice is
    installed: the check of the seal then names the missing file.
    """
    if not settings.paths.lock.exists():
        return
    lock = manifest.read(settings.paths.lock)
    for setting, name in _named(lock, settings):
        available = choices(lock, settings.profile, setting)
        installed = [folder for folder in available if is_installed(settings.paths.weights, folder)]
        if name not in available or (installed and name not in installed):
            here = ", ".join(installed) if installed else "none"
            raise ModelNotInstalled(
                name=variable(setting), why=f"{name!r} is not here; installed: {here}"
            )


def is_installed(weights: Path, folder: str) -> bool:
    """Return whether the weights folder contains anything of a model."""
    return (weights / folder).is_dir()


def _named(lock: Manifest, settings: Settings) -> Iterator[tuple[str, str]]:
    for setting in settings_with_choices(lock, settings.profile):
        section, _, field = setting.partition(".")
        yield setting, str(getattr(getattr(settings, section), field))
