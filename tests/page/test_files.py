"""The page's files over HTTP: what is served, and with which headers."""

from __future__ import annotations

import re
import urllib.request
from email.message import Message
from urllib.error import HTTPError

import pytest

from appliance.gateway.http.page import FOLDER, Page
from client.wire import RTVI_VERSION
from tests.gateway.running_gateway import MakeGateway, RunningGateway

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


async def get(
    gateway: RunningGateway, path: str, headers: dict[str, str] | None = None
) -> tuple[int, Message, bytes]:
    import asyncio

    def request() -> tuple[int, Message, bytes]:
        asked = urllib.request.Request(f"http://{gateway.address}{path}", headers=headers or {})
        try:
            with urllib.request.urlopen(asked) as response:
                return response.status, response.headers, response.read()
        except HTTPError as error:
            return error.code, error.headers, error.read()

    return await asyncio.to_thread(request)


async def test_page_is_served_under_a_policy_that_allows_its_own_files_only(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(engines=()) as gateway:
        for path in ("/", "/page/main.js", "/page/strings/de.js", "/page/page.css"):
            status, headers, body = await get(gateway, path)
            assert status == 200
            assert body
            assert headers["Content-Security-Policy"] == POLICY
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert "microphone=(self)" in headers["Permissions-Policy"]
            assert "camera=()" in headers["Permissions-Policy"]
            etag = headers["ETag"]
            status, _, body = await get(gateway, path, {"If-None-Match": etag})
            assert (status, body) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/page/../frames.proto",
        "/page/%2e%2e/frames.proto",
        "/page//etc/passwd",
        "/page/",
        "/page/index.html",
        "/page/jsconfig.json",
        "/page/mediastream.d.ts",
        "/page/worklet.d.ts",
    ],
)
async def test_other_paths_are_refused(make_gateway: MakeGateway, path: str) -> None:
    async with make_gateway(engines=()) as gateway:
        status, _, _ = await get(gateway, path)
        assert status == 404


async def test_page_can_be_switched_off(make_gateway: MakeGateway) -> None:
    async with make_gateway(engines=(), page=False) as gateway:
        assert (await get(gateway, "/"))[0] == 404
        assert (await get(gateway, "/page/main.js"))[0] == 404
        assert (await get(gateway, "/healthz"))[0] == 200


def test_every_file_that_the_page_names_is_served() -> None:
    paths = Page().paths
    html = (FOLDER / "index.html").read_text()
    named = set(re.findall(r'(?:src|href)="(/page/[^"]+)"', html))
    assert named
    for script in FOLDER.rglob("*.js"):
        text = script.read_text()
        named |= set(re.findall(r'"(/page/[^"]+)"', text))
        for relative in re.findall(r'from "(\.[^"]+)"', text):
            path = (script.parent / relative).resolve().relative_to(FOLDER)
            named.add(f"/page/{path.as_posix()}")
    assert named <= paths


def test_page_speaks_the_protocol_version_of_the_python_client() -> None:
    assert f'version: "{RTVI_VERSION}"' in (FOLDER / "connection.js").read_text()


OTHER_SERVER = re.compile(r"""(?:\w:|["'`(=])//[\w\[]""")
COMMENT = re.compile(r"/\*.*?\*/|(?:^|(?<=\s))//[^\n]*", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    "line",
    ['fetch("https://evil.example/x")', "url(//evil.example/x)", "wss://[2001:db8::1]/ws"],
)
def test_other_server_is_found(line: str) -> None:
    assert OTHER_SERVER.search(COMMENT.sub("", f"/* a\n */ {line} // comment"))


def test_page_names_no_other_server() -> None:
    """Comments may name specifications; what the browser loads may not name another server."""
    paths = [p for p in FOLDER.rglob("*") if p.suffix in (".html", ".css", ".js", ".webmanifest")]
    assert paths
    for path in paths:
        text = COMMENT.sub("", path.read_text()).replace("http://www.w3.org/2000/svg", "")
        assert not OTHER_SERVER.search(text), path
