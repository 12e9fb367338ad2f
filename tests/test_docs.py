"""The documents match the code, and a newcomer finds what they look for in two hops from README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.commands import COMMANDS
from appliance.settings import Settings, walk
from client.config import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
# What the changelog names may be gone.
PRESENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
SETTINGS = {f"VOICE_{section}_{name}".upper() for section, name, _ in walk(Settings())}
OTHERS = {"VOICE_CONFIG", "VOICE_PROFILE", "VOICE_NAME", "VOICE_SECTION_NAME"}  # two: any
OTHERS |= set(ENVIRONMENT)  # of the client
EXAMPLE = "appliance/gateway/generation/opening_hours.py"  # tools.md shows how to write it
SCRIPTS = {
    path.name: path.read_text("utf-8") for path in (ROOT / "ops").iterdir() if path.is_file()
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


# A newcomer's question, and the page and heading that answer it.
ANSWERS = {
    "change the voice": ("CONTRIBUTING.md", "Change the voice, or add one"),
    "add a tool": ("docs/tools.md", "Add a tool"),
    "swap the TTS": ("CONTRIBUTING.md", "Swap the TTS"),
    "add an engine": ("CONTRIBUTING.md", "Add an LLM engine"),
    "why a call ended": ("docs/client-protocol.md", "Close codes"),
    "add a metric": ("CONTRIBUTING.md", "Add a metric"),
    "add a setting": ("CONTRIBUTING.md", "Add a setting"),
    "where an interruption is decided": ("docs/architecture.md", "Interruption"),
    "run one test": ("CONTRIBUTING.md", "Run one test"),
    "what is promised about security": ("docs/security.md", "Callers"),
    "what the audit log proves": ("docs/security.md", "The audit log"),
    "which languages": ("CONTRIBUTING.md", "Add a language"),
}


@pytest.fixture(params=PRESENT, ids=lambda path: path.name)
def page(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_every_setting_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"\bVOICE_[A-Z_]+[A-Z]\b", page))
    assert named - SETTINGS - OTHERS == set()


def test_every_verb_that_is_named_exists(page: str) -> None:
    assert set(re.findall(r"python -m appliance ([a-z][a-z-]*)", page)) <= COMMANDS.keys()
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page, re.MULTILINE)) <= targets
    header = SCRIPTS["voicectl"].partition("\nHERE=")[0]
    for verb in set(
        re.findall(r"(?:^ *|`)voicectl (?:--instance [N0-9]+ )?([a-z][a-z-]*)", page, re.MULTILINE)
    ):
        assert re.search(rf"^#   (?:[a-z]+ \| )?{verb}\b", header, re.MULTILINE), verb


def test_every_option_of_a_script_of_ops_exists(page: str) -> None:
    typed = re.findall(
        r"(?:ops/|\./|voicectl )(import|export|preflight|smoke-test)((?: --?[^ `#\n]+)*)", page
    )
    for script, options in typed:
        for option in re.findall(r"--[a-z-]+", options):
            assert option in SCRIPTS[script], f"{script} {option}"


def headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.+?) *$", path.read_text(encoding="utf-8"), re.MULTILINE)


def anchor(heading: str) -> str:
    """The fragment that a repository's host makes of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def links(path: Path) -> list[tuple[Path, str]]:
    """The pages that a page links to, each with a fragment or ""."""
    found = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", path.read_text(encoding="utf-8"))
    return [((path.parent / name).resolve() if name else path, part) for name, part in found]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_page_and_a_heading(path: Path) -> None:
    for target, fragment in links(path):
        assert target.exists(), target
        if fragment:
            assert fragment in map(anchor, headings(target)), f"{target.name}#{fragment}"


@pytest.mark.parametrize("path", PRESENT, ids=lambda path: path.name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    folders = "appliance|client|ops|tests|docs|requirements"
    for name in set(re.findall(rf"`((?:{folders})/[\w./-]+)`", page)) - {EXAMPLE}:
        assert (ROOT / name.replace("PROFILE", "cpu").replace("NAME/", "")).exists(), name
    # Shortened: below appliance/.
    for name in set(re.findall(r"`((?:gateway|link|engines)/[\w./-]+\.py)`", page)):
        assert (ROOT / "appliance" / name).exists(), name


@pytest.mark.parametrize("question", ANSWERS)
def test_a_newcomers_question_is_answered_within_two_hops_of_the_readme(question: str) -> None:
    name, heading = ANSWERS[question]
    target = ROOT / name
    readme = ROOT / "README.md"
    one = {page for page, _ in links(readme) if page.suffix == ".md"}
    two = {page for first in one for page, _ in links(first)}
    assert target in one | two
    assert heading in headings(target)


def test_every_page_is_listed_by_task() -> None:
    entrance = ROOT / "docs" / "README.md"
    listed = {page for page, _ in links(entrance)} | {entrance}
    assert sorted(set((ROOT / "docs").glob("*.md")) - listed) == []
