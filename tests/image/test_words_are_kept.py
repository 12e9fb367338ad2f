"""What callers say, what the model is told, and the token: the real container keeps none of it.

Everything that the container wrote is searched, from the host: memory file systems, its layer,
removed files that are still open, the log, the audit log, metrics, and the support bundle.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import written
from tests.e2e.appliance import QUESTIONS
from tests.host.hosts import USER
from tests.image.sealed import INSIDE, METRICS_PORT, PORT, Built, Network, SealedContainer

TYPED, PROMPTED = "Xylofonia", "Quetzalcoatl"
SPOKEN, ANSWERED = "france", "paris"
PROMPT = f"You are a friendly voice assistant. Your owner is {PROMPTED}. Answer briefly."
AUDIT = "/var/lib/voice-appliance/audit"
MEMORY_FOLDERS = ("run", "tmp", "var/tmp", "dev/shm", "dev/mqueue")


@pytest.fixture(scope="module")
def appliance(
    built: Built, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SealedContainer]:
    folder = tmp_path_factory.mktemp("words")
    audit = folder / "audit"
    audit.mkdir()
    os.chown(audit, USER, USER)
    config = folder / "appliance.toml"
    config.write_text(f'[llm]\nsystem_prompt = "{PROMPT}"\n')
    config.chmod(0o644)
    options = (
        f"--volume={config}:/etc/voice-appliance/appliance.toml:ro",
        f"--volume={audit}:{AUDIT}:rw",
        "--env=VOICE_CONFIG=/etc/voice-appliance/appliance.toml",
        f"--env=VOICE_AUDIT_FOLDER={AUDIT}",
    )
    running = SealedContainer(built, network, folder, options)
    try:
        yield running.start().wait_ready()
    finally:
        running.remove()


def ask(appliance: SealedContainer, text: str) -> str:
    """Type a question on the caller's machine; return what the client shows."""
    network = appliance.network
    command = [sys.executable, "-m", "client", "ask", text, "--url", f"ws://{INSIDE}:{PORT}/ws"]
    done = subprocess.run(
        [*network.at(network.caller), *command, "--token-file", str(appliance.token_file)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout


def bundle(appliance: SealedContainer) -> bytes:
    """The appliance's part of the support bundle, made as voicectl does."""
    with appliance.log.open("rb") as log:
        done = subprocess.run(
            ["podman", "exec", "-i", appliance.name, "python", "-m", "appliance", "bundle"],
            env=appliance.built.host.environ,
            stdin=log,
            capture_output=True,
            check=True,
            timeout=300,
        )
    return done.stdout


def test_no_word_no_prompt_and_no_token_is_written_or_shown(appliance: SealedContainer) -> None:
    spoken = appliance.say(QUESTIONS[0])
    assert SPOKEN in spoken[0]["user_text"].lower()
    assert ANSWERED in spoken[0]["reply_text"].lower()
    shown = ask(appliance, f"My cat is called {TYPED}. Say hello to {TYPED}, please.")
    assert TYPED.lower() in shown.lower()

    host = appliance.built.host
    inspected = ("podman", "container", "inspect", "--format", "{{.State.Pid}}", appliance.name)
    boot = psutil.Process(int(host.must(*inspected)))
    pids = [boot.pid, *(child.pid for child in boot.children(recursive=True))]
    sources: dict[str, bytes] = {
        "log": appliance.log.read_bytes(),
        "metrics": appliance.fetch("metrics", METRICS_PORT).encode(),
        **dict(written.files_below(appliance.folder / "audit")),
        **dict(written.in_archive(bundle(appliance))),
    }
    for folder in MEMORY_FOLDERS:
        below = Path(f"/proc/{boot.pid}/root/{folder}")
        if below.is_dir():
            sources |= {
                name: content
                for name, content in written.files_below(below)
                if not name.endswith("run/secrets/voice-token")  # mounted, not written
            }
    for pid in pids:
        sources |= dict(written.shown_by(pid))
        assert written.core_limits(pid) == ("0", "00000000")
    assert len(pids) >= 7
    assert [name for name in sources if name.endswith("run/voice/guard.json")]
    assert [name for name in sources if "audit-000001" in name]
    words = (TYPED, PROMPTED, SPOKEN, ANSWERED, appliance.token_file.read_text())
    assert written.find(words, sources) == []
    # The layer of the container has no file: its root file system is read-only.
    changed = host.must("podman", "diff", appliance.name).splitlines()
    assert [line for line in changed if line.startswith("A") and not _is_mount_point(line)] == []


def _is_mount_point(line: str) -> bool:
    """Whether podman made this file or folder to mount something there."""
    path = line.split(maxsplit=1)[1]
    known = (
        "/run",
        "/etc",
        "/var/lib/voice-appliance",
        "/var/tmp",
        "/tmp",
        "/dev",
        "/proc",
        "/sys",
    )
    return path.startswith(known)
