"""The page's languages, as Python values."""

from __future__ import annotations

import json
import re
from typing import Any

from appliance.gateway.http.page import FOLDER

LANGUAGES = sorted(path.stem for path in (FOLDER / "strings").glob("*.js"))


def strings_of(tag: str) -> dict[str, Any]:
    """Return the strings of a language. Its file is JSON apart from quotes and final commas."""
    text = (FOLDER / f"strings/{tag}.js").read_text()
    body = text[text.index("strings = ") + len("strings = ") : text.rindex(";")]
    body = re.sub(r"^(\s*)(\w+):", r'\1"\2":', body, flags=re.MULTILINE)
    found: dict[str, Any] = json.loads(re.sub(r",(\s*[}\]])", r"\1", body))
    return found
