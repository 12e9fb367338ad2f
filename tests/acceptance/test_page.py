"""The report as an HTML page."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser

from appliance.acceptance.page import render
from appliance.acceptance.report import AcceptanceReport, from_tree, to_tree


class PageParser(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def parse(page: str) -> PageParser:
    parser = PageParser()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_page_is_well_formed_and_references_no_other_file(report: AcceptanceReport) -> None:
    parsed = parse(render(report))
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    names = {name for name, _ in parsed.attributes}
    assert not {"src", "href", "srcset"} & names
    assert not [name for name in names if name.startswith("on")]
    assert "http://" not in render(report)
    assert "url(" not in render(report)
    assert "@import" not in render(report)


def test_page_names_what_was_tested_and_where(report: AcceptanceReport) -> None:
    text = parse(render(report)).text
    for word in (
        report.about["image_id"],
        report.about["lock_sha256"],
        "ward-7 <main>",
        "NVIDIA L4",
        "580.65.06",
        "2026-11-22 12:00:00 UTC",
        "Not accepted",
        "Look at <b>the card</b>.",
        "The capital of France is Paris.",
        "report_signers",
    ):
        assert word in text


def test_page_of_a_passed_report_says_accepted(report: AcceptanceReport) -> None:
    not_failed = [result for result in report.results if result.state != "fail"]
    assert "Accepted" in parse(render(dataclasses.replace(report, results=not_failed))).text


def test_page_from_json_equals_page_from_the_report(report: AcceptanceReport) -> None:
    assert render(from_tree(json.loads(json.dumps(to_tree(report))))) == render(report)


def test_report_without_a_call_is_a_page_without_plots(report: AcceptanceReport) -> None:
    about = {**report.about, "cards": [], "no_card_because": "no driver", "image_id": ""}
    bare = dataclasses.replace(report, about=about, turns=[], barge_in_stop_seconds=[])
    parsed = parse(render(bare))
    assert "svg" not in parsed.tags
    assert "none: no driver" in parsed.text
