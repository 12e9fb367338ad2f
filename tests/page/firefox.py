"""A small client of WebDriver BiDi: starts Firefox and drives one tab.

https://w3c.github.io/webdriver-bidi/ The browser gets a profile of its own, and asks no user
whether a page may have the microphone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.page.tab import POLL_SECONDS, BrowserTab

PROGRAM = shutil.which("firefox-esr") or ""
START_SECONDS = 60.0
PREFERENCES = {
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,  # a click of a script is no gesture
    # Firefox asks no server of its own.
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "http://127.0.0.1:9/",
    "toolkit.telemetry.enabled": False,
}
VIOLATIONS = """() => {
  globalThis.violations = [];
  addEventListener("securitypolicyviolation", (event) =>
    violations.push(`${event.violatedDirective} ${event.blockedURI}`));
}"""


class FirefoxTab(BrowserTab):
    """One page of Firefox."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self._context = ""

    async def prepare(self) -> None:
        """Begin a session, and report requests, errors and violations from now on."""
        await self.command("session.new", capabilities={})
        tree = await self.command("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]
        await self.command(
            "session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"]
        )
        await self.command("script.addPreloadScript", functionDeclaration=VIOLATIONS)

    async def open(self, url: str) -> None:
        await self.command(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    async def evaluate(self, expression: str) -> Any:
        answer = await self.command(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then((it) => JSON.stringify(it ?? null))",
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def fill(self, selector: str, value: str) -> None:
        await self.evaluate(f"document.querySelector({selector!r}).value = {json.dumps(value)}")

    async def close(self) -> None:
        """End the session."""
        with contextlib.suppress(RuntimeError):
            await self.command("session.end")
        await super().close()

    def _event(self, method: str, event: dict[str, Any]) -> None:
        if method == "network.beforeRequestSent":
            self.requests.append(event["request"]["url"])
        elif method == "log.entryAdded" and event["level"] == "error":
            self.errors.append(str(event.get("text")))


class Firefox:
    """A running Firefox with one tab."""

    def __init__(self, environment: dict[str, str]) -> None:
        """Start Firefox. `environment` names its sound server."""
        if not PROGRAM:
            pytest.skip("firefox-esr is not installed")
        self._profile = tempfile.TemporaryDirectory(prefix="firefox-")
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});"
            for name, value in PREFERENCES.items()
        ]
        (Path(self._profile.name) / "user.js").write_text("\n".join(lines))
        quiet = subprocess.DEVNULL
        options = ["--headless", "--no-remote", "--remote-debugging-port=0"]
        self._process = subprocess.Popen(
            [PROGRAM, *options, "--profile", self._profile.name, "about:blank"],
            env=environment | {"HOME": self._profile.name},
            stdout=quiet,
            stderr=quiet,
        )

    def stop(self) -> None:
        """Stop Firefox, and remove its profile."""
        self._process.terminate()
        self._process.wait()
        with contextlib.suppress(OSError):  # a helper process still writes
            self._profile.cleanup()

    @contextlib.asynccontextmanager
    async def tab(self) -> AsyncIterator[FirefoxTab]:
        """Drive the tab."""
        address = f"ws://127.0.0.1:{await self._port()}/session"
        async with connect(address, max_size=None) as socket:
            tab = FirefoxTab(socket)
            await tab.prepare()
            try:
                yield tab
            finally:
                await tab.close()

    async def _port(self) -> int:
        """Return the port of the debugger, as soon as it listens."""
        file = Path(self._profile.name) / "WebDriverBiDiServer.json"
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(OSError, ValueError, KeyError):
                    return int(json.loads(file.read_text())["ws_port"])
                await asyncio.sleep(POLL_SECONDS)
