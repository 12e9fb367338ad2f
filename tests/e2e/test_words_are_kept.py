"""What callers say, what the model is told, and the token leave the appliance only for the caller.

The same search in the real container is in tests/image/test_words_are_kept.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests import written
from tests.conftest import FAST
from tests.e2e.appliance import QUESTIONS, ROOT, Appliance

TYPED = "Xylofonia"
PROMPTED = "Quetzalcoatl"
SPOKEN, ANSWERED = "france", "paris"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    folder = tmp_path_factory.mktemp("appliance")
    config = folder / "appliance.toml"
    prompt = f"You are a friendly voice assistant. Your owner is {PROMPTED}. Answer briefly."
    config.write_text(f'[llm]\nsystem_prompt = "{prompt}"\n')
    audit = folder / "audit"
    audit.mkdir()
    running = Appliance(folder, FAST | {"CONFIG": str(config), "AUDIT_FOLDER": str(audit)})
    yield running.start()
    assert running.stop() == 0, running.tail()


def bundle(appliance: Appliance) -> bytes:
    with appliance.log.open("rb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "appliance", "bundle"],
            cwd=ROOT,
            env=appliance.environment(),
            stdin=log,
            capture_output=True,
            check=True,
        )
    return done.stdout


def test_no_word_no_prompt_and_no_token_is_written_or_shown(appliance: Appliance) -> None:
    spoken = appliance.say(QUESTIONS[0])
    assert SPOKEN in spoken[0]["user_text"].lower()
    assert ANSWERED in spoken[0]["reply_text"].lower()
    client = appliance.client("ask", f"My cat is called {TYPED}. Say hello to {TYPED}, please.")
    stdout, stderr = client.communicate(timeout=120)
    assert TYPED.lower() in stdout.lower(), stderr
    boot = psutil.Process(appliance.process("gateway").parent().ppid())  # type: ignore[union-attr]
    pids = [boot.pid, *(child.pid for child in boot.children(recursive=True))]
    sources: dict[str, bytes] = {
        "log": appliance.log.read_bytes(),
        "metrics": appliance.metrics().encode(),
        **dict(written.files_below(appliance.run_folder)),
        **dict(written.files_below(appliance.folder / "audit")),
        **dict(written.in_archive(bundle(appliance))),
    }
    for pid in pids:
        sources |= dict(written.shown_by(pid))
        assert written.core_limits(pid) == ("0", "00000000")
    assert len(pids) >= 7
    assert b"tts" in sources["log"] and b"action" in b"".join(
        content for name, content in sources.items() if "audit-" in name
    )
    words = (TYPED, PROMPTED, SPOKEN, ANSWERED, appliance.token)
    assert written.find(words, sources) == []
