"""Where the appliance is and who we are: flags, then the environment, then a file.

Only the URL changes between hosts. The token is never a flag, for a command line is visible to
every user of the machine, and never part of the URL, which ends up in logs.
"""

from __future__ import annotations

import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from client.errors import UsageError

DEFAULT_URL = "ws://127.0.0.1:8765/ws"
PREBUFFER_SECONDS = 0.08
DEFAULT_FILE = Path("~/.config/voice-client.toml")
ENVIRONMENT = {
    "VOICE_CLIENT_URL": "url",
    "VOICE_CLIENT_TOKEN": "token",
    "VOICE_CLIENT_TOKEN_FILE": "token_file",
    "VOICE_CLIENT_CA": "ca",
}
FILE_KEYS = ("url", "token", "token_file", "ca", "prebuffer_seconds")


@dataclass(frozen=True, slots=True)
class Config:
    url: str = DEFAULT_URL
    token: str = field(default="", repr=False)
    ca: str = ""  # PEM file of the authority that signed the appliance's certificate
    prebuffer_seconds: float = (
        PREBUFFER_SECONDS  # audio kept back against jitter; 0.08 to 0.15 is sensible
    )

    @property
    def host(self) -> str:
        """Host and port, as a user would name them."""
        return urlsplit(self.url).netloc

    @property
    def in_clear(self) -> bool:
        """Whether token and speech cross a network unencrypted."""
        parts = urlsplit(self.url)
        return parts.scheme == "ws" and parts.hostname not in ("127.0.0.1", "::1", "localhost")

    def tls(self) -> ssl.SSLContext | None:
        """What to trust, or None for a plain `ws` URL. Raises UsageError for a bad CA file."""
        if urlsplit(self.url).scheme != "wss":
            return None
        try:
            return ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ssl.SSLError) as problem:
            raise UsageError(f"the CA file {self.ca} is not usable: {problem}") from problem


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str], default_file: Path = DEFAULT_FILE
) -> Config:
    """Joins the three sources; an earlier one wins. Raises UsageError."""
    named = flags.get("config")
    from_file = _read_file(Path(named) if named else default_file.expanduser(), bool(named))
    from_environ = {key: environ[name] for name, key in ENVIRONMENT.items() if environ.get(name)}
    from_flags = {key: value for key, value in flags.items() if value is not None}
    layers = (from_flags, from_environ, from_file)

    def first(key: str, default: Any) -> Any:
        return next((layer[key] for layer in layers if key in layer), default)

    return Config(
        url=_url(str(first("url", DEFAULT_URL))),
        token=next((token for token in map(_token, layers) if token), ""),
        ca=str(first("ca", "")),
        prebuffer_seconds=_prebuffer(first("prebuffer_seconds", PREBUFFER_SECONDS)),
    )


def _read_file(path: Path, must_exist: bool) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        if must_exist:
            raise UsageError(f"there is no configuration file {path}") from problem
        return {}
    except (OSError, ValueError) as problem:
        raise UsageError(f"the configuration file {path} is not usable: {problem}") from problem
    for key in found:
        if key not in FILE_KEYS:
            raise UsageError(f"{path}: {key!r} is not a setting; there are {', '.join(FILE_KEYS)}")
    return found


def _token(layer: Mapping[str, Any]) -> str:
    token = str(layer.get("token", ""))
    if not token and layer.get("token_file"):
        path = Path(str(layer["token_file"])).expanduser()
        try:
            token = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as problem:
            raise UsageError(f"the token file {path} cannot be read: {problem}") from problem
        if not token.strip():
            raise UsageError(f"the token file {path} is empty")
    token = token.strip()
    if not token.isascii() or any(character.isspace() for character in token):
        raise UsageError("the token has a space, a line break or a foreign letter in it")
    return token


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018, raises ValueError for a port that is none
    except ValueError as problem:
        raise UsageError(f"the URL {url!r} is not usable: {problem}") from problem
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise UsageError(f"the URL {url!r} should look like wss://HOST:PORT/ws")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError("the URL may hold no user, password or query; see --token-file")
    return urlunsplit(parts._replace(path=parts.path if len(parts.path) > 1 else "/ws"))


def _prebuffer(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0.0 <= seconds <= 1.0:
        raise UsageError(f"prebuffer_seconds is {value!r}; it should be between 0 and 1")
    return seconds
