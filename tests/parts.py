"""Runs the test suite in parts, shows how far each one is, and ends with a table.

`ops/test` sets the environment up and calls this. Two parts that use the processor run at a time,
in the order of `PARTS`, and beside them one that mostly waits; two whole appliances never do, see
`next_part`. Each part writes `.cache/test/PART.log` and `PART.xml` (JUnit). A few failed tests run
a second time, with nothing beside them, see `run_again`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / ".cache" / "test"
NO_VLLM = 3  # the exit code of ops/setup-torch where vLLM cannot be installed
POLL_SECONDS = 0.5
AT_A_TIME = 2  # parts, without those that mostly wait
MOST_AGAIN = 10  # failed tests that get a second run; more of them are not noise of the machine
REPORT_SECONDS = 30.0  # between two status lines where the output is not a terminal
IMAGE_TOOLS = ("podman", "buildah", "runc", "mmdebstrap", "strace", "ip", "curl", "zstd",
               "ssh-keygen")  # fmt: skip

_PERCENT = re.compile(r"\[ *(\d+)%\]")
_FAILED = re.compile(r"\] (?:FAILED|ERROR) (tests.+?) *$|^(tests.+?) (?:FAILED|ERROR) +\[", re.M)
_DETAILS = re.compile(r"^=+ (?:FAILURES|ERRORS) =+$", re.M)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the suite.

    options     pytest's
    torch       it runs in `.venv-torch`
    podman      it needs IMAGE_TOOLS
    appliance   it runs a whole appliance, which uses both cores
    waits       its tests mostly wait, for speech in real time; it runs beside two other parts
    after       the part that has to end before, if it runs at all
    """

    name: str
    title: str
    paths: tuple[str, ...]
    options: tuple[str, ...] = ()
    torch: bool = False
    podman: bool = False
    appliance: bool = False
    waits: bool = False
    after: str = ""


# Files that run a whole appliance, in folders whose other tests need none.
WHOLE = (
    "tests/acceptance/test_encrypted.py",
    "tests/acceptance/test_here.py",
    "tests/monitoring/test_live.py",
)
# Files that build the sealed image, or start it and see it refuse. No appliance takes calls in
# them, so they run beside one.
BUILD = (
    "tests/image/test_code_seal.py",
    "tests/image/test_contents.py",
    "tests/image/test_refusals.py",
    "tests/image/test_reproducible.py",
)
MODELS = ("tests/engines", "tests/voices")  # folders whose tests run models
OTHERS = ("drills", "e2e", "engines", "host", "image", "torch", "voices")  # folders not of core
PARTS = {  # in the order in which they begin
    part.name: part
    for part in (
        # Gateway, clients, browsers: 8 % of the time of tests/gateway is processor time (measured
        # on 2026-11-29, 723 tests).
        Part(
            "core",
            "everything that needs neither models, nor the image, nor PyTorch",
            ("tests",),
            (
                *(f"--ignore=tests/{name}" for name in OTHERS),
                *(f"--ignore={path}" for path in WHOLE),
                "-n2",
                "--dist=loadfile",
                "--no-loadscope-reorder",  # tests/conftest.py has a better order
            ),
            waits=True,
        ),
        Part(
            "appliance",
            "calls to the whole appliance",
            ("tests/e2e", *WHOLE),
            appliance=True,
        ),
        Part(
            "host",
            "voicectl, preflight, export and import on hosts with tiny images",
            ("tests/host",),
            ("-n2", "--dist=loadfile"),  # each file has hosts with image stores of their own
            podman=True,
        ),
        Part("drills", "faults of the running appliance", ("tests/drills",), appliance=True),
        Part("build", "building the sealed image, and what it refuses", BUILD, podman=True),
        Part(
            "models",
            "speech, language and voice models without an appliance",
            MODELS,
            ("-n2", "--dist=loadfile", "--no-loadscope-reorder"),
        ),
        Part(
            "image",
            "carrying and running the sealed image",
            ("tests/image",),
            tuple(f"--ignore={path}" for path in BUILD),
            podman=True,
            appliance=True,
            after="build",  # which fills the image store that both use
        ),
        Part(
            "torch",
            "Kokoro on PyTorch, and building the weights",
            ("tests/torch",),
            ("--ignore=tests/torch/vllm", "--ignore=tests/torch/e2e"),
            torch=True,
        ),
        Part(
            "vllm",
            "Ultravox under vLLM",
            ("tests/torch/vllm", "tests/torch/e2e"),
            torch=True,
        ),
    )
}


