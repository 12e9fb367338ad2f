"""Runs promtool, and a Prometheus on loopback, of Debian's `prometheus` package."""

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
    """The path of a program; without it the test is skipped, or fails if CI is set."""
    path = shutil.which(name)
    if path is None:
        reason = f"SKIPPED: {name} IS MISSING (apt-get install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def promtool(*arguments: str | Path) -> str:
    """Run promtool and return its output; fails with the output if promtool does."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=600
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


INTERVAL = "2s"  # of scrapes and rules, and time limit of a scrape on a busy machine


class Prometheus:
    """A real Prometheus with the shipped rules and alerts that scrapes `target`."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._target = target
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 120) -> Prometheus:
        """Start it with the shipped files, except for the target and the intervals."""
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"evaluation_interval": INTERVAL}
        [job] = config["scrape_configs"]
        job |= {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL}
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
        deadline = time.monotonic() + seconds
        while not self._ready():
            assert self._process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.2)
        return self

    def stop(self) -> None:
        """Stop the program."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def log(self) -> str:
        """Its log."""
        return (self._folder / "prometheus.log").read_text(encoding="utf-8")

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of a response of its HTTP API; an error response fails the test."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as page:
                return json.load(page)["data"]
        except urllib.error.HTTPError as problem:
            raise AssertionError(f"{parameters}: {problem.read().decode()}") from problem

    def query(self, expression: str, at: str = "") -> list[dict[str, Any]]:
        """The series of an expression, now or at a Unix time."""
        data = self.get("query", query=expression, **({"time": at} if at else {}))
        assert data["resultType"] in ("vector", "scalar"), expression
        is_vector = data["resultType"] == "vector"
        return list(data["result"] if is_vector else [{"value": data["result"]}])

    def numbers(self, expression: str, at: str = "") -> list[float]:
        """The values of an expression's series, without NaN."""
        values = [float(series["value"][1]) for series in self.query(expression, at)]
        return [value for value in values if value == value]

    def wait_for(self, expression: str, seconds: float = 120) -> str:
        """Wait until the expression is not zero; the Unix time at which it was not."""
        deadline = time.monotonic() + seconds
        while True:
            for series in self.query(expression):
                at, value = series["value"]
                if abs(float(value)) > 0:  # false for NaN
                    return str(at)
            assert time.monotonic() < deadline, f"{expression} stays empty\n{self.log()[-3000:]}"
            time.sleep(0.5)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5) as page:
                return bool(page.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
