"""The access token in the file `gateway.token_file`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from appliance import journal
from appliance.access import file
from appliance.access.verifier import MAX_TEXT_CHARS
from appliance.errors import BadSetting

MIN_TOKEN_CHARS = 16
GOOD_TOKEN_CHARS = 32  # of base64: 192 bits; of hexadecimal digits: 128 bits
log = journal.get()


@dataclass(frozen=True, slots=True)
class FileToken:
    """The token in a token file, "" if there is none, and what is weak about it.

    short    whether it has fewer than GOOD_TOKEN_CHARS characters
    exposed  whether all users of the machine can read the file
    """

    text: str = field(default="", repr=False)
    short: bool = False
    exposed: bool = False


class SharedToken:
    """The token of the token file, which is read again when the file has changed.

    token    the token in the file
    failing  whether the file could not be read the last time; `token` is then what was read last
    """

    def __init__(self, path: str, *, optional: bool) -> None:
        """Read the token. Raises BadSetting, except that an `optional` file may be missing."""
        self._path = path
        self._version = self._current_version()
        self.failing = False
        self.token = FileToken() if optional and self._is_missing() else read_token(path)

    def reload(self) -> bool:
        """Read the file again if it has changed. Return whether the token is another one.

        A file that cannot be used changes nothing, so that a mistake does not end all calls: it
        may be one that is being written. Blocks; called in a thread.
        """
        if not self._path:
            return False
        version = self._current_version()
        if version == self._version and not self.failing:
            return False
        try:
            token = read_token(self._path)
        except BadSetting as problem:
            if not self.failing:
                log.error("token file unreadable", path=self._path, exc_info=problem)
            self.failing = True
            return False
        self.failing, self._version = False, version
        is_other = token.text != self.token.text
        self.token = token
        return is_other

    def _is_missing(self) -> bool:
        return not self._path or not os.path.lexists(self._path)

    def _current_version(self) -> file.Version | None:
        try:
            return file.version_of(Path(self._path)) if self._path else None
        except OSError:  # reading it says why
            return None


def read_token(path: str) -> FileToken:
    """Return the access token in the file `path`.

    Raises BadSetting if it has no usable token; the error does not quote the path, which may be a
    token that was pasted there. A weak token is only logged: podman 4 gives the files of a
    Kubernetes secret no other mode than 0644, in a container with one user.
    """
    exposed = False
    try:
        text = Path(path).read_text(encoding="ascii").strip() if path else ""
        exposed = bool(path) and file.is_exposed(Path(path))
    except OSError as problem:
        why = f"{problem.strerror}; it must be the path of a file"
        raise BadSetting(name="gateway.token_file", why=why) from problem
    except UnicodeDecodeError as problem:
        why = "the file is not ASCII text"
        raise BadSetting(name="gateway.token_file", why=why) from problem
    if not MIN_TOKEN_CHARS <= len(text) <= MAX_TEXT_CHARS or not text.isprintable():
        raise BadSetting(
            name="gateway.token_file",
            why="it must name a file with one line, "
            f"a token of {MIN_TOKEN_CHARS} to {MAX_TEXT_CHARS} characters",
        )
    if exposed:
        log.warning("token readable by all users", path=path)
    short = len(text) < GOOD_TOKEN_CHARS
    if short:
        log.warning("short token", path=path)
    return FileToken(text, short, exposed)