# Folders whose tests have a time of their own in the table, added up over all workers.
TIMED = {"page, stock clients, OpenAI's SDKs": ("page", "stock", "realtime")}


@dataclass(slots=True)
class Outcome:
    """What came of a part. `left_out` says why it did not run."""

    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    skipped: Counter[str] = field(default_factory=Counter)  # by reason
    folders: dict[str, float] = field(default_factory=dict)  # seconds of the tests in each folder
    left_out: str = ""
    broken: str = ""  # the part could not be set up, or pytest itself failed
    unstable: list[str] = field(default_factory=list)  # failed beside the others, passed alone

    @property
    def ok(self) -> bool:
        return not self.failed and not self.broken


def next_part(waiting: Sequence[Part], running: Sequence[Part]) -> Part | None:
    """The part that begins now, if any.

    Of two whole appliances at the same time, each is slower than its tests allow for.
    """
    unfinished = {part.name for part in (*waiting, *running)}
    working = [part for part in running if not part.waits]
    taken = any(part.appliance for part in running)
    for part in waiting:
        has_room = part.waits or len(working) < AT_A_TIME
        if has_room and not (part.appliance and taken) and part.after not in unfinished:
            return part
    return None


def part_of(arguments: Sequence[str]) -> str:
    """The part whose environment pytest needs for these arguments."""
    path = next((word for word in arguments if word.startswith("tests")), "")
    if path.startswith("tests/torch/test_"):
        return "torch"
    if path.startswith("tests/torch"):
        return "vllm"
    folder = path.split("/")[1] if "/" in path else ""
    return folder if folder in ("host", "image") else "core"  # the others share its environment


def percent(log: str) -> int:
    """How far pytest is, by the last figure in its output; 0 before the first."""
    figures = _PERCENT.findall(log)
    return int(figures[-1]) if figures else 0


def failures(log: str) -> list[str]:
    """The tests that have failed so far, in order."""
    return list(dict.fromkeys(a or b for a, b in _FAILED.findall(log)))


def details(log: str) -> str:
    """pytest's account of what failed: from the first heading of it to the end."""
    heading = _DETAILS.search(log)
    return log[heading.start() :] if heading else "\n".join(log.splitlines()[-25:])


def read_report(path: Path) -> Outcome:
    """Counts a JUnit file's tests. Raises OSError or ParseError where pytest left none."""
    outcome = Outcome()
    for case in ElementTree.parse(path).iter("testcase"):
        folder = f"{case.get('classname', '')}..".split(".")[1]  # tests.FOLDER.test_MODULE
        seconds = outcome.folders.get(folder, 0.0) + float(case.get("time", "0"))
        outcome.folders[folder] = seconds
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skipped is not None:
            outcome.skipped[skipped.get("message", "").removeprefix("Skipped: ")] += 1
        else:
            outcome.passed += 1
    return outcome


