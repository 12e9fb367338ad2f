"""Running the checks: order, skipped checks, and checks that cannot be completed."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from appliance.acceptance import run
from appliance.acceptance.context import AcceptanceContext
from appliance.acceptance.options import CHECKS, add_options, parse
from appliance.acceptance.report import AcceptanceReport, CheckResult, to_tree
from appliance.errors import BadSetting, EngineGone
from appliance.settings import Settings, load
from client.errors import CallRefused

LOCK = Path(__file__).parents[2] / "image-manifest.lock"


def parse_words(*words: str) -> Namespace:
    parser = ArgumentParser()
    add_options(parser)
    return parser.parse_args(words)


def accept(settings: Settings, *words: str) -> AcceptanceReport:
    options = parse(parse_words(*words))
    return asyncio.run(run.accept(settings, options, lambda _result: None))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "token").write_text("a-token-of-sixteen")
    return load(
        {
            "VOICE_GATEWAY_TOKEN_FILE": str(tmp_path / "token"),
            "VOICE_GATEWAY_PORT": "1",  # nothing listens on this port
            "VOICE_PATHS_RUN": str(tmp_path),
            "VOICE_PATHS_WEIGHTS": str(tmp_path / "weights"),
            "VOICE_PATHS_LOCK": str(LOCK),
        }
    )


def test_missing_appliance_is_not_accepted_and_calling_checks_are_skipped(
    settings: Settings,
) -> None:
    reported: list[CheckResult] = []
    options = parse(parse_words("--wait=0"))
    report = asyncio.run(run.accept(settings, options, reported.append))
    assert not report.passed
    assert reported == report.results
    failed = {result.check for result in report.results if result.state == "fail"}
    assert {"ready", "seal"} <= failed
    skipped = {result.check for result in report.results if result.state == "skipped"}
    assert {"conversation", "interruption", "overload", "metrics"} <= skipped


def test_unknown_host_is_named(settings: Settings) -> None:
    report = accept(settings, "--wait=0", "--url=wss://nobody.invalid/", "--skip=seal")
    (ready,) = [result for result in report.results if result.check == "ready"]
    assert "nobody.invalid" in ready.found


def test_json_report_is_printed_on_stdout_and_results_on_stderr(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(settings, parse_words("--json", "--wait=0", "--host=ward-7")) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["about"]["host"] == "ward-7"
    assert "NOT ACCEPTED" in printed.err


def test_replaced_limits_are_in_the_report(settings: Settings) -> None:
    report = accept(settings, "--wait=0", "--limit=recovery=5", "--skip=seal")
    assert report.limits["recovery"] == 5
    assert report.limits["agreement"] == 0.7


def test_page_is_rendered_from_a_report_on_stdin(
    settings: Settings,
    report: AcceptanceReport,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(to_tree(report))))
    assert run.main(settings, parse_words("--page")) == 0
    assert capsys.readouterr().out.startswith("<!DOCTYPE html>")
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))
    with pytest.raises(BadSetting, match="not a report"):
        run.main(settings, parse_words("--page"))


async def run_raising(error: BaseException) -> CheckResult:
    async def check(_context: AcceptanceContext) -> list[CheckResult]:
        raise error

    (result,) = await run.run_check("overload", check, None)  # type: ignore[arg-type]
    return result


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (EngineGone(engine="tts"), "tts engine cannot be reached"),
        (CallRefused("wrong or missing access token (401)."), "401"),
        (TimeoutError(), "TimeoutError"),
        (ConnectionError("no answer from x"), "no answer from x"),
    ],
)
async def test_check_that_raises_an_error_fails_with_the_reason(
    error: Exception, found: str
) -> None:
    result = await run_raising(error)
    assert result.state == "fail"
    assert found in result.found


async def test_check_that_hangs_is_stopped_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(_context: AcceptanceContext) -> list[CheckResult]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(run, "CHECK_SECONDS", 0.01)
    (result,) = await run.run_check("overload", check, None)  # type: ignore[arg-type]
    assert (result.state, result.found) == ("fail", "not finished after 0.01 s")


async def test_bug_in_a_check_is_raised_instead_of_reported() -> None:
    with pytest.raises(AssertionError):
        await run_raising(AssertionError())


def test_every_check_can_be_skipped(settings: Settings) -> None:
    report = accept(settings, "--skip", ",".join(CHECKS), "--kill")
    assert report.passed
    assert {result.state for result in report.results} == {"skipped"}
    assert {result.check for result in report.results} == set(CHECKS)
