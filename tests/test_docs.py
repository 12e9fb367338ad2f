"""What the pages tell to type, to set and to look at exists: nobody learns of a change too late."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.__main__ import VERBS
from appliance.settings import Settings, walk

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = {f"VOICE_{section}_{name}".upper() for section, name, _ in walk(Settings())}
OTHERS = {"VOICE_CONFIG", "VOICE_PROFILE", "VOICE_NAME"}  # the last one stands for any
EXAMPLE = "appliance/gateway/opening_hours.py"  # tools.md tells how to write it
SCRIPTS = {
    path.name: path.read_text("utf-8") for path in (ROOT / "ops").iterdir() if path.is_file()
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.fixture(params=PAGES, ids=lambda path: path.name)
def page(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_every_setting_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"\bVOICE_[A-Z_]+[A-Z]\b", page))
    assert named - SETTINGS - OTHERS == set()


def test_every_verb_that_is_named_exists(page: str) -> None:
    assert set(re.findall(r"python -m appliance ([a-z][a-z-]*)", page)) <= VERBS.keys()
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page, re.MULTILINE)) <= targets
    told = SCRIPTS["voicectl"].partition("\nHERE=")[0]
    for verb in set(re.findall(r"(?:^ *|`)voicectl ([a-z-]+)", page, re.MULTILINE)):
        assert re.search(rf"^#   (?:[a-z]+ \| )?{verb}\b", told, re.MULTILINE), verb


def test_every_option_of_a_script_of_ops_exists(page: str) -> None:
    typed = re.findall(
        r"(?:ops/|\./|voicectl )(import|export|preflight|smoke-test)((?: --?[^ `#\n]+)*)", page
    )
    for script, options in typed:
        for option in re.findall(r"--[a-z-]+", options):
            assert option in SCRIPTS[script], f"{script} {option}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page):
        assert (path.parent / link).exists(), link
    rooms = "appliance|client|ops|tests|docs|requirements"
    for name in set(re.findall(rf"`((?:{rooms})/[\w./-]+)`", page)) - {EXAMPLE}:
        assert (ROOT / name.replace("PROFILE", "cpu")).exists(), name