def clock(seconds: float) -> str:
    """Minutes and seconds: 4:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def table(outcomes: Mapping[str, Outcome]) -> str:
    """A row for each part, what was left out and why, and the sum alone on the last line."""
    head = f"{'part':10}{'passed':>8}{'failed':>8}{'skipped':>9}{'time':>8}  "
    rows = [head.rstrip()]
    notes = []
    for name, outcome in outcomes.items():
        if outcome.left_out:
            rows.append(f"{name:10}{'-':>8}{'-':>8}{'-':>9}{'-':>8}  LEFT OUT")
            notes.append(f"{name} left out: {outcome.left_out}")
            continue
        skipped = outcome.skipped.total()
        row = f"{name:10}{outcome.passed:8}{outcome.failed:8}{skipped:9}{clock(outcome.seconds):>8}"
        rows.append(row + ("" if outcome.ok else "  FAILED"))
        for title, folders in TIMED.items():
            if seconds := sum(outcome.folders.get(folder, 0.0) for folder in folders):
                notes.append(f"{name}, {title}: {clock(seconds)} in tests/{{{','.join(folders)}}}")
        notes += [f"{name} failed: {outcome.broken}"] if outcome.broken else []
        notes += [f"{name} UNSTABLE, failed and then passed alone: {t}" for t in outcome.unstable]
        notes += [f"{name} skipped {n}: {why}" for why, n in sorted(outcome.skipped.items())]
    passed = sum(outcome.passed for outcome in outcomes.values())
    failed = sum(outcome.failed + bool(outcome.broken) for outcome in outcomes.values())
    skipped = sum(outcome.skipped.total() for outcome in outcomes.values())
    total = f"{passed} passed, {failed} failed, {skipped} skipped"
    return "\n".join([*rows, *([""] if notes else []), *notes, "", total])


def missing_image_tools() -> list[str]:
    """What this machine lacks to build and run the image."""
    missing = [tool for tool in IMAGE_TOOLS if shutil.which(tool) is None]
    return missing + ([] if os.geteuid() == 0 else ["root"])


class Running:
    """One part's pytest, in a process group of its own, with its output in a file.

    With `tests`, only these tests of the part run, one after the other.
    """

    def __init__(self, part: Part, tests: Sequence[str] = ()) -> None:
        self.part = part
        self.began = time.monotonic()
        name = f"{part.name}-again" if tests else part.name
        selected = tests or (*part.options, *part.paths)
        self._log = OUT / f"{name}.log"
        self._report = OUT / f"{name}.xml"
        self._report.unlink(missing_ok=True)
        environ = dict(os.environ)
        if part.name == "vllm":
            # vLLM starts three processes, each of which would compile thousands of modules again.
            environ.pop("PYTHONDONTWRITEBYTECODE", None)
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [*pytest_of(part), "-vv", f"--junit-xml={self._report}", *selected],
                cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def done(self) -> bool:
        return self._process.poll() is not None

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def status(self) -> str:
        """`image 45 %, 3:10`."""
        return f"{self.part.name} {percent(self.log())} %, {clock(time.monotonic() - self.began)}"

    def outcome(self) -> Outcome:
        code = self._process.returncode
        try:
            outcome = read_report(self._report)
        except (OSError, ElementTree.ParseError):
            outcome = Outcome(broken=f"pytest ended with {code} and left no report")
        outcome.seconds = time.monotonic() - self.began
        if code not in (0, 1) and not outcome.broken:
            outcome.broken = f"pytest ended with {code}"
        return outcome

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def pytest_of(part: Part) -> list[str]:
    """The command line of pytest in the part's environment."""
    folder = ".venv-torch" if part.torch else ".venv"
    return [str(ROOT / folder / "bin" / "python"), "-m", "pytest"]


def set_up(part: Part) -> Outcome | None:
    """Makes what a part needs; returns an Outcome where the part cannot run.

    With CI set nothing may be left out: what is missing is then a failure.
    """
    why = ""
    if part.podman and (missing := missing_image_tools()):
        why = f"not on this machine: {', '.join(missing)} (.ci/run names the packages)"
    if part.torch:
        with (OUT / "setup-torch.log").open("ab") as log:
            made = subprocess.run([ROOT / "ops/setup-torch"], stdout=log, stderr=log, check=False)
        if made.returncode == NO_VLLM and part.name == "vllm":
            why = "vLLM cannot be installed here; the production engine was NOT tested"
        elif made.returncode not in (0, NO_VLLM):
            return Outcome(broken=f"ops/setup-torch failed, see {OUT / 'setup-torch.log'}")
    if not why:
        return None
    return Outcome(broken=why) if os.environ.get("CI") else Outcome(left_out=why)


class Screen:
    """Status of what runs: one line kept up to date on a terminal, else one now and then."""

    def __init__(self) -> None:
        self._next = 0.0
        self._terminal = sys.stdout.isatty()

    def say(self, text: str) -> None:
        print(f"\r\033[K{text}" if self._terminal else text, flush=True)

    def status(self, running: Iterable[Running]) -> None:
        text = "   ".join(part.status() for part in running)
        if self._terminal:
            print(f"\r\033[K{text}", end="", flush=True)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + REPORT_SECONDS
            print(text, flush=True)


