"""The runner of the test suite: what it reads from pytest, what it leaves out, its table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests import parts
from tests.conftest import SLOW_FIRST
from tests.parts import PARTS, Outcome

LOG = """
tests/a/test_b.py::test_c PASSED                                         [ 12%]
[gw1] [ 40%] FAILED tests/a/test_b.py::test_d[x y]
[gw0] [ 45%] ERROR tests/a/test_b.py::test_f
tests/a/test_b.py::test_e FAILED                                         [ 57%]
"""
JUNIT = """<testsuites><testsuite>
<testcase name="a" classname="tests.page.test_x" time="61.5"/><testcase name="b"/>
<testcase name="c"><failure message="m"/></testcase>
<testcase name="d"><error message="m"/></testcase>
<testcase name="e"><skipped message="Skipped: no card"/></testcase>
</testsuite></testsuites>"""


def test_progress_is_the_last_figure_that_pytest_printed() -> None:
    assert parts.percent("collecting ...") == 0
    assert parts.percent(LOG) == 57


def test_failures_are_named_with_and_without_several_workers() -> None:
    assert parts.failures(LOG) == [
        f"tests/a/test_b.py::{test}" for test in ("test_d[x y]", "test_f", "test_e")
    ]


def test_details_begin_at_pytests_first_account_of_a_failure() -> None:
    log = f"{LOG}\n==== FAILURES ====\nbecause\n==== short test summary info ====\n"
    assert parts.details(log).startswith("==== FAILURES ====\nbecause")
    assert parts.details("only\nthis") == "only\nthis"


def test_a_report_is_counted_by_outcome_and_skips_by_reason(tmp_path: Path) -> None:
    report = tmp_path / "core.xml"
    report.write_text(JUNIT)
    outcome = parts.read_report(report)
    assert (outcome.passed, outcome.failed) == (2, 2)
    assert outcome.skipped == Counter({"no card": 1})
    assert outcome.folders["page"] == 61.5
    assert not outcome.ok


def test_the_table_ends_with_the_sum_and_says_what_was_left_out_and_why() -> None:
    text = parts.table(
        {
            "core": Outcome(
                passed=10,
                seconds=245.0,
                skipped=Counter({"no card": 2}),
                folders={"page": 120.0, "stock": 30.0, "client": 20.0},
            ),
            "image": Outcome(left_out="not on this machine: podman"),
            "vllm": Outcome(broken="pytest ended with 4"),
        }
    )
    assert "4:05" in text
    assert "image left out: not on this machine: podman" in text
    assert "core skipped 2: no card" in text
    assert "core, page, stock clients, OpenAI's SDKs: 2:30 in tests/{page,stock,realtime}" in text
    assert text.splitlines()[-1] == "10 passed, 1 failed, 2 skipped"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["tests/gateway/test_wire.py"], "core"),
        (["-k", "wire"], "core"),
        (["-x", "tests/torch/test_weights.py"], "torch"),
        (["tests/torch/vllm"], "vllm"),
        (["tests/image/test_contents.py"], "image"),
        (["-k", "back", "tests/host"], "host"),
    ],
)
def test_a_path_is_run_in_the_environment_of_its_part(arguments: list[str], part: str) -> None:
    assert parts.part_of(arguments) == part


@pytest.mark.parametrize("path", SLOW_FIRST)
def test_path_of_slow_tests_exists(path: str) -> None:
    """Otherwise its tests would begin last, and one worker would run alone at the end."""
    assert (parts.ROOT / path).exists()


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose environments hold a pytest that reports two tests, one of them failed, and
    where vLLM cannot be installed."""
    for folder in (".venv", ".venv-torch"):
        program = tmp_path / folder / "bin" / "python"
        program.parent.mkdir(parents=True)
        program.write_text(
            "#!/usr/bin/env bash\n"
            'for word in "$@"; do [[ $word == --junit-xml=* ]] && report=${word#*=}; done\n'
            f"cat >\"$report\" <<'XML'\n{JUNIT}\nXML\n"
            "echo '[gw0] [ 50%] FAILED tests/a.py::test_c'\nexit 1\n"
        )
        program.chmod(0o755)
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops/setup-torch").write_text(f"#!/usr/bin/env bash\nexit {parts.NO_VLLM}\n")
    (tmp_path / "ops/setup-torch").chmod(0o755)
    monkeypatch.setattr(parts, "ROOT", tmp_path)
    monkeypatch.setattr(parts, "OUT", tmp_path / "out")
    monkeypatch.setattr(parts, "missing_image_tools", lambda: ["podman"])
    return tmp_path


