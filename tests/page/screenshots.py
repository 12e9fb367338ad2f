"""Save a picture of every state of the page: python -m tests.page.screenshots FOLDER [STATE...].

On a desktop and a phone, light and dark, in each language: FOLDER/STATE-SIZE-SCHEME-LANGUAGE.png.
To be looked at; no test compares them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from pathlib import Path

from tests.page.chromium import Browser, Tab
from tests.page.files import served
from tests.page.states import STATES, show
from tests.page.strings import LANGUAGES

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
SCHEMES = ("light", "dark")


async def take(tab: Tab, url: str, state: str, language: str, folder: Path) -> None:
    """Save the pictures of one state in one language."""
    await tab.open(url)
    await tab.evaluate(
        f"localStorage.setItem('voice-appliance', JSON.stringify({{language: '{language}'}}))"
    )
    for (size, (width, height)), scheme in itertools.product(SIZES.items(), SCHEMES):
        await tab.resize(width, height)
        await tab.prefer(scheme)
        await tab.open(url)
        await show(tab, state)
        path = folder / f"{state}-{size}-{scheme}-{language}.png"
        await tab.screenshot(path, width, height)


async def take_all(folder: Path, states: list[str], languages: list[str]) -> None:
    """Save the pictures of these states."""
    browser = Browser()
    try:
        with served() as url:
            async with browser.tab() as tab:
                for state, language in itertools.product(states, languages):
                    await take(tab, url, state, language, folder)
    finally:
        browser.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.page.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("states", nargs="*", metavar="STATE", help=f"of {', '.join(STATES)}")
    parser.add_argument("--language", choices=LANGUAGES, help="only this one")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    languages = [args.language] if args.language else LANGUAGES
    asyncio.run(take_all(args.folder, args.states or list(STATES), languages))


if __name__ == "__main__":
    main()
