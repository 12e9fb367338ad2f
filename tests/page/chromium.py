"""A small client of the Chrome DevTools Protocol: starts Chromium and drives one tab.

https://chromedevtools.github.io/devtools-protocol/ The browser gets a profile of its own, no
services of its maker, and, if a WAV file is given, that file as its microphone.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.page.tab import POLL_SECONDS, BrowserTab

PROGRAM = shutil.which("chromium") or ""
START_SECONDS = 60.0
ISOLATED = "tests"  # the world of scripts beside the page's
UNUSED = "http://127.0.0.1:9"  # Chromium refuses this port without a connection
# What Chromium asks of its maker by itself is switched off, so that test_network.py sees the page.
FLAGS = (
    "--headless=new",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    f"--component-updater=url-source={UNUSED}/",
    f"--gaia-url={UNUSED}",
    # The last one asks a server what kind of form the login is.
    "--disable-features=OptimizationHints,NetworkTimeServiceQuerying,AutofillServerCommunication",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--no-default-browser-check",
    "--disable-gpu",
    "--autoplay-policy=user-gesture-required",
    "--remote-debugging-port=0",
)


class Tab(BrowserTab):
    """One page of Chromium.

    violations  the violated directives of the Content-Security-Policy
    """

    def __init__(
        self, socket: ClientConnection, control: Tab | None = None, context: str = ""
    ) -> None:
        """`control` is the browser's own connection, `context` the one that the tab is in."""
        super().__init__(socket)
        self._control = control
        self._context = context
        self.violations: list[str] = []

    async def prepare(self) -> None:
        """Report requests, errors and violations from now on."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.command(f"{domain}.enable")
        await self.command("Runtime.addBinding", name="reportViolation")
        await self.command(
            "Page.addScriptToEvaluateOnNewDocument",
            source="""addEventListener("securitypolicyviolation", (event) =>
                reportViolation(`${event.violatedDirective} ${event.blockedURI}`))""",
        )

    async def open(self, url: str) -> None:
        await self.command("Page.navigate", url=url)
        await self.wait_for("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        answer = await self.command(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    async def add_isolated(self, script: str) -> None:
        """Run a script in every page from now on: beside the page's, under no policy of it."""
        await self.command(
            "Page.addScriptToEvaluateOnNewDocument", source=script, worldName=ISOLATED
        )

    async def isolated(self, expression: str) -> Any:
        """Return the value of an expression of the script of `add_isolated`."""
        tree = await self.command("Page.getFrameTree")
        frame = tree["frameTree"]["frame"]["id"]
        # Not a new one: it has the name of that of the script.
        world = await self.command("Page.createIsolatedWorld", frameId=frame, worldName=ISOLATED)
        answer = await self.command(
            "Runtime.evaluate",
            expression=expression,
            contextId=world["executionContextId"],
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    async def resize(self, width: int, height: int = 900) -> None:
        """Give the page this size, in CSS pixels; a phone's below 600."""
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    async def prefer(self, scheme: str, motion: str = "no-preference") -> None:
        """Let the user prefer "light" or "dark", and for motion "reduce"."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        await self.command("Emulation.setEmulatedMedia", features=features)

    async def permit_microphone(self, setting: str) -> None:
        """Answer for the user whether pages get the microphone: "granted" or "denied"."""
        assert self._control is not None
        await self._control.command(
            "Browser.setPermission",
            permission={"name": "microphone"},
            setting=setting,
            browserContextId=self._context,
        )

    async def mouse(self, event: str, x: float, y: float) -> None:
        """Move, press or release the mouse: "mouseMoved", "mousePressed", "mouseReleased"."""
        await self.command(
            "Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1
        )

    async def key(self, event: str, code: str, key: str) -> None:
        """Press or release a key: "keyDown", "keyUp"."""
        await self.command("Input.dispatchKeyEvent", type=event, code=code, key=key)

    async def alert(self) -> str:
        """Return the text that a screen reader announces at once: that of the role "alert"."""
        nodes = (await self.command("Accessibility.getFullAXTree"))["nodes"]
        by_id = {node["nodeId"]: node for node in nodes}

        def text(node: dict[str, Any]) -> str:
            if node.get("role", {}).get("value") == "StaticText":
                return str(node["name"]["value"])
            return " ".join(text(by_id[each]) for each in node.get("childIds", ()))

        alerts = [node for node in nodes if node.get("role", {}).get("value") == "alert"]
        return " ".join(text(node) for node in alerts)

    async def fill(self, selector: str, value: str) -> None:
        """Type into an element."""
        await self.evaluate(f"document.querySelector({selector!r}).focus()")
        await self.command("Input.insertText", text=value)

    async def screenshot(self, path: Path, width: int = 1280, height: int = 900) -> None:
        """Save the whole page as a PNG file."""
        await self.resize(width, height)
        shot = await self.command("Page.captureScreenshot", captureBeyondViewport=False)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _event(self, method: str, event: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(event["url"])
        elif method == "Runtime.bindingCalled":
            self.violations.append(event["payload"])
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] == "error":
            self.errors.append(json.dumps(event["args"]))


class Browser:
    """A running Chromium. Tabs are opened in it one by one, each with storage of its own."""

    def __init__(
        self,
        microphone: Path | None = None,
        *flags: str,
        launcher: Sequence[str] = (),
        desktop: Mapping[str, str] | None = None,
    ) -> None:
        """Start Chromium.

        microphone  a WAV file that it hears again and again
        launcher    a command that starts the command after it
        desktop     the environment of a sound server: microphone and loudspeaker are its devices
        """
        if not PROGRAM:
            pytest.skip("chromium is not installed")
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-")
        command = [*launcher, PROGRAM, *FLAGS, f"--user-data-dir={self._profile.name}", *flags]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # Chromium's sandbox refuses root
        if desktop is None:
            command.append("--mute-audio")
        if microphone is not None:
            command += [
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
            ]
        command.append("about:blank")
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, env=desktop, stdout=quiet, stderr=quiet)

    @property
    def debugger_port(self) -> int:
        """The port of 127.0.0.1 at which the tests drive it; known since its first tab."""
        return int(self._address.rpartition(":")[2])

    def stop(self) -> None:
        """Stop Chromium, and remove its profile."""
        self._process.terminate()
        self._process.wait()
        with contextlib.suppress(OSError):  # a helper process still writes
            self._profile.cleanup()

    @contextlib.asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """Open a tab without cookies and storage of other tabs."""
        async with connect(await self._debugger(), max_size=None) as root:
            control = Tab(root)
            context = (await control.command("Target.createBrowserContext"))["browserContextId"]
            target = await control.command(
                "Target.createTarget", url="about:blank", browserContextId=context
            )
            try:
                async with connect(
                    f"ws://{self._address}/devtools/page/{target['targetId']}", max_size=None
                ) as socket:
                    tab = Tab(socket, control, context)
                    await tab.prepare()
                    await tab.permit_microphone("granted")
                    try:
                        yield tab
                    finally:
                        await tab.close()
            finally:
                await control.command("Target.disposeBrowserContext", browserContextId=context)
                await control.close()

    async def _debugger(self) -> str:
        """Return the browser's debugger, as soon as it listens."""
        port_file = Path(self._profile.name) / "DevToolsActivePort"
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(OSError, ValueError):
                    port, path = port_file.read_text().split("\n")
                    self._address = f"127.0.0.1:{port}"
                    return f"ws://{self._address}{path}"
                await asyncio.sleep(POLL_SECONDS)