def run(names: Sequence[str]) -> dict[str, Outcome]:
    """Runs the named parts, each as soon as `next_part` lets it begin."""
    outcomes: dict[str, Outcome] = {}
    screen = Screen()
    waiting = [part for part in PARTS.values() if part.name in names]
    running: list[Running] = []
    seen: set[str] = set()
    try:
        while waiting or running:
            while (part := next_part(waiting, [each.part for each in running])) is not None:
                waiting.remove(part)
                screen.say(f"{part.name}: {part.title}")
                if (unable := set_up(part)) is not None:
                    outcomes[part.name] = unable
                    screen.say(f"{part.name}: {unable.left_out or unable.broken}")
                else:
                    running.append(Running(part))
            screen.status(running)
            time.sleep(POLL_SECONDS)
            for part_run in list(running):
                done = part_run.done()  # before its log is read for the last time
                for test in failures(part_run.log()):
                    if test not in seen:
                        seen.add(test)
                        screen.say(f"FAILED {test}")
                if done:
                    running.remove(part_run)
                    outcome = outcomes[part_run.part.name] = part_run.outcome()
                    if not outcome.ok:
                        screen.say(details(part_run.log()))
                    row = f"{outcome.passed} passed, {outcome.failed} failed"
                    screen.say(f"{part_run.part.name} done in {clock(outcome.seconds)}: {row}")
    finally:
        for part_run in running:
            part_run.kill()
    return outcomes


def run_again(outcomes: Mapping[str, Outcome]) -> None:
    """Runs the failed tests once more, with nothing beside them, if they are few.

    Parts run side by side on two cores, and most tests speak in real time: a test can fail because
    the machine was late. A fault fails twice. A test that passes now counts as passed, and the
    table names it as unstable.
    """
    failed = {name: outcome for name, outcome in outcomes.items() if outcome.failed}
    if sum(outcome.failed for outcome in failed.values()) > MOST_AGAIN:
        return
    screen = Screen()
    for name, outcome in failed.items():
        tests = failures((OUT / f"{name}.log").read_text(encoding="utf-8", errors="replace"))
        screen.say(f"{name}: {len(tests)} failed, once more alone: {' '.join(tests)}")
        part_run = Running(PARTS[name], tests)
        try:
            while not part_run.done():
                screen.status([part_run])
                time.sleep(POLL_SECONDS)
        finally:
            part_run.kill()
        again, still = part_run.outcome(), failures(part_run.log())
        if not again.ok:
            screen.say(details(part_run.log()))
        if (again.passed, again.failed) == (len(tests) - len(still), len(still)):
            outcome.unstable = [test for test in tests if test not in still]
            outcome.passed += again.passed
            outcome.failed -= again.passed


def main(argv: Sequence[str]) -> int:
    """Runs all parts, the named ones, or one pytest with the given arguments."""
    parser = argparse.ArgumentParser(prog="ops/test", add_help=False, allow_abbrev=False)
    for name in PARTS:
        parser.add_argument(f"--{name}", dest="parts", action="append_const", const=name)
    args, rest = parser.parse_known_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the parts, too
    OUT.mkdir(parents=True, exist_ok=True)
    if rest:
        part = PARTS[args.parts[0] if args.parts else part_of(rest)]
        if (unable := set_up(part)) is not None:
            print(f"{part.name}: {unable.left_out or unable.broken}", file=sys.stderr)
            return 1
        named = any(word.startswith("tests") for word in rest)
        command = [*pytest_of(part), *(() if named else (*part.options, *part.paths)), *rest]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    names = args.parts or list(PARTS)
    ahead = None
    if "core" in names and "vllm" in names:
        # Its download takes minutes: begin with it while the first parts run.
        log = (OUT / "setup-torch.log").open("wb")
        ahead = subprocess.Popen([ROOT / "ops/setup-torch"], stdout=log, stderr=log)
    outcomes = run(names)
    if ahead is not None:
        ahead.wait()
    run_again(outcomes)
    print("\n" + table({name: outcomes[name] for name in PARTS if name in outcomes}))
    return 0 if all(outcome.ok for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
