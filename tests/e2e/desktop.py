"""A Linux desktop's sound without a sound card: PulseAudio with two virtual devices.

"room" is what the microphone hears; "speaker" is what the loudspeaker plays. ALSA's plug-in
(Debian: libasound2-plugins) connects PortAudio, as on a desktop with PulseAudio or PipeWire.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RATE = 16_000
SINKS = ("speaker", "room")
MISSING = [name for name in ("pulseaudio", "pactl", "paplay", "parec") if not shutil.which(name)]


@dataclass(frozen=True, slots=True)
class Desktop:
    """The running sound server. `environment` connects a process to it."""

    environment: dict[str, str]

    def say(self, wav: Path) -> None:
        """Play a recording into the room. Returns at its end."""
        self._run("paplay", "--device=room", str(wav))

    def reflect(self, volume: float, milliseconds: int) -> None:
        """Let the room hear the loudspeaker."""
        module = ["source=speaker.monitor", "sink=room", f"latency_msec={milliseconds}"]
        self._run("pactl", "load-module", "module-loopback", *module, "source_dont_move=true")
        inputs = subprocess.run(
            ["pactl", "list", "short", "sink-inputs"],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        (loopback,) = (line.split()[0] for line in inputs.stdout.splitlines())
        # pactl's linear volume is the cube root of the amplitude.
        self._run("pactl", "set-sink-input-volume", loopback, f"{volume ** (1 / 3):.3f}")

    @contextlib.contextmanager
    def record(self, raw: Path) -> Iterator[None]:
        """Record what the loudspeaker plays: mono int16 at RATE."""
        command = ["parec", "--device=speaker.monitor", f"--rate={RATE}", "--channels=1", "--raw"]
        with raw.open("wb") as file:
            process = subprocess.Popen(command, env=self.environment, stdout=file)
            try:
                yield
            finally:
                process.terminate()
                process.wait()

    def _run(self, *command: str) -> None:
        subprocess.run(command, env=self.environment, check=True, capture_output=True)


@contextlib.contextmanager
def desktop() -> Iterator[Desktop]:
    """Start a sound server of its own."""
    with tempfile.TemporaryDirectory(prefix="pulse.") as folder:  # sockets need a short path
        yield from _serve(Path(folder))


def _serve(folder: Path) -> Iterator[Desktop]:
    socket = folder / "server.sock"
    environment = os.environ | {
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PULSE_SERVER": f"unix:{socket}",
    }
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
    modules = [f"module-native-protocol-unix socket={socket} auth-anonymous=1"]
    modules += [f"module-null-sink sink_name={name} rate=48000" for name in SINKS]
    # Chromium takes no sink's monitor for a microphone.
    modules.append("module-remap-source master=room.monitor source_name=microphone")
    for module in modules:
        command += ["-L", module]
    with (folder / "pulse.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            running = Desktop(environment)
            _wait_until_ready(running)
            running._run("pactl", "set-default-sink", "speaker")
            running._run("pactl", "set-default-source", "microphone")
            yield running
        finally:
            server.terminate()
            server.wait()


def _wait_until_ready(running: Desktop, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            running._run("pactl", "info")
            return
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
