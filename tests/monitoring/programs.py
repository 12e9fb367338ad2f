"""Debian's `prometheus` package: promtool, and a Prometheus of our own on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.shipped import FOLDER


def program(name: str) -> str:
    """Where it is. Without it the test is skipped and says so; with CI set it fails."""
    found = shutil.which(name)
    if found is None:
        why = f"SKIPPED: {name} IS MISSING (apt-get install prometheus); nothing was tried on it"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


def promtool(*arguments: str | Path) -> str:
    """What promtool prints; fails with it when promtool is not content."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=600
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    return printed


PACE = "2s"  # of scrapes and rules; a page may take as long on a busy machine


class Prometheus:
    """A real one with our rules and alerts, which scrapes `target` every other second."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as held:
            self._address = f"127.0.0.1:{held.getsockname()[1]}"
        self._target = target
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 120) -> Prometheus:
        """Runs it until `stop`, with the shipped files but for the address and the pace."""
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"evaluation_interval": PACE}
        [job] = config["scrape_configs"]
        job |= {"scrape_interval": PACE, "scrape_timeout": PACE}
        job["static_configs"] = [{"targets": [self._target]}]
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in config["rule_files"]:
            rules = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
            for group in rules["groups"]:
                group.pop("interval", None)
            (self._folder / name).write_text(yaml.safe_dump(rules), encoding="utf-8")
        path = self._folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={path}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={self._address}",
                ],
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + seconds
        while not self._ready():
            assert self._process.poll() is None and time.monotonic() < until, self.log()
            time.sleep(0.2)
        return self

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def log(self) -> str:
        """What it printed."""
        return (self._folder / "prometheus.log").read_text(encoding="utf-8")

    def ask(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of its HTTP interface; an error of its is one of the test."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as page:
                return json.load(page)["data"]
        except urllib.error.HTTPError as problem:
            raise AssertionError(f"{parameters}: {problem.read().decode()}") from problem

    def query(self, expression: str, at: str = "") -> list[dict[str, Any]]:
        """The series of an expression, now or at a Unix time."""
        data = self.ask("query", query=expression, **({"time": at} if at else {}))
        assert data["resultType"] in ("vector", "scalar"), expression
        found = data["result"] if data["resultType"] == "vector" else [{"value": data["result"]}]
        return list(found)

    def numbers(self, expression: str, at: str = "") -> list[float]:
        """The values of its series that are numbers, NaN left out."""
        values = [float(series["value"][1]) for series in self.query(expression, at)]
        return [value for value in values if value == value]

    def wait_for(self, expression: str, seconds: float = 120) -> str:
        """Until the expression has a value other than zero; the Unix time at which it had it."""
        until = time.monotonic() + seconds
        while True:
            for series in self.query(expression):
                at, value = series["value"]
                if abs(float(value)) > 0:  # NaN is not
                    return str(at)
            assert time.monotonic() < until, f"{expression} stays empty\n{self.log()[-3000:]}"
            time.sleep(0.5)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5) as page:
                return bool(page.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
