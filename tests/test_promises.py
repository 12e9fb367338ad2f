"""What the project promises of its files: none names a registry, nothing unwanted is locked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import settings
from appliance.weights import seal

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

# Put together from pieces, so that this file does not name them either.
REGISTRY_HOSTS = [
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("deb", "debian", "org"),
        ("download", "pytorch", "org"),
        ("ghcr", "io"),
        ("docker", "io"),
        ("quay", "io"),
        ("nvcr", "io"),
    )
]
GPL = ("phonemizer", "phonemizer-fork", "espeakng-loader", "py-espeak-ng")
UNWANTED = ("torch", "sentry-sdk", "spacy-curated-transformers", "kokoro", "transformers")
UNUSED = ("numba", "llvmlite", "resampy", "openai", "docopt")


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in files if path.is_file()]


def locked(name: str) -> dict[str, str]:
    """Package -> version of one lock."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s\\]+)", text, flags=re.MULTILINE))


def test_no_tracked_file_names_a_registry_or_a_path_of_the_machine_it_was_written_on() -> None:
    machine_paths = ["/" + "work/", "/" + "opt/" + "wheels", "/" + "opt/" + "pypi"]
    named = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in tracked_files()
        for text in [*REGISTRY_HOSTS, *machine_paths]
        if text.encode() in path.read_bytes()
    ]
    assert named == []


def test_no_tracked_file_is_a_pickle() -> None:
    def is_pickle(path: Path) -> bool:
        with path.open("rb") as opened:
            return seal.is_pickle(opened.read(4096), [path.name])

    assert [path for path in tracked_files() if is_pickle(path)] == []


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_line_of_a_lock_is_one_version_with_its_hashes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    code = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line for line in code.splitlines() if line.strip()]
    entry = re.compile(r"[a-z0-9.-]+==[^\s]+( ;[^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")
    assert lines
    assert [line[:60] for line in lines if not entry.fullmatch(line)] == []


def test_every_locks_in_file_is_locked() -> None:
    for name in ("cpu", "client", "dev", "npm"):
        asked = (ROOT / "requirements" / f"{name}.in").read_text(encoding="utf-8")
        wanted = re.findall(r"^([A-Za-z0-9-]+)", asked, flags=re.MULTILINE)
        missing = [package for package in wanted if package.lower() not in locked(name)]
        assert missing == [], f"{name}: run `make lock`"


def test_one_environment_can_hold_all_locks() -> None:
    together: dict[str, str] = {}
    for name in ("cpu", "client", "dev"):
        for package, version in locked(name).items():
            assert together.setdefault(package, version) == version, package


def test_nothing_gpl_and_nothing_that_brings_cuda_or_telemetry_is_in_the_cpu_lock() -> None:
    packages = locked("cpu")
    assert [name for name in (*GPL, *UNWANTED, *UNUSED) if name in packages] == []
    assert [name for name in packages if "nvidia" in name or "espeak" in name] == []


def test_the_client_needs_nothing_of_pipecat() -> None:
    assert "pipecat-ai" not in locked("client")
    assert len(locked("client")) < 10


def test_the_pins_that_matter_hold() -> None:
    packages = locked("cpu")
    assert packages["onnxruntime"] == "1.28.0"  # from 1.29 its wheels phone home
    assert packages["pipecat-ai"] == "1.14.0"
    assert packages["misaki"] == "0.9.4"
    assert packages["supervisor"] == "4.3.0"
    assert packages["protobuf"].startswith("6.33.")


def test_all_we_use_of_pipecat_imports_without_the_excluded_packages() -> None:
    imports = f"""
import sys
for name in {UNUSED!r}:
    sys.modules[name] = None  # an import of it now raises ImportError
from misaki import en
from num2words import num2words
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frameworks.rtvi.processor import RTVIProcessor
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.services.llm_service import LLMService
from pipecat.services.tts_service import TTSService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner
assert num2words(42) == "forty-two"
"""
    done = subprocess.run(
        [sys.executable, "-c", imports], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_is_read_somewhere() -> None:
    sources = [
        path for path in (ROOT / "appliance").rglob("*.py") if path.parent.name != "settings"
    ]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    names = [name for _, name, _ in settings.walk(settings.Settings())]
    # As an attribute, or by its name: memory limits stand in the table of processes.
    assert [name for name in names if f".{name}" not in code and f'"{name}"' not in code] == []
