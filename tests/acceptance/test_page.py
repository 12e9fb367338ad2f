"""The page that is read and printed."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser

from appliance.acceptance.page import html
from appliance.acceptance.report import Report, from_tree, to_tree

VOID = {"meta", "br", "path", "rect", "circle"}


class Reader(HTMLParser):
    """Notes every tag and attribute, and whether tags are closed in order."""

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


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_is_well_formed_and_stands_alone(report: Report) -> None:
    reader = read(html(report))
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    names = {name for name, _ in reader.attributes}
    assert not {"src", "href", "srcset"} & names
    assert not [name for name in names if name.startswith("on")]
    assert "http://" not in html(report)
    assert "url(" not in html(report)
    assert "@import" not in html(report)


def test_it_names_what_was_tested_and_where(report: Report) -> None:
    text = read(html(report)).text
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


def test_a_report_that_passed_says_so(report: Report) -> None:
    good = [result for result in report.results if result.state != "fail"]
    assert "Accepted" in read(html(dataclasses.replace(report, results=good))).text


def test_the_page_can_be_made_of_the_json_later(report: Report) -> None:
    assert html(from_tree(json.loads(json.dumps(to_tree(report))))) == html(report)


def test_a_report_without_a_call_is_a_page_too(report: Report) -> None:
    about = {**report.about, "cards": [], "no_card_because": "no driver", "image_id": ""}
    bare = dataclasses.replace(report, about=about, turns=[], stops=[])
    reader = read(html(bare))
    assert "svg" not in reader.tags
    assert "none: no driver" in reader.text
