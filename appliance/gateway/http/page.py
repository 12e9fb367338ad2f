"""The page to talk from: the files of `client/page/`, with the headers that confine them.

Only the files that are there when the gateway starts are served, from memory. A path is looked up
and never joined with a folder, so no path can leave it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).parents[3] / "client/page"
PREFIX: Final = "/page/"
INDEX: Final = "index.html"
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
# Scripts, styles and connections of this origin only, no other content. Trusted Types: no script
# can come out of a string.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_NEEDED = ("microphone", "autoplay", "screen-wake-lock", "speaker-selection")
_REFUSED = ("camera", "display-capture", "geolocation", "payment", "usb", "midi", "serial", "hid")
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": ", ".join(
        [*(f"{name}=(self)" for name in _NEEDED), *(f"{name}=()" for name in _REFUSED)]
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Ask each time: after an activation, the page must fit the gateway.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    content_type: str
    etag: str


class Page:
    """The files of the page. Raises OSError if they cannot be read."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = dict(_read(folder))

    @property
    def paths(self) -> frozenset[str]:
        """The paths that are served."""
        return frozenset(self._files)

    def get(self, request: Request) -> Response:
        """Return the file at the request's path, which is one of `paths`."""
        file = self._files[request.url.path]
        headers = HEADERS | {"ETag": file.etag}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=file.content_type)


def _read(folder: Path) -> Iterator[tuple[str, _File]]:
    for path in sorted(folder.rglob("*")):
        content_type = CONTENT_TYPES.get(path.suffix)
        if content_type is None or not path.is_file():
            continue
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        name = path.relative_to(folder).as_posix()
        yield "/" if name == INDEX else PREFIX + name, _File(content, content_type, etag)
