"""Joins the metrics of several processes into one page. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families


def join(parts: Mapping[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """The page, and the parts left out of it with the reason: broken text, or a family twice.

    A scrape that holds one broken line or one family in two places is refused as a whole by
    Prometheus, and then nothing is seen; so the part that would cause it is left out.
    """
    pages: list[bytes] = []
    taken: set[str] = set()
    left_out: dict[str, str] = {}
    for source, text in parts.items():
        try:
            families = [family.name for family in text_string_to_metric_families(text.decode())]
        except (
            ValueError,
            KeyError,
            IndexError,
            TypeError,
        ):  # What the parser raises, by its code.
            left_out[source] = "broken"
            continue
        if len(set(families)) < len(families) or taken & set(families):
            left_out[source] = "collides"
            continue
        taken |= set(families)
        pages.append(text if text.endswith(b"\n") or not text else text + b"\n")
    return b"".join(pages), left_out
