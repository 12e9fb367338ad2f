"""The shape of the code, read from its syntax trees: who may import what, and how long it gets."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path.relative_to(ROOT)
    for package in ("appliance", "client")
    for path in (ROOT / package).rglob("*.py")
)
OURS = [path for path in FILES if path.name not in ("__init__.py", "frames_pb2.py")]
APPLIANCE = [path for path in OURS if path.parts[0] == "appliance"]

# What every room may import beside itself: none of it knows a room.
COMMON = {
    "settings",
    "draining",
    "errors",
    "journal",
    "journal_fields",
    "meters",
    "offline",
    "manifest",
    "seal",
    "link",
    "checkpoint",
    "hardware",
    "nvml",
}
CALL = {"gateway", "turn", "llm", "tts"}
KNOW_ALL_ROOMS = {"appliance/gateway/session.py", "appliance/gateway/server.py"}

# The console shows what the supervision left and says, the acceptance holds it against what it sees
# itself; nothing but the door knows of them.
ASK_THE_SUPERVISION = {"console", "acceptance"}
# It calls the appliance as its users do, with their program.
USES_THE_CLIENT = "acceptance"

LOADERS = {
    "torch": {
        "appliance/engines/tts/synthesizer.py",
        "appliance/engines/llm/vllm/processor.py",
    },
    "triton": {"appliance/engines/llm/vllm/triton_cache.py"},
    "transformers": {"appliance/engines/llm/vllm/processor.py"},
    "vllm": {
        "appliance/engines/llm/vllm/processor.py",
        "appliance/engines/llm/vllm/plugin.py",
        "appliance/engines/llm/vllm/runtime.py",
    },
    "kokoro": {"appliance/engines/tts/synthesizer.py"},
    "onnxruntime": {
        "appliance/engines/tts/synthesizer.py",
        "appliance/engines/llm/small/moonshine.py",
    },
    "xllamacpp": {"appliance/engines/llm/small/llama_library.py"},
    "pynvml": {"appliance/gpu/nvml.py"},
}
PIPECAT = {
    "appliance/gateway/session.py",
    "appliance/gateway/transport.py",
    "appliance/gateway/wire.py",
    "appliance/gateway/tts_service.py",
    "appliance/gateway/heard.py",
    "appliance/gateway/turn_taking.py",
    "appliance/gateway/llm_service.py",
    "appliance/gateway/reply.py",
    "appliance/gateway/tools.py",
}
# Decisions: they take values and return values.
PURE = (
    "appliance/acceptance/metrics.py",
    "appliance/acceptance/report.py",
    "appliance/acceptance/report.py",
    "appliance/acceptance/page.py",
    "appliance/acceptance/page.py",
    "appliance/acceptance/report.py",
    "appliance/acceptance/script.py",
    "appliance/acceptance/sockets.py",
    "appliance/acceptance/report.py",
    "appliance/acceptance/script.py",
    "appliance/console/trace.py",
    "appliance/console/state.py",
    "appliance/console/logs.py",
    "appliance/listing.py",
    "appliance/console/terminal.py",
    "appliance/console/bundle.py",
    "appliance/console/status.py",
    "appliance/console/state.py",
    "appliance/console/trace.py",
    "appliance/gateway/admission.py",
    "appliance/gateway/transport.py",
    "appliance/gateway/turn_record.py",
    "appliance/gateway/wire.py",
    "appliance/gpu/cards.py",
    "appliance/gpu/memory.py",
    "appliance/gpu/page.py",
    "appliance/gpu/planning.py",
    "appliance/gpu/speed.py",
    "appliance/engines/tts/text/normalize.py",
    "appliance/gateway/phrases.py",
    "appliance/engines/tts/text/readings.py",
    "appliance/engines/tts/text/rules.py",
    "appliance/link/protocol.py",
    "appliance/supervision/events.py",
    "appliance/supervision/symptoms.py",
    "appliance/supervision/guard.py",
    "appliance/supervision/policy.py",
    "appliance/supervision/policy.py",
    "appliance/supervision/symptoms.py",
    "appliance/supervision/supervisor_client.py",
    "appliance/gateway/history.py",
    "appliance/gateway/utterances.py",
    "appliance/engines/llm/vllm/answer.py",
    "appliance/engines/llm/vllm/admission.py",
    "appliance/engines/llm/vllm/audio.py",
    "appliance/engines/llm/vllm/prompt.py",
    "appliance/engines/llm/vllm/tools.py",
)
IO = {"asyncio", "socket", "threading", "subprocess", "websockets", "os", "pathlib", "pipecat"}

# Read the environment: each door, and what hands it on to a child process.
ENVIRONMENT = {
    "appliance/offline.py",
    "appliance/settings.py",
    "appliance/supervision/boot.py",
    "ops/bundle/packages.py",
    "appliance/engines/llm/vllm/plugin.py",  # the door of vLLM's own processes
    "appliance/gpu/nvml.py",  # CUDA_VISIBLE_DEVICES, which is CUDA's and no setting of ours
}

MAX_LINES = 300

# Modules whose test is not the file of the same name.
TESTED_IN = {
    "appliance/acceptance/overload.py": "tests/acceptance/test_here.py",
    "appliance/acceptance/recovery.py": "tests/acceptance/test_here.py",
    "appliance/acceptance/sealed.py": "tests/acceptance/test_here.py",
    "appliance/acceptance/page.py": "tests/acceptance/test_page.py",
    "appliance/acceptance/site.py": "tests/acceptance/test_here.py",
    "appliance/acceptance/site.py": "tests/acceptance/test_run.py",
    "appliance/errors.py": "tests/test_errors.py",
    "appliance/errors.py": "tests/test_errors.py",
    "appliance/errors.py": "tests/test_errors.py",
    "appliance/errors.py": "tests/test_errors.py",
    "appliance/engines/tts/__main__.py": "tests/engines/tts/test_main.py",
    "appliance/engines/llm/__main__.py": "tests/engines/llm/test_main.py",
    "appliance/link/client.py": "tests/link/test_client_and_server.py",
    "appliance/link/server.py": "tests/link/test_client_and_server.py",
    "appliance/link/engine.py": "tests/link/contract.py",
    "appliance/link/engine.py": "tests/link/contract.py",
    "appliance/link/health.py": "tests/link/test_client_and_server.py",
    "appliance/gateway/turn_report.py": "tests/gateway/test_session.py",
    "appliance/engines/llm/vllm/processor.py": "tests/torch/vllm/test_model.py",
    "appliance/engines/llm/vllm/processor.py": "tests/torch/vllm/test_processor.py",
    "appliance/engines/llm/vllm/runtime.py": "tests/torch/vllm/test_runtime.py",
    "appliance/engines/llm/vllm/session.py": "tests/torch/vllm/test_engine.py",
    "appliance/engines/llm/vllm/session.py": "tests/torch/vllm/test_session.py",
    "appliance/gateway/llm_service.py": "tests/gateway/test_llm_service.py",
    "appliance/gateway/reply.py": "tests/gateway/test_llm_service.py",
    "appliance/gateway/reply.py": "tests/gateway/test_llm_service.py",
    "ops/bundle/__main__.py": "tests/ops/test_scripts.py",
    "ops/bundle/assemble.py": "tests/ops/bundle/test_fetch.py",
    "ops/bundle/progress.py": "tests/ops/bundle/test_fetch.py",
}


def name(path: Path) -> str:
    return path.as_posix()


def ids(path: Path) -> str:
    return name(path)


def imports(path: Path) -> Iterator[str]:
    """The dotted names of everything a file imports, wherever it does so."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def rooms(path: Path) -> set[str]:
    """The parts of `appliance` a file imports: rooms and common modules."""
    return {dotted.split(".")[1] for dotted in imports(path) if dotted.startswith("appliance.")}


