"""What each process can reach, read from the imports of every module, lazy ones included.

`gateway/` and `engines/` meet only in `link/`. An import that breaks this would load a
model into the event loop that carries the calls.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("appliance", "client", "ops")
FILES = sorted(
    path.relative_to(ROOT)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if path.name != "frames_pb2.py"
)


def dotted(path: Path) -> str:
    """`appliance/gateway/wire.py` -> `appliance.gateway.wire`; a package is its own module."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in FILES}
APPLIANCE = [module for module in MODULES if module.split(".")[0] == "appliance"]

# Modules that every process may use, and the table of commands.
COMMON = {
    "__main__",
    "code_seal",
    "commands",
    "core_dumps",
    "errors",
    "journal",
    "journal_fields",
    "local_http",
    "memory",
    "metrics",
    "offline",
    "processes",
    "run_folder",
    "settings",
    "site_lexicon",
    "tasks",
}

# The process, the module it starts in, and the packages it may reach beside COMMON.
PROCESSES = {
    "gateway": (
        "appliance.gateway.server",
        {"gateway", "link", "web", "audit", "access", "tls", "weights", "confinement"},
    ),
    "llm": (
        "appliance.engines.llm.choose",
        {"engines.llm", "engines.onnx_session", "link", "gpu", "weights"},
    ),
    "tts": ("appliance.engines.tts.engine", {"engines.tts", "engines.onnx_session", "link"}),
    "exporter": (
        "appliance.supervision.exporter",
        {"supervision", "link", "gpu", "weights", "web"},
    ),
    "guard": ("appliance.supervision.guard", {"supervision", "link", "gpu", "weights"}),
    "boot": ("appliance.supervision.boot", {"supervision", "link", "gpu", "weights"}),
}

# The module that starts them.
START = "appliance.commands.processes"

# Libraries and the packages that load them. What loads a model stays with the process that owns it.
LIBRARIES = {
    "torch": {"engines.tts", "engines.llm", "gpu_proof"},
    "transformers": {"engines.llm"},
    "triton": {"engines.llm"},
    "vllm": {"engines.llm"},
    "xllamacpp": {"engines.llm"},
    "onnxruntime": {"engines.tts", "engines.llm", "engines.onnx_session"},
    "kokoro": {"engines.tts"},
    "misaki": {"engines.tts"},
    "pynvml": {"gpu"},
    "pipecat": {"gateway"},
    "fastapi": {"gateway"},
    "supervisor": {"supervision"},
    "cryptography": {"tls"},
}

# A module whose docstring says "No I/O" keeps that promise, and so does what it imports.
PROMISE = "No I/O"
IO = {
    "asyncio", "fastapi", "http", "multiprocessing", "os", "psutil", "select", "shutil", "signal",
    "socket", "sqlite3", "starlette", "subprocess", "tempfile", "threading", "urllib", "uvicorn",
    "websockets",
}  # fmt: skip
# They also load files, but a pure module takes only their types.
TYPES_ONLY = {"appliance.errors", "appliance.settings"}

