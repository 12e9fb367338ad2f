"""The seal over our code and packages: what breaks it, and how the start is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import code_seal
from appliance.code_seal import Broken, CodeList
from appliance.errors import SealBroken

SITE = "opt/voice/venv/lib/python3.11/site-packages"
LIST = "opt/voice/code.list"
LAUNCHER = Path(code_seal.__file__)


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small image: our code, a package, a link, a program, weights, and the list of it all."""
    write(tmp_path, "opt/voice/appliance/boot.py", "started = True\n")
    write(tmp_path, f"{SITE}/package/__init__.py", "value = 1\n")
    write(tmp_path, f"{SITE}/package/native.so", "machine code")
    write(tmp_path, "opt/voice/weights/model.gguf", "weights")
    write(tmp_path, "usr/bin/espeak-ng", "program")
    write(tmp_path, "usr/lib/python3.11/json.py", "loads = None\n")
    (tmp_path / "opt/voice/venv/lib64").symlink_to("lib")
    entries = code_seal.collect(
        [str(tmp_path)], (*code_seal.CLOSED, *code_seal.OPEN), code_seal.EXCEPT
    )
    text = code_seal.render(CodeList(code_seal.CLOSED, code_seal.EXCEPT, entries))
    write(tmp_path, LIST, text)
    return tmp_path


def verify(root: Path, full: bool = True, processes: int = 2) -> code_seal.CodeReport:
    return code_seal.verify(str(root / LIST), str(root), full, processes)


def test_untouched_files_are_intact_and_the_weights_are_not_read(root: Path) -> None:
    (root / "opt/voice/weights/model.gguf").write_text("other weights")
    report = verify(root)
    assert report.files == 5
    assert report.list_sha256 == hashlib.sha256((root / LIST).read_bytes()).hexdigest()
    assert "every byte read" in str(report)


@pytest.mark.parametrize("processes", [1, 2, 16])
@pytest.mark.parametrize(
    "name",
    [
        "opt/voice/appliance/boot.py",
        f"{SITE}/package/__init__.py",
        f"{SITE}/package/native.so",
        "usr/bin/espeak-ng",
        "usr/lib/python3.11/json.py",
    ],
)
def test_changed_byte_is_named(root: Path, name: str, processes: int) -> None:
    path = root / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "sizes and names only" in str(verify(root, full=False))
    with pytest.raises(Broken, match=f"^/{name} was changed"):
        verify(root, processes=processes)


def test_changed_size_is_named_without_reading(root: Path) -> None:
    write(root, "opt/voice/appliance/boot.py", "started = False\n")
    with pytest.raises(Broken, match=r"^/opt/voice/appliance/boot.py has 16 bytes instead of 15"):
        verify(root, full=False)


@pytest.mark.parametrize("name", ["opt/voice/appliance/boot.py", "usr/bin/espeak-ng"])
def test_missing_file_is_named(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(Broken, match=f"^/{name} is missing"):
        verify(root)


@pytest.mark.parametrize(
    "name",
    [
        "opt/voice/sitecustomize.py",
        "opt/voice/appliance/extra.so",
        f"{SITE}/evil.pth",
        f"{SITE}/package/__pycache__/__init__.cpython-311.pyc",
        "usr/lib/python3.11/extra.py",
        "usr/lib/python3/dist-packages/extra.py",
        "usr/local/lib/python3.11/dist-packages/extra.py",
    ],
)
def test_unlisted_file_that_python_could_load_is_named(root: Path, name: str) -> None:
    write(root, name, "x")
    with pytest.raises(Broken, match=f"^/{name} is not listed"):
        verify(root)


def test_unlisted_link_to_a_folder_is_named(root: Path, tmp_path_factory: object) -> None:
    (root / SITE / "linked").symlink_to(root / "usr")
    with pytest.raises(Broken, match="/linked is not listed"):
        verify(root)


def test_folder_of_links_cannot_replace_a_listed_folder(root: Path) -> None:
    (root / SITE / "package").rename(root / "elsewhere")
    (root / SITE / "package").symlink_to(root / "elsewhere")
    with pytest.raises(Broken, match="/package is not listed"):
        verify(root)


def test_link_to_something_else_is_named(root: Path) -> None:
    (root / "opt/voice/venv/lib64").unlink()
    (root / "opt/voice/venv/lib64").symlink_to("bin")
    with pytest.raises(Broken, match="/lib64 is not the link to lib that is listed"):
        verify(root)


def test_link_in_place_of_a_file_is_named(root: Path) -> None:
    path = root / "opt/voice/appliance/boot.py"
    path.rename(root / "same.py")
    path.symlink_to(root / "same.py")
    with pytest.raises(Broken, match=r"/boot.py is not a plain file"):
        verify(root)


def test_driver_that_the_engine_mounts_is_allowed(root: Path) -> None:
    write(root, "usr/lib/x86_64-linux-gnu/libcuda.so.1", "driver")
    write(root, "usr/bin/nvidia-smi", "program")
    verify(root)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text[: len(text) // 2], "is damaged: line"),
        (lambda text: text + text.splitlines()[-1], "is listed twice"),
        (lambda text: text + "other\tentry\n", "is not an entry"),
        (lambda text: "", "is damaged: line 1"),
    ],
    ids=["cut", "repeated", "unknown", "empty"],
)
def test_damaged_list_breaks_the_seal(
    root: Path, change: Callable[[str], str], expected: str
) -> None:
    (root / LIST).write_text(change((root / LIST).read_text()))
    with pytest.raises(Broken, match=expected):
        verify(root)


