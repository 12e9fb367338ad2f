"""A small client of WebDriver BiDi: starts Firefox and drives one tab.

https://w3c.github.io/webdriver-bidi/ The browser gets a profile of its own, and asks no user
whether a page may have the microphone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

PROGRAM = shutil.which("firefox-esr") or ""
START_SECONDS = 60.0
WAIT_SECONDS = 60.0  # for a condition in the page; no test depends on how fast it is
POLL_SECONDS = 0.05
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


class FirefoxTab:
    """One page of Firefox. `requests` are the URLs it asked for, `errors` its script errors."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._context = ""
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def prepare(self) -> None:
        """Begin a session, and report requests, errors and violations from now on."""
        await self.command("session.new", capabilities={})
        tree = await self.command("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]
        await self.command(
            "session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"]
        )
        await self.command("script.addPreloadScript", functionDeclaration=VIOLATIONS)

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result. Raises RuntimeError if it fails."""
        number = next(self._ids)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send(json.dumps(message))
        answer = await reply
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['error']}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Load a page and wait until its scripts have run."""
        await self.command(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    async def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; of a promise, what it resolves to."""
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

    async def wait_for(self, condition: str, seconds: float = WAIT_SECONDS) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        try:
            async with asyncio.timeout(seconds):
                while not (value := await self.evaluate(condition)):
                    await asyncio.sleep(POLL_SECONDS)
                return value
        except TimeoutError:
            text = await self.evaluate("document.body.innerText")
            raise AssertionError(f"not within {seconds} s: {condition}; page: {text}") from None

    async def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(await self.evaluate(f"document.querySelector({selector!r}).textContent.trim()"))

    async def click(self, selector: str) -> None:
        """Click on an element, as a user's gesture."""
        await self.evaluate(f"document.querySelector({selector!r}).click()")

    async def fill(self, selector: str, value: str) -> None:
        """Put text into an element."""
        await self.evaluate(f"document.querySelector({selector!r}).value = {json.dumps(value)}")

    async def close(self) -> None:
        """End the session."""
        with contextlib.suppress(RuntimeError):
            await self.command("session.end")
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if message["type"] == "event":
                self._event(message["method"], message["params"])
            else:
                self._replies.pop(message["id"]).set_result(message)

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