def test_what_a_machine_cannot_run_is_left_out_and_said(
    suite: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert parts.main(["--image", "--vllm"]) == 0
    text = capfd.readouterr().out
    assert "image left out: not on this machine: podman" in text
    assert "the production engine was NOT tested" in text


def test_continuous_integration_fails_where_a_part_cannot_run(
    suite: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert parts.main(["--image", "--vllm"]) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "0 passed, 2 failed, 0 skipped"


def test_a_failed_test_is_named_and_fails_the_run(
    suite: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert parts.main(["--core"]) == 1
    text = capfd.readouterr().out
    assert "FAILED tests/a.py::test_c" in text
    assert text.splitlines()[-1] == "2 passed, 2 failed, 1 skipped"


def pytest_that_fails(suite: Path, *, alone: bool) -> None:
    """Makes the suite's pytest report two tests, one of them failed: each time, or only beside the
    other one."""
    again = "<failure/>" if alone else ""
    (suite / ".venv/bin/python").write_text(
        "#!/usr/bin/env bash\n"
        'for word in "$@"; do [[ $word == --junit-xml=* ]] && report=${word#*=}; done\n'
        "result='<failure/>' other='<testcase/>'\n"
        f"[[ ${{!#}} == tests/a.py::test_c ]] && other='' result='{again}'\n"
        'echo "<testsuite>$other<testcase>$result</testcase></testsuite>" >"$report"\n'
        "[[ $result ]] || exit 0\n"
        "echo '[gw0] [ 50%] FAILED tests/a.py::test_c '\nexit 1\n"
    )


def test_a_test_that_passes_alone_is_named_as_unstable(
    suite: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest_that_fails(suite, alone=False)
    assert parts.main(["--core"]) == 0
    text = capfd.readouterr().out
    assert "core UNSTABLE, failed and then passed alone: tests/a.py::test_c" in text
    assert text.splitlines()[-1] == "2 passed, 0 failed, 0 skipped"


def test_a_test_that_fails_alone_too_fails_the_run(
    suite: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest_that_fails(suite, alone=True)
    assert parts.main(["--core"]) == 1
    text = capfd.readouterr().out
    assert "UNSTABLE" not in text
    assert text.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"


def test_many_failures_get_no_second_run(
    suite: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "MOST_AGAIN", 0)
    pytest_that_fails(suite, alone=False)
    assert parts.main(["--core"]) == 1
    assert "once more alone" not in capfd.readouterr().out


def started(running: list[str], waiting: list[str]) -> str:
    """The name of the part that begins beside those that run."""
    part = parts.next_part([PARTS[name] for name in waiting], [PARTS[name] for name in running])
    return part.name if part else ""


@pytest.mark.parametrize(
    ("running", "waiting", "begins"),
    [
        ([], ["core", "appliance", "build"], "core"),
        (["core"], ["appliance", "build"], "appliance"),
        (["core", "appliance"], ["build", "drills"], "build"),  # core leaves room for two
        (["core", "appliance", "build"], ["drills", "models", "image"], ""),
        (["core", "build"], ["drills", "models"], "drills"),
        (["appliance", "build"], ["core", "drills"], "core"),
        (["drills"], ["image", "torch"], "torch"),  # not a second appliance
        (["drills"], ["image"], ""),
        (["build"], ["image", "torch"], "torch"),  # the image has to be built before
        (["torch"], ["build", "image"], "build"),
        (["torch"], ["image", "vllm"], "image"),  # also where nobody asked for --build
        (["image"], ["vllm", "host"], "vllm"),
        (["image", "vllm"], ["host"], ""),
        (["image"], [], ""),
    ],
)
def test_two_parts_work_at_a_time_but_never_two_appliances(
    running: list[str], waiting: list[str], begins: str
) -> None:
    assert started(running, waiting) == begins


def test_every_part_begins_in_the_end() -> None:
    waiting = list(PARTS)
    running: list[str] = []
    begun: list[str] = []
    while waiting or running:
        if name := started(running, waiting):
            waiting.remove(name)
            running.append(name)
            begun.append(name)
        else:
            del running[0]
    assert sorted(begun) == sorted(PARTS)


def test_every_folder_of_tests_is_in_one_part() -> None:
    ignored = {
        option.removeprefix("--ignore=")
        for option in PARTS["core"].options
        if option.startswith("--ignore=")
    }
    named = [path for part in PARTS.values() if part.name != "core" for path in part.paths]
    assert len(named) == len(set(named))
    outside = {path.split("/")[1] for path in named if path.count("/") == 1}
    assert {path.split("/")[1] for path in ignored if path.count("/") == 1} == outside
    assert {path for path in ignored if path.count("/") > 1} == set(parts.WHOLE)
    assert PARTS["image"].options == tuple(f"--ignore={path}" for path in PARTS["build"].paths)
    assert all((parts.ROOT / path).exists() for path in (*named, *ignored))