def test_missing_list_breaks_the_seal(root: Path) -> None:
    (root / LIST).unlink()
    with pytest.raises(Broken, match="cannot be read"):
        verify(root)


def test_name_that_the_list_cannot_hold_is_refused() -> None:
    entries = {"/opt/voice/a\nb": code_seal.CodeEntry("00", 1)}
    with pytest.raises(ValueError, match="end of a line"):
        code_seal.render(CodeList((), (), entries))


def test_list_survives_rendering_and_parsing(root: Path) -> None:
    text = (root / LIST).read_text()
    assert code_seal.render(code_seal.parse(text)) == text


def test_files_of_a_later_root_replace_those_of_an_earlier_one(tmp_path: Path) -> None:
    for name, text in (("one", "1"), ("two", "22")):
        write(tmp_path, f"{name}/usr/bin/tool", text)
    roots = [str(tmp_path / name) for name in ("one", "two")]
    entries = code_seal.collect(roots, ["/usr/bin"])
    assert [(path, entry.size_bytes) for path, entry in entries.items()] == [("/usr/bin/tool", 2)]


def test_report_reaches_boot_through_the_environment(root: Path) -> None:
    report = verify(root)
    decoded = code_seal.decode(report.encode())
    assert decoded is not None
    assert (decoded.list_sha256, decoded.files) == (report.list_sha256, report.files)
    assert code_seal.decode("") is None
    assert code_seal.decode("a b c d") is None


def test_development_checkout_is_not_sealed() -> None:
    assert not code_seal.is_sealed()


# The launcher


def start(run: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the image's first process on this machine, which has no list of code."""
    command = [sys.executable, "-I", "-S", "-B", str(LAUNCHER), "start", *arguments]
    environ = {"PATH": os.environ["PATH"], "VOICE_PATHS_RUN": str(run)}
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.skipif(Path(code_seal.LIST_PATH).exists(), reason="this machine has a list of code")
def test_start_is_refused_in_the_words_of_the_catalogue(tmp_path: Path) -> None:
    done = start(tmp_path / "run", "boot")
    expected = SealBroken(what=f"{code_seal.LIST_PATH} cannot be read: No such file or directory")
    reason = {
        "reason": expected.reason,
        "what": str(expected),
        "advice": expected.advice,
        "exit_code": expected.exit_code,
    }
    assert done.returncode == expected.exit_code
    line = json.loads(done.stdout)
    assert {name: line[name] for name in reason} == reason
    assert (line["level"], line["event"]) == ("critical", "stopped by an error")
    assert json.loads((tmp_path / "run/reason.json").read_text()) == reason


def test_launcher_loads_nothing_that_python_would_not_load_anyway() -> None:
    """What runs before the check could itself be changed, so it is little."""
    program = (
        "import sys; before = set(sys.modules); __name__ = 'code_seal';"
        f"exec(compile(open({str(LAUNCHER)!r}).read(), 'code_seal', 'exec'));"
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    of_os = {"os", "os.path", "posixpath", "genericpath", "stat", "_stat", "_collections_abc"}
    of_hashlib = {"hashlib", "_hashlib", "_blake2"}
    assert set(done.stdout.split()) <= of_os | of_hashlib | {"__future__"}


@pytest.mark.parametrize("text", ["plain", 'a "quoted" \\ name', "line\nend", "é 世 🙂", "\udcff"])
def test_reason_is_valid_json_whatever_the_name_of_the_file(text: str) -> None:
    values = {"what": text, "exit_code": 79}
    assert json.loads(code_seal._render_json(values)) == values
