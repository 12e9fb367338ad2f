"""The check of the code: the processes must have started with the list that is there now."""

from __future__ import annotations

from appliance.acceptance.seal import judge_code
from appliance.code_seal import CodeReport

NOW = CodeReport("c0de" * 16, 17_474, 793_000_000, 2.1, full=True)


def test_code_that_the_processes_started_with_passes() -> None:
    (result,) = judge_code(NOW, NOW.list_sha256)
    assert result.state == "pass"
    assert "17474 files" in result.found


def test_start_with_another_list_or_without_a_check_fails() -> None:
    for at_start in ("0" * 64, ""):
        (result,) = judge_code(NOW, at_start)
        assert result.state == "fail"
        assert f"the processes started with {at_start[:16] or 'none'}" in result.found


def test_development_checkout_has_no_result() -> None:
    assert judge_code(None, "") == []
