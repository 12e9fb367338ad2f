"""First start of the sealed image on a host without a network: it takes calls and answers.

The image was exported and imported before. It runs with the shipped flags, and every attempt to
reach another host is traced.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from client.wav import read_wav
from tests.e2e.appliance import QUESTIONS, SayResult
from tests.e2e.test_no_network_access import attempts
from tests.host.hosts import USER
from tests.image.conftest import Delivered
from tests.image.sealed import CALLER, LIMITS, METRICS_PORT, Built, Network, SealedContainer
from tests.recognizer import word_error_rate, words
from tests.units.reading import in_bytes


@pytest.fixture(scope="module")
def appliance(
    delivered: Delivered, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SealedContainer]:
    running = SealedContainer(
        delivered.image, network, tmp_path_factory.mktemp("appliance"), traced=True
    )
    try:
        yield running.start().wait_ready()
    finally:
        running.remove()


HEARD, SAID = ("france", "museum", "river"), ("paris", "louvre", "seine")


@pytest.fixture(scope="module")
def conversation(appliance: SealedContainer) -> SayResult:
    return appliance.say(*QUESTIONS)


def status(appliance: SealedContainer) -> dict[str, str]:
    """/proc/1/status: user, capabilities and seccomp state of the first process."""
    text = appliance.inside("print(open('/proc/1/status').read())")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_every_question_is_understood_and_answered(conversation: SayResult) -> None:
    assert conversation.exit_code == 0, conversation.stderr
    assert [turn["outcome"] for turn in conversation.turns] == ["answered"] * len(QUESTIONS)
    for turn, heard, said in zip(conversation.turns, HEARD, SAID, strict=True):
        assert heard in turn["user_text"].lower()
        assert said in turn["reply_text"].lower()


def test_answers_are_intelligible(conversation: SayResult) -> None:
    for turn in conversation.turns:
        pcm = read_wav(Path(str(turn["reply_wav"])))
        heard = words(np.frombuffer(pcm, "<i2"), 16_000)
        assert word_error_rate(turn["reply_text"], heard) <= 0.3


def test_no_process_tried_to_reach_another_host(
    appliance: SealedContainer, conversation: SayResult
) -> None:
    trace = appliance.trace.read_text(errors="replace")
    assert '.sock"' in trace, "the trace is empty"
    assert [line for line in attempts(trace) if f'"{CALLER}"' not in line] == []


def test_container_has_no_default_route(appliance: SealedContainer) -> None:
    routes = appliance.inside("print(open('/proc/net/route').read())").splitlines()[1:]
    assert [line for line in routes if line.split()[1] == "00000000"] == []


def test_container_runs_as_its_own_user_without_capabilities(appliance: SealedContainer) -> None:
    found = status(appliance)
    assert found["Uid"].split() == found["Gid"].split() == [str(USER)] * 4
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[kind], 16) == 0, kind
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert int(found["Seccomp_filters"]) > 1, "one of them is the filter of strace"
    assert found["Groups"].strip() in ("", str(USER))
    assert appliance.inside("import pwd, os; print(pwd.getpwuid(os.getuid()).pw_name)") == "voice"


def test_only_memory_is_writable_and_nothing_there_is_executable(
    appliance: SealedContainer,
) -> None:
    script = """
import json, os
mounts = [line.split() for line in open("/proc/mounts")]
writable = [path for path, *_ in os.walk("/") if os.access(path, os.W_OK) and path[:6] != "/proc/"]
print(json.dumps([writable, {path: [kind, options] for _, path, kind, options, *_ in mounts}]))
"""
    writable, mounts = json.loads(appliance.inside(script))
    # podman adds /var/tmp to a read-only root, Docker does not.
    memory = {"/run", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"}
    assert {"/run", "/tmp"} <= set(writable)
    assert [path for path in writable if not path.startswith(tuple(memory))] == []
    assert {mounts[path][0] for path in set(writable) & memory} <= {"tmpfs", "mqueue"}
    for path in ("/run", "/tmp"):
        assert {"nosuid", "nodev", "noexec"} <= set(mounts[path][1].split(","))
    assert mounts["/"][1].split(",")[0] == "ro"


def test_memory_and_processes_are_limited(appliance: SealedContainer) -> None:
    script = """
from pathlib import Path
group = Path("/sys/fs/cgroup")
for new, old in (("memory.max", "memory/memory.limit_in_bytes"), ("pids.max", "pids/pids.max")):
    print(next(path for path in (group / new, group / old) if path.exists()).read_text().strip())
"""
    memory, processes = appliance.inside(script).split()
    assert int(memory) == in_bytes(LIMITS[0].partition("=")[2])
    assert processes == "512"


def test_every_sealed_byte_was_read_before_the_start(
    appliance: SealedContainer, built: Built
) -> None:
    lines = appliance.lines()
    events = [line["event"] for line in lines]
    assert events.index("code intact") < events.index("seal intact")
    assert events.index("seal intact") < events.index("appliance started")
    intact = lines[events.index("seal intact")]
    assert intact["state"] == "full"
    assert appliance.metric("voice_seal_ok") == 1
    assert appliance.metric("voice_seal_full") == 1
    assert appliance.metric("voice_seal_bytes") == intact["bytes"] > 1.1e9


def test_signature_of_the_release_covers_the_list_of_code_that_was_compared(
    appliance: SealedContainer, delivered: Delivered
) -> None:
    signed = (delivered.release / "SHA256SUMS").read_text()
    (line,) = [line for line in signed.splitlines() if line.endswith("  code.list")]
    metrics = appliance.fetch("metrics", METRICS_PORT)
    assert f'code_sha256="{line[:64]}"' in metrics
    assert appliance.metric("voice_seal_code_bytes") > 5e8


def test_health_check_of_the_container_engine_passes(appliance: SealedContainer) -> None:
    appliance.built.host.must("podman", "healthcheck", "run", appliance.name)


def test_words_of_the_conversation_are_not_in_the_log(
    appliance: SealedContainer, conversation: SayResult
) -> None:
    log = appliance.log.read_text(errors="replace").lower()
    assert '"event":"turn"' in log
    for word in ("paris", "louvre", "museum"):
        assert word not in log


def test_container_stops_cleanly(appliance: SealedContainer) -> None:
    began = time.monotonic()
    assert appliance.stop() == 0
    seconds = time.monotonic() - began
    print(f"stopped in {seconds:.1f} s")
    assert appliance.lines()[-1]["event"] == "appliance stopped"
    assert not [line for line in appliance.lines() if line["event"] == "program killed"]