# Modules that read the environment: each process's door, and what hands it on to a child process.
ENVIRONMENT = {
    "appliance.code_seal",  # runs before anything else is loaded
    "appliance.supervision.seal_check",  # what code_seal found, handed on by the environment
    "appliance.offline",
    "appliance.commands.processes",  # sets the threads of libraries before they are loaded
    "appliance.settings",
    "appliance.supervision.boot",
    "appliance.engines.llm.vllm.plugin",  # vLLM's own processes start there
    "appliance.gpu.nvml",  # CUDA_VISIBLE_DEVICES, which is CUDA's and not a setting of ours
    "appliance.gpu_proof.runner",  # handed on to the steps
    "appliance.gpu_proof.engine_speed",  # a step is a process of its own
    "appliance.gpu_proof.conversation",
    "ops.bundle.packages",  # handed on to pip and npm
    "ops.node_packages",  # handed on to npm
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((ROOT / MODULES[module]).read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """The dotted names that a piece of code imports, wherever it does so."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno} imports relatively"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)


@cache
def imports(module: str) -> frozenset[str]:
    return frozenset(imported(tree(module)))


def module_of(name: str) -> str:
    """The module of ours that an imported name stands for; "" for a library's."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def reached(starts: Iterable[str]) -> set[str]:
    """Every module of ours that these can import, directly or through others."""
    found: set[str] = set()
    waiting = [module for module in map(module_of, starts) if module]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [other for other in map(module_of, imports(module)) if other]
    return found


def libraries(modules: Iterable[str]) -> set[str]:
    """Top-level packages outside of this repository that modules import."""
    names = {name.split(".")[0] for module in modules for name in imports(module)}
    return names - set(PACKAGES)


def package_of(module: str) -> str:
    """`gateway`, `engines.llm`, or the name of a common module."""
    parts = module.split(".")[1:3]
    return ".".join(parts) if parts[:1] == ["engines"] else (parts or ["appliance"])[0]


def door() -> list[str]:
    """What `python -m appliance` imports before it knows which process to run."""
    commands = [module for module in MODULES if package_of(module) == "commands"]
    statements = [s for module in ("appliance.__main__", *commands) for s in tree(module).body]
    top = [s for s in statements if isinstance(s, ast.Import | ast.ImportFrom)]
    names = [name for statement in top for name in imported(statement)]
    # A command imports its package only when it runs.
    return [name for name in names if module_of(name) not in commands]


def docstring(module: str) -> str:
    return ast.get_docstring(tree(module)) or ""


PURE = [module for module in MODULES if PROMISE in docstring(module)]


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_reaches_only_its_own_packages(process: str) -> None:
    start, packages = PROCESSES[process]
    outside = {
        module
        for module in reached([start, *door()])
        if package_of(module) not in packages | COMMON | {"appliance", "engines"}
    }
    assert not outside


@pytest.mark.parametrize("process", PROCESSES)
def test_the_table_of_processes_is_what_the_door_starts(process: str) -> None:
    assert PROCESSES[process][0] in {module_of(name) for name in imports(START)}


def test_the_link_reaches_neither_side() -> None:
    link = [module for module in APPLIANCE if package_of(module) == "link"]
    assert {package_of(module) for module in reached(link)} <= COMMON | {"link", "appliance"}


@pytest.mark.parametrize("module", sorted(COMMON - {"__main__", "commands"}))
def test_a_common_module_reaches_no_package(module: str) -> None:
    assert f"appliance.{module}" in MODULES
    modules = reached([f"appliance.{module}"])
    assert {package_of(other) for other in modules} <= COMMON | {"appliance"}


def test_the_gateway_reaches_no_model_runtime() -> None:
    runtimes = {"torch", "vllm", "transformers", "xllamacpp", "onnxruntime", "misaki", "kokoro"}
    assert libraries(reached([PROCESSES["gateway"][0], *door()])).isdisjoint(runtimes)


def test_frames_that_processors_share_are_in_one_file() -> None:
    elsewhere = [
        f"{module}.{node.name}"
        for module in APPLIANCE
        if package_of(module) == "gateway" and module != "appliance.gateway.frames"
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and any(ast.unparse(base).endswith("Frame") for base in node.bases)
    ]
    assert not elsewhere


def test_folders_of_the_gateway_do_not_import_in_a_circle() -> None:
    folders: dict[str, set[str]] = defaultdict(set)
    for module in APPLIANCE:
        parts = module.split(".")
        if parts[1:2] == ["gateway"] and len(parts) == 4:
            others = (module_of(name).split(".") for name in imports(module))
            folders[parts[2]] |= {o[2] for o in others if o[1:2] == ["gateway"] and len(o) == 4}
    assert set(folders) == {"generation", "http", "realtime", "speech", "turns"}
    while free := {name for name in folders if not folders[name] - {name} & set(folders)}:
        for name in free:
            del folders[name]
    assert not folders, f"in a circle: {dict(folders)}"


def test_a_real_gateway_process_loads_no_engine() -> None:
    """As above, but after the imports have run: it also sees what is imported by name."""
    program = "import sys, appliance.__main__, appliance.gateway.server; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = set(loaded.stdout.split())
    assert "appliance.gateway.session" in names
    unwanted = ("appliance.engines", "appliance.console", "appliance.acceptance", "client", "ops")
    assert not [name for name in names if name.startswith(unwanted)]
    assert names.isdisjoint({"torch", "vllm", "xllamacpp", "misaki", "spacy"})


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_loaded_only_in_the_packages_that_need_it(library: str) -> None:
    users = {
        package_of(m) for m in APPLIANCE if library in {name.split(".")[0] for name in imports(m)}
    }
    assert users <= LIBRARIES[library]


@pytest.mark.parametrize("module", [m for m in MODULES if m.split(".")[0] == "client"])
def test_the_client_imports_nothing_of_the_server(module: str) -> None:
    packages = {name.split(".")[0] for name in imports(module)}
    assert packages.isdisjoint({"appliance", "ops", "pipecat", "torch", "onnxruntime", "fastapi"})


@pytest.mark.parametrize("module", APPLIANCE)
def test_the_appliance_imports_nothing_of_the_tests_or_the_connected_side(module: str) -> None:
    packages = {name.split(".")[0] for name in imports(module)}
    unwanted = {"client", "ops", "tests", "pytest", "phonemizer", "espeakng_loader"}
    if package_of(module) in ("acceptance", "gpu_proof"):
        unwanted -= {"client"}  # they call the appliance as its users do
    assert packages.isdisjoint(unwanted)


@pytest.mark.parametrize("module", PURE)
def test_a_module_that_promises_no_io_keeps_it(module: str) -> None:
    assert libraries([module]).isdisjoint(IO)
    ours = {other for other in map(module_of, imports(module)) if other} - TYPES_ONLY
    impure = {other for other in ours if libraries(reached([other]) - TYPES_ONLY) & IO}
    assert not impure


@pytest.mark.parametrize("module", [m for m in APPLIANCE if package_of(m) == "gpu_proof"])
def test_gpu_proof_does_not_import_the_acceptance_test(module: str) -> None:
    """The acceptance test writes the proof's record, so the proof must not import it."""
    ours = {package_of(other) for other in map(module_of, imports(module)) if other}
    assert "acceptance" not in ours


def test_decisions_are_in_modules_without_io() -> None:
    """The promise is used: it holds for the packages whose decisions tests have to reach."""
    packages = {package_of(module) for module in PURE}
    assert packages >= {"gateway", "link", "supervision", "console", "gpu", "acceptance"}


@pytest.mark.parametrize("module", MODULES)
def test_the_environment_is_read_at_the_door(module: str) -> None:
    reads = [
        node.lineno
        for node in ast.walk(tree(module))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"))
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]
    assert not reads or module.endswith("__main__") or module in ENVIRONMENT


def test_a_class_name_stands_for_one_thing() -> None:
    places = defaultdict(list)
    for module in MODULES:
        for node in tree(module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_docstring(module: str) -> None:
    assert docstring(module)


INDEX_LINE = re.compile(r"^ *(\w+)  +\S", re.MULTILINE)


@pytest.mark.parametrize(
    "package",
    [m for m in MODULES if MODULES[m].name == "__init__.py" and INDEX_LINE.search(docstring(m))],
)
def test_a_package_that_lists_its_modules_lists_all_of_them(package: str) -> None:
    below = {
        m.removeprefix(f"{package}.").split(".")[0] for m in MODULES if m.startswith(f"{package}.")
    }
    assert sorted(INDEX_LINE.findall(docstring(package))) == sorted(below - {"__main__"})
