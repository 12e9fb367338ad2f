"""The verb: what it is told, and what becomes of a check that cannot be made."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import sys
from pathlib import Path

import pytest

from appliance.acceptance import run, site
from appliance.acceptance.report import Report, Result, to_tree
from appliance.acceptance.site import Site
from appliance.errors import BadSetting, EngineGone
from appliance.settings import Settings, load
from client.errors import CallRefused

LOCK = Path(__file__).parents[2] / "image-manifest.lock"


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    site.options(parser)
    return parser.parse_args(words)


@pytest.fixture
def given(tmp_path: Path) -> Settings:
    (tmp_path / "token").write_text("a-token-of-sixteen")
    return load(
        {
            "VOICE_GATEWAY_TOKEN_FILE": str(tmp_path / "token"),
            "VOICE_GATEWAY_PORT": "1",  # nobody listens there
            "VOICE_PATHS_RUN": str(tmp_path),
            "VOICE_PATHS_WEIGHTS": str(tmp_path / "weights"),
            "VOICE_PATHS_LOCK": str(LOCK),
        }
    )


def test_an_appliance_that_is_not_there_is_not_accepted_and_nothing_crashes(
    given: Settings,
) -> None:
    told: list[Result] = []
    report = asyncio.run(run.accept(given, asked("--wait=0"), told.append))
    assert not report.passed
    assert told == report.results
    failed = {result.check for result in report.results if result.state == "fail"}
    assert {"ready", "seal"} <= failed
    skipped = {result.check for result in report.results if result.state == "skipped"}
    assert {"conversation", "interruption", "overload", "metrics"} <= skipped


def test_a_host_that_nobody_knows_is_named(given: Settings) -> None:
    words = asked("--wait=0", "--url=wss://nobody.invalid/", "--skip=seal")
    report = asyncio.run(run.accept(given, words, lambda _result: None))
    (ready,) = [result for result in report.results if result.check == "ready"]
    assert "nobody.invalid" in ready.found


def test_what_is_printed_as_json_is_the_report(
    given: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(given, asked("--json", "--wait=0", "--host=ward-7")) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["about"]["host"] == "ward-7"
    assert "NOT ACCEPTED" in printed.err


def test_the_page_is_made_of_a_report_on_stdin(
    given: Settings,
    report: Report,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(to_tree(report))))
    assert run.main(given, asked("--page")) == 0
    assert capsys.readouterr().out.startswith("<!DOCTYPE html>")
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))
    with pytest.raises(BadSetting, match="no report"):
        run.main(given, asked("--page"))


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (EngineGone(engine="tts"), "tts engine cannot be reached"),
        (CallRefused("wrong or missing access token (401)."), "401"),
        (TimeoutError(), "TimeoutError"),
        (ConnectionError("no answer from x"), "no answer from x"),
    ],
)
async def test_a_check_that_cannot_be_made_has_failed_with_the_reason(
    problem: Exception, words: str
) -> None:
    async def check(_site: Site) -> list[Result]:
        raise problem

    (result,) = await run._made("overload", None, check, frozenset())  # type: ignore[arg-type]
    assert result.state == "fail"
    assert words in result.found


async def test_a_check_that_hangs_is_ended_and_says_after_how_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def check(_site: Site) -> list[Result]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(run, "CHECK_SECONDS", 0.01)
    (result,) = await run._made("overload", None, check, frozenset())  # type: ignore[arg-type]
    assert (result.state, result.found) == ("fail", "not through after 0.01 s")


async def test_a_defect_of_ours_is_no_result() -> None:
    async def check(_site: Site) -> list[Result]:
        raise AssertionError

    with pytest.raises(AssertionError):
        await run._made("overload", None, check, frozenset())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words", [["--limit=recovery"], ["--limit=x=1"], ["--limit=recovery=fast"]]
)
def test_a_wish_that_is_not_understood_is_refused(given: Settings, words: list[str]) -> None:
    with pytest.raises(BadSetting):
        asyncio.run(run.accept(given, asked(*words), lambda _result: None))


def test_every_check_can_be_left_out_by_its_name(given: Settings) -> None:
    everything = asked("--skip", ",".join(site.NAMES), "--kill")
    report = asyncio.run(run.accept(given, everything, lambda _result: None))
    assert report.passed
    assert {result.state for result in report.results} == {"skipped"}
    assert {result.check for result in report.results} == set(site.NAMES)
