"""Settings: where they come from, and that a wrong one is told plainly."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from appliance.errors import BadSetting
from appliance.settings import PROFILE_DEFAULTS, VERSION, Settings, load, meaning, walk


def test_with_nothing_given_the_defaults_hold() -> None:
    assert load({}) == Settings()


def test_names_outside_our_prefix_are_ignored() -> None:
    assert load({"PATH": "/bin", "GATEWAY_PORT": "1"}) == Settings()


def test_every_setting_can_be_set_to_its_own_default_by_its_name() -> None:
    environ = {
        f"VOICE_{section}_{name}".upper(): ",".join(value)
        if isinstance(value, tuple)
        else str(value)
        for section, name, value in walk(Settings())
    }
    assert load(environ) == Settings()


def test_values_have_their_kind() -> None:
    given = load(
        {
            "VOICE_GATEWAY_PORT": " 9000 ",
            "VOICE_GATEWAY_ALLOWED_ORIGINS": "https://a.example, https://b.example",
            "VOICE_TURN_HALF_DUPLEX": "Yes",
            "VOICE_TTS_SPEED": "1.25",
            "VOICE_PATHS_RUN": "/tmp/run",
        }
    )
    assert given.gateway.port == 9000
    assert given.gateway.allowed_origins == ("https://a.example", "https://b.example")
    assert given.turn.half_duplex is True
    assert given.tts.speed == 1.25
    assert given.paths.run == Path("/tmp/run")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("VOICE_GATEWAY_PRT", "VOICE_GATEWAY_PORT"), ("VOICE_PROFIL", "VOICE_PROFILE")],
)
def test_a_misspelt_name_is_refused_with_the_likely_one(wrong: str, right: str) -> None:
    with pytest.raises(BadSetting, match=rf"{wrong}.*did you mean {right}\?"):
        load({wrong: "1"})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("VOICE_GATEWAY_PORT", "many", "a whole number"),
        ("VOICE_TTS_SPEED", "fast", "a number"),
        ("VOICE_TURN_HALF_DUPLEX", "perhaps", "true or false"),
        ("VOICE_GATEWAY_PORT", "", "a whole number"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(name: str, value: str, kind: str) -> None:
    with pytest.raises(BadSetting, match=f"is not {kind}"):
        load({name: value})


def test_the_environment_wins_over_the_file_and_the_file_over_the_profile(tmp_path: Path) -> None:
    file = tmp_path / "voice.toml"
    file.write_text(
        'profile = "gpu"\n[gateway]\nport = 1\nmax_sessions = 2\nallowed_origins = ["a", "b"]\n'
    )
    given = load({"VOICE_CONFIG": str(file), "VOICE_GATEWAY_PORT": "3"})
    assert given.profile == "gpu"
    assert given.gateway.port == 3
    assert given.gateway.max_sessions == 2
    assert given.gateway.allowed_origins == ("a", "b")
    assert given.tts.backend == "torch"


@pytest.mark.parametrize("content", ["[gateway", "[gateway]\nprt = 1\n", "prt = 1\n"])
def test_a_file_that_is_broken_or_names_nothing_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "voice.toml"
    file.write_text(content)
    with pytest.raises(BadSetting):
        load({"VOICE_CONFIG": str(file)})


def test_a_file_that_is_missing_is_refused() -> None:
    with pytest.raises(BadSetting, match="VOICE_CONFIG"):
        load({"VOICE_CONFIG": "/no/such/file.toml"})


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadSetting, match=r"cpu.*gpu"):
        load({"VOICE_PROFILE": "tpu"})


@pytest.mark.parametrize("profile", PROFILE_DEFAULTS)
def test_each_profile_sets_only_what_exists(profile: str) -> None:
    given = load({"VOICE_PROFILE": profile})
    values = {f"{section}.{name}": value for section, name, value in walk(given)}
    for name, value in PROFILE_DEFAULTS[profile].items():
        assert values[name] == value


def test_every_setting_says_what_it_means() -> None:
    for section, name, _ in walk(Settings()):
        assert len(meaning(section, name)) > 10


def test_durations_and_sizes_say_their_unit_in_the_name_or_the_meaning() -> None:
    for section, name, value in walk(Settings()):
        if isinstance(value, float) and "seconds" not in name:
            assert any(
                word in f"{name} {meaning(section, name)}"
                for word in ("ratio", "0..1", "0.5..2", "temperature", "second", "times")
            ), f"{section}.{name}"


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().gateway.port = 1  # type: ignore[misc]


def test_the_version_is_the_package_s() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION
