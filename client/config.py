"""Settings of the client, from flags, the environment or a file.

The token is never a flag, because a command line is visible to every user of the machine, and never
part of the URL, because URLs end up in logs.

There may be several URLs, one for each host that can hold the call. They share token and authority.
"""

from __future__ import annotations

import dataclasses
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from client.errors import UsageError

DEFAULT_URL = "ws://127.0.0.1:8765/ws"
PREBUFFER_SECONDS = 0.08  # up to 0.15 is sensible
DEFAULT_FILE = Path("~/.config/voice-client.toml")
ENVIRONMENT = {
    "VOICE_CLIENT_URL": "url",
    "VOICE_CLIENT_TOKEN": "token",
    "VOICE_CLIENT_TOKEN_FILE": "token_file",
    "VOICE_CLIENT_CA": "ca",
    "VOICE_CLIENT_CERT": "cert",
    "VOICE_CLIENT_KEY": "key",
}
FILE_KEYS = ("url", "token", "token_file", "ca", "cert", "key", "prebuffer_seconds")
MAX_SECONDS = 3600  # upper limit of the flags that are seconds


@dataclass(frozen=True, slots=True)
class Config:
    """The client's settings. `url` is called first, then those of `more_urls`."""

    url: str = DEFAULT_URL
    token: str = field(default="", repr=False)
    ca: str = ""  # PEM file of the authority that signed the appliance's certificate
    cert: str = ""  # PEM file of this client's certificate
    key: str = ""  # PEM file of the key of `cert`; empty if `cert` contains it
    prebuffer_seconds: float = PREBUFFER_SECONDS  # audio buffered against jitter
    more_urls: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Host and port, as in the URL."""
        return urlsplit(self.url).netloc

    @property
    def hosts(self) -> list[Config]:
        """The settings of each host, in the order in which they are called."""
        urls = (self.url, *self.more_urls)
        return [dataclasses.replace(self, url=url, more_urls=()) for url in urls]

    def after(self, url: str) -> Config:
        """Return the same settings, with the host after `url` as the first."""
        urls = (self.url, *self.more_urls)
        start = urls.index(url) + 1 if url in urls else 0
        first, *more = urls[start:] + urls[:start]
        return dataclasses.replace(self, url=first, more_urls=tuple(more))

    @property
    def is_unencrypted(self) -> bool:
        """Whether token and speech cross a network unencrypted."""
        parts = urlsplit(self.url)
        return parts.scheme == "ws" and parts.hostname not in ("127.0.0.1", "::1", "localhost")

    def headers(self) -> dict[str, str]:
        """The headers of the request for a call."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context; None for a plain `ws` URL.

        Raises UsageError if the files of CA, certificate or key cannot be used.
        """
        if urlsplit(self.url).scheme != "wss":
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"the CA file {self.ca} cannot be used: {error}") from error
        self.add_certificate(context)
        return context

    def add_certificate(self, context: ssl.SSLContext) -> None:
        """Let `context` present this client's certificate, if it has one. Raises UsageError."""
        if self.key and not self.cert:
            raise UsageError("--key needs --cert, the certificate of that key")
        if not self.cert:
            return
        try:
            # Without a password, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self.cert, self.key or None, password="")
        except (OSError, ssl.SSLError) as error:
            files = f"{self.cert} and {self.key}" if self.key else self.cert
            raise UsageError(f"the certificate {files} cannot be used: {error}") from error


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str], default_file: Path = DEFAULT_FILE
) -> Config:
    """Merge the settings: flags override the environment, which overrides the file.

    Raises UsageError.
    """
    path = flags.get("config")
    from_file = _read_file(Path(path) if path else default_file.expanduser(), bool(path))
    from_environ = {key: environ[name] for name, key in ENVIRONMENT.items() if environ.get(name)}
    from_flags = {key: value for key, value in flags.items() if value is not None}
    layers = (from_flags, from_environ, from_file)

    def lookup(key: str, default: Any) -> Any:
        return next((layer[key] for layer in layers if key in layer), default)

    url, *more_urls = _parse_urls(lookup("url", DEFAULT_URL))
    return Config(
        url=url,
        token=next((token for token in map(_read_token, layers) if token), ""),
        ca=str(lookup("ca", "")),
        cert=str(lookup("cert", "")),
        key=str(lookup("key", "")),
        prebuffer_seconds=_parse_prebuffer(lookup("prebuffer_seconds", PREBUFFER_SECONDS)),
        more_urls=tuple(more_urls),
    )


def _read_file(path: Path, must_exist: bool) -> dict[str, Any]:
    try:
        settings = tomllib.loads(_read_text(path))
    except FileNotFoundError as error:
        if must_exist:
            raise UsageError(f"the settings file {path} does not exist") from error
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"the settings file {path} cannot be used: {_why(error)}") from error
    for key, value in settings.items():
        if key not in FILE_KEYS:
            raise UsageError(
                f"{path}: {key!r} is not a setting; the settings are {', '.join(FILE_KEYS)}"
            )
        _check_type(path, key, value)
    return settings


def _check_type(path: Path, key: str, value: object) -> None:
    """Raise UsageError if a key of the settings file has a value of a wrong type."""
    if key == "url":
        urls = value if isinstance(value, list) else [value]
        if not all(isinstance(url, str) for url in urls):
            raise UsageError(f"{path}: {key} must be a text in quotes, or a list of them")
    elif key != "prebuffer_seconds" and not isinstance(value, str):
        raise UsageError(f"{path}: {key} must be a text in quotes")


def _read_text(path: Path) -> str:
    """Read UTF-8 text; a byte order mark, which Windows editors write, does not count."""
    return path.read_text(encoding="utf-8-sig")


def _why(error: OSError | ValueError) -> str:
    """Return the reason without the path, which the message already has."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _read_token(layer: Mapping[str, Any]) -> str:
    token, source = str(layer.get("token", "")), "the token"
    if not token and layer.get("token_file"):
        path = Path(str(layer["token_file"])).expanduser()
        try:
            token = _read_text(path)
        except (OSError, ValueError) as error:
            raise UsageError(f"the token file {path} cannot be read: {_why(error)}") from error
        if not token.strip():
            raise UsageError(f"the token file {path} is empty")
        source = f"the token in {path}"
    token = token.strip()
    if not token.isascii() or not all(map(str.isprintable, token)) or " " in token:
        raise UsageError(f"{source} contains a space, a line break or a non-ASCII character")
    return token


def _parse_urls(value: Any) -> list[str]:
    """Return the URLs in a list, or in a text that separates them by commas, each once."""
    texts = value if isinstance(value, list) else [value]
    parts = [part.strip() for text in texts for part in str(text).split(",") if part.strip()]
    return list(dict.fromkeys(_parse_url(part) for part in parts or [""]))


def _parse_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018, raises ValueError for an invalid port
    except ValueError as error:
        raise UsageError(f"the URL {url!r} is not valid: {error}") from error
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise UsageError(f"the URL {url!r} must look like wss://HOST:PORT/ws")
    if not _is_host_name(parts.hostname):
        raise UsageError(f"the URL {url!r} is not valid: {parts.hostname!r} is not a host name")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError("the URL must not contain a user, password or query; see --token-file")
    return urlunsplit(parts._replace(path=parts.path if len(parts.path) > 1 else "/ws"))


def _is_host_name(name: str) -> bool:
    """Return whether a name can be looked up: Python raises UnicodeError for one that cannot."""
    try:
        name.encode("idna")
    except UnicodeError:
        return False
    return name.isprintable() and " " not in name


def check_seconds(flag: str, seconds: float | None) -> None:
    """Raise UsageError if a flag has a number of seconds out of range. None: it was not given."""
    if seconds is not None and not 0 <= seconds <= MAX_SECONDS:
        raise UsageError(f"{flag} {seconds:g} is not between 0 and {MAX_SECONDS} seconds")


def _parse_prebuffer(value: Any) -> float:
    try:
        seconds = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0.0 <= seconds <= 1.0:
        raise UsageError(f"prebuffer_seconds is {value!r}; it must be between 0 and 1")
    return seconds