def room(path: Path) -> str:
    return path.parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", APPLIANCE, ids=ids)
def test_a_room_imports_itself_and_what_is_common(path: Path) -> None:
    if name(path) == "appliance/__main__.py":
        return  # the door: it opens one room
    allowed = COMMON | {room(path)}
    if name(path) in KNOW_ALL_ROOMS:
        allowed |= CALL
    if room(path) in ASK_THE_SUPERVISION:
        allowed |= {"supervision"}
    assert rooms(path) <= allowed


@pytest.mark.parametrize("path", APPLIANCE, ids=ids)
def test_what_is_common_knows_no_room(path: Path) -> None:
    if room(path) in COMMON:
        assert rooms(path) <= COMMON


def test_what_knows_all_rooms_is_two_files() -> None:
    door = Path("appliance/__main__.py")
    several = {name(p) for p in APPLIANCE if p != door and len(rooms(p) & CALL) > 1}
    assert several <= KNOW_ALL_ROOMS


@pytest.mark.parametrize("path", [p for p in OURS if p.parts[0] == "client"], ids=ids)
def test_the_client_imports_nothing_of_the_appliance(path: Path) -> None:
    packages = {dotted.split(".")[0] for dotted in imports(path)}
    assert packages.isdisjoint({"appliance", "pipecat", "torch", "onnxruntime", "fastapi"})


@pytest.mark.parametrize("path", APPLIANCE, ids=ids)
def test_the_appliance_imports_nothing_of_the_client_or_the_tests(path: Path) -> None:
    packages = {dotted.split(".")[0] for dotted in imports(path)}
    unwanted = {"client", "tests", "pytest", "phonemizer", "espeakng_loader"}
    if room(path) == USES_THE_CLIENT:
        unwanted -= {"client"}
    assert packages.isdisjoint(unwanted)


@pytest.mark.parametrize("package", LOADERS)
def test_models_are_loaded_in_one_place(package: str) -> None:
    loading = {name(p) for p in OURS if package in {d.split(".")[0] for d in imports(p)}}
    assert loading <= LOADERS[package]


def test_pipecat_stays_at_the_seams() -> None:
    using = {name(p) for p in OURS if "pipecat" in {d.split(".")[0] for d in imports(p)}}
    assert using <= PIPECAT


@pytest.mark.parametrize("path", PURE)
def test_decisions_do_no_io(path: str) -> None:
    packages = {dotted.split(".")[0] for dotted in imports(Path(path))}
    allowed = {"pipecat"} if path in PIPECAT else set()  # the types of frames
    assert packages.isdisjoint(IO - allowed)


@pytest.mark.parametrize("path", OURS, ids=ids)
def test_the_environment_is_read_at_the_door(path: Path) -> None:
    reads = [
        node.lineno
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"))
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]
    assert not reads or path.name == "__main__.py" or name(path) in ENVIRONMENT


@pytest.mark.parametrize("path", OURS, ids=ids)
def test_a_file_fits_on_a_few_screens(path: Path) -> None:
    lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES


@pytest.mark.parametrize("path", OURS, ids=ids)
def test_every_module_has_its_test_file(path: Path) -> None:
    parts = path.parts[1:] if path.parts[0] == "appliance" else path.parts
    mirrored = Path("tests", *parts[:-1], f"test_{path.stem.strip('_')}.py")
    test = ROOT / TESTED_IN.get(name(path), mirrored)
    assert test.exists()


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert path.name == "frames_pb2.py" or ast.get_docstring(tree(path))
