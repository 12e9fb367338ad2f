"""Settings from flags, the environment and a file."""

from pathlib import Path

import pytest

from client.config import DEFAULT_URL, load
from client.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "voice-client.toml"
    path.write_text(
        'url = "wss://from-file:1/ws"\ntoken = "file-token"\nprebuffer_seconds = 0.15\n'
    )
    return path


def test_default_is_the_appliance_on_this_machine(tmp_path: Path) -> None:
    config = load({}, {}, tmp_path / "none.toml")
    assert (config.url, config.token, config.tls()) == (DEFAULT_URL, "", None)


def test_flags_override_environment_which_overrides_file(file: Path, tmp_path: Path) -> None:
    environ = {"VOICE_CLIENT_URL": "wss://from-environment/ws", "VOICE_CLIENT_TOKEN": "env-token"}
    assert load({}, {}, file).url == "wss://from-file:1/ws"
    assert load({}, environ, file).url == "wss://from-environment/ws"
    assert load({"url": "ws://from-flag/ws"}, environ, file).url == "ws://from-flag/ws"
    assert load({}, {}, file).token == "file-token"
    assert load({}, environ, file).token == "env-token"
    token_file = tmp_path / "token"
    token_file.write_text("flag-token\n")
    assert load({"token_file": str(token_file)}, environ, file).token == "flag-token"
    assert load({}, {"VOICE_CLIENT_TOKEN_FILE": str(token_file)}, file).token == "flag-token"
    assert load({}, {}, file).prebuffer_seconds == 0.15
    assert load({"prebuffer_seconds": 0.1}, {}, file).prebuffer_seconds == 0.1


@pytest.mark.parametrize(
    ("url", "normalized"),
    [
        ("ws://box", "ws://box/ws"),
        ("wss://box:8765/", "wss://box:8765/ws"),
        ("wss://box/voice/ws", "wss://box/voice/ws"),
        ("ws://[::1]:8765/ws", "ws://[::1]:8765/ws"),
    ],
)
def test_default_path_is_added_to_url(url: str, normalized: str, tmp_path: Path) -> None:
    assert load({"url": url}, {}, tmp_path / "none").url == normalized


@pytest.mark.parametrize(
    "url",
    [
        "http://box/ws",
        "box:8765",
        "ws://",
        "ws://box:99999/ws",
        "ws://user:password@box/ws",
        "ws://box/ws?token=secret",
        "ws://[::1/ws",
        "ws://a..b/ws",
        "ws://two words/ws",
        f"ws://{'a' * 64}.example/ws",
    ],
)
def test_invalid_url_is_rejected(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="URL"):
        load({"url": url}, {}, tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url = ", "cannot be used"),
        ('password = "x"', "'password' is not a setting"),
        ("prebuffer_seconds = 5", "between 0 and 1"),
        ('prebuffer_seconds = "much"', "between 0 and 1"),
        ("prebuffer_seconds = true", "between 0 and 1"),
        ('token_file = "/does/not/exist"', "/does/not/exist cannot be read: No such file"),
        ("token_file = 5", "voice-client.toml: token_file must be a text in quotes"),
        ('token = ["x"]', "token must be a text in quotes"),
        ("ca = 1", "ca must be a text in quotes"),
        ("url = 3", "url must be a text in quotes, or a list of them"),
        ('url = ["ws://a", 3]', "url must be a text in quotes, or a list of them"),
    ],
)
def test_invalid_settings_file_is_rejected(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "voice-client.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load({}, {}, path)


def test_files_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "latin-1"
    path.write_bytes(b'token = "sch\xf6n"')
    for setting in ("config", "token_file"):
        with pytest.raises(UsageError, match=r"latin-1 cannot be .*: it is not UTF-8 text$"):
            load({setting: str(path)}, {}, tmp_path / "none")


def test_byte_order_mark_of_a_windows_editor_is_not_a_part_of_the_file(tmp_path: Path) -> None:
    settings, token_file = tmp_path / "settings.toml", tmp_path / "token"
    settings.write_text('url = "wss://box/ws"', encoding="utf-8-sig")
    token_file.write_text("secret", encoding="utf-8-sig")
    config = load({"config": str(settings), "token_file": str(token_file)}, {})
    assert (config.url, config.token) == ("wss://box/ws", "secret")


def test_settings_file_named_by_flag_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load({"config": str(tmp_path / "none.toml")}, {})


@pytest.mark.parametrize("content", ["", " \n", "two words", "line\nbreak", "sch\u00f6n", "bell\a"])
def test_token_file_must_contain_one_token(content: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(UsageError, match=rf"token.* {path}"):
        load({"token_file": str(path)}, {}, tmp_path / "none")


def test_token_is_not_in_the_repr_of_the_settings(file: Path) -> None:
    assert "file-token" not in repr(load({}, {}, file))


def test_only_a_plain_url_to_another_machine_counts_as_unencrypted(tmp_path: Path) -> None:
    def is_unencrypted(url: str) -> bool:
        return load({"url": url}, {}, tmp_path / "none").is_unencrypted

    assert is_unencrypted("ws://box/ws")
    assert not is_unencrypted("wss://box/ws")
    assert not is_unencrypted("ws://127.0.0.1:8765/ws")
    assert not is_unencrypted("ws://localhost/ws")


def test_bad_ca_file_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "ca.pem"
    bad.write_text("nothing")
    config = load({"url": "wss://box/ws", "ca": str(bad)}, {}, tmp_path / "none")
    with pytest.raises(UsageError, match=r"ca\.pem"):
        config.tls()


@pytest.mark.parametrize(
    "flags", [{"url": ["ws://a", "ws://b:1/ws", "ws://a/"]}, {"url": "ws://a, ws://b:1,"}]
)
def test_several_urls_keep_their_order_and_are_used_once(
    flags: dict[str, object], tmp_path: Path
) -> None:
    config = load(flags, {}, tmp_path / "none")
    assert [host.url for host in config.hosts] == ["ws://a/ws", "ws://b:1/ws"]
    assert [host.host for host in config.after("ws://a/ws").hosts] == ["b:1", "a"]
    assert config.after("ws://b:1/ws") == config


def test_several_urls_come_from_environment_or_file(file: Path, tmp_path: Path) -> None:
    config = load({}, {"VOICE_CLIENT_URL": "wss://a,wss://b"}, tmp_path / "none")
    assert config.more_urls == ("wss://b/ws",)
    file.write_text('url = ["wss://a", "wss://b"]')
    assert load({}, {}, file).more_urls == ("wss://b/ws",)
