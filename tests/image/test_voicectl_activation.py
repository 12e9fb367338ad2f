"""voicectl from one release to another, and by itself back when it comes to nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.image.hosts import OPS
from tests.image.running import NAME, ONE, TWO, Release, Site
from tests.signals import with_default_sigint

NEVER, BROKEN = Release("0.2.1", "never"), Release("0.2.2", "broken")
SKIPS, MAJOR, OLDER = Release("0.3.0"), Release("1.0.0"), Release("0.0.9")
OTHER_PROFILE = Release("0.2.0", profile="gpu")
RELEASES = (ONE, TWO, NEVER, BROKEN, SKIPS, MAJOR, OLDER, OTHER_PROFILE)
WENT_BACK, STUCK, REFUSED = 10, 11, 1


def of(site: Site, *releases: Release) -> tuple[str, ...]:
    """The ids of releases."""
    return tuple(site.id(release.tag.rpartition(":")[2]) for release in releases)


def back_to_one(site: Site) -> None:
    """0.1.0 must be current, alone, and take calls; and every release still be there."""
    assert site.serves == "0.1.0"
    assert site.slots == (*of(site, ONE), "")
    assert site.does("releases").count("sha256:") == len(RELEASES)
    assert site.steps()[-1] == "returned"


def test_the_first_release_is_activated_on_a_host_that_had_none(site: Site) -> None:
    site.does("activate", "0.1.0")
    assert site.serves == "0.1.0"
    assert site.slots == (*of(site, ONE), "")
    assert site.steps() == ["begin", "stop", "tags", "start", "ready", "smoke-test", "done"]


def test_the_next_release_takes_over_when_it_has_passed_its_smoke_test(serving: Site) -> None:
    serving.passes("podman exec voice-appliance cat /opt/voice/version >seen")
    told = serving.does("activate", "0.2.0", "--drain", "7")
    assert (serving.host.folder / "seen").read_text() == "0.2.0\n"
    assert "drained --wait 7" in told
    assert "0.2.0-cpu is current, 0.1.0-cpu previous" in told
    assert serving.serves == "0.2.0"
    assert serving.slots == of(serving, TWO, ONE)
    again = serving.does("activate", "0.2.0")
    assert "0.2.0-cpu is current already: nothing to do" in again
    assert serving.steps().count("begin") == 1


def test_one_that_fails_its_smoke_test_is_put_back_and_the_old_one_serves(serving: Site) -> None:
    serving.passes("exit 5")
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == WENT_BACK
    assert "0.2.0-cpu failed: the smoke test ended with exit code 5. Going back" in answer.stderr
    assert "0.1.0-cpu is current again, and takes calls" in answer.stderr
    back_to_one(serving)
    log = serving.of_engine("logs", f"{NAME}-last")  # what it said is still there
    assert '"version": "0.2.0"' in log


@pytest.mark.parametrize(
    ("release", "why"),
    [
        (NEVER, "not ready in 4 s: waiting for llm"),
        (BROKEN, "it ended with exit code 78: The setting gateway.port is not usable"),
    ],
)
def test_one_that_does_not_get_ready_is_put_back(serving: Site, release: Release, why: str) -> None:
    answer = serving.ctl("activate", release.version, VOICE_READY_SECONDS="4")
    assert answer.returncode == WENT_BACK
    assert why in answer.stderr
    back_to_one(serving)


def test_when_the_first_release_fails_none_is_active_and_none_runs(site: Site) -> None:
    answer = site.ctl("activate", BROKEN.version)
    assert answer.returncode == WENT_BACK
    assert "No release was activated before, and none is now" in answer.stderr
    assert site.slots == ("", "")
    assert site.serves == ""
    assert of(site, BROKEN) != ("",)


def test_what_did_not_run_before_is_not_started_by_going_back(site: Site) -> None:
    site.tag(ONE, "current")
    site.passes("exit 1")
    answer = site.ctl("activate", "0.2.0")
    assert answer.returncode == WENT_BACK
    assert "did not run before" in answer.stderr
    assert site.slots == (*of(site, ONE), "")
    assert site.serves == ""


def test_it_says_when_the_old_one_does_not_serve_either(serving: Site) -> None:
    (serving.etc / "appliance.env").write_text("STAND_IN_SECONDS=600\n")
    answer = serving.ctl("activate", "0.2.0", VOICE_READY_SECONDS="3")
    assert answer.returncode == STUCK
    assert "IS CURRENT AGAIN, AND DOES NOT SERVE EITHER" in answer.stderr
    assert serving.slots == (*of(serving, ONE), "")
    assert "Going back" not in serving.ctl("status").stderr


@pytest.mark.parametrize(
    ("current", "wanted", "why"),
    [
        (TWO, "0.1.0", "older than 0.2.0, which is current: voicectl rollback"),
        (ONE, "0.3.0", "skips minor versions after 0.1.0, which is current: activate 0.2 first"),
        (ONE, "1.0.0", "another major version"),
        (ONE, "0.2.0-gpu", "it is of profile gpu, and cpu is current"),
        (ONE, "7.7.7", "no release 7.7.7 is imported; there are: 0.0.9-cpu 0.1.0-cpu"),
    ],
)
def test_a_step_that_is_not_allowed_is_refused_before_anything_is_touched(
    site: Site, current: Release, wanted: str, why: str
) -> None:
    site.tag(current, "current")
    site.does("start")
    container = site.of_engine("inspect", "--format", "{{.Id}}", NAME)
    answer = site.ctl("activate", wanted)
    assert answer.returncode == REFUSED
    assert why in answer.stderr
    assert site.slots == (*of(site, current), "")
    assert site.serves == current.version
    assert site.of_engine("inspect", "--format", "{{.Id}}", NAME) == container
    assert '"drained' not in site.does("logs", "-o", "json")
    assert site.steps() == []


def test_force_allows_any_step(serving: Site) -> None:
    answer = serving.ctl("activate", "--force", "0.0.9")
    assert answer.returncode == 0
    assert "older than 0.1.0" in answer.stderr
    assert serving.serves == "0.0.9"


def test_a_host_that_is_not_ready_or_has_no_smoke_test_is_refused(serving: Site) -> None:
    (serving.etc / "token").chmod(0o644)
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == REFUSED
    assert "FAIL  token" in answer.stdout
    assert "this host is not ready for it, see above. Nothing was touched" in answer.stderr
    serving.smoke_test.unlink()
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == REFUSED
    assert "smoke is missing" in answer.stderr
    assert serving.steps() == []


def test_a_time_for_calls_to_end_that_is_no_number_is_refused(serving: Site) -> None:
    answer = serving.ctl("activate", "0.2.0", "--drain", "5m")
    assert answer.returncode == REFUSED
    assert "--drain takes seconds, not 5m" in answer.stderr
    assert serving.steps() == []


def test_an_image_can_be_named_by_its_id_and_keeps_a_name(serving: Site) -> None:
    (new,) = of(serving, TWO)
    serving.host.must("podman", "untag", TWO.tag, TWO.tag)
    serving.does("activate", new)
    assert serving.serves == "0.2.0"
    assert of(serving, TWO) == (new,)


def test_rollback_brings_the_previous_release_back_and_again_the_other(serving: Site) -> None:
    serving.does("activate", "0.2.0")
    serving.passes("exit 1")
    serving.does("rollback")
    assert serving.serves == "0.1.0"
    assert serving.slots == of(serving, ONE, TWO)
    serving.does("rollback")
    assert serving.serves == "0.2.0"


def test_a_rollback_to_what_is_broken_stays_where_it_was(serving: Site) -> None:
    serving.tag(BROKEN, "previous")
    answer = serving.ctl("rollback")
    assert answer.returncode == WENT_BACK
    assert serving.serves == "0.1.0"
    assert serving.slots == of(serving, ONE, BROKEN)


def test_releases_are_listed_with_what_is_current_and_since_when(serving: Site) -> None:
    serving.does("activate", "0.2.0")
    listed = serving.does("releases").splitlines()
    lines = {line.strip(" ●").split()[0]: line for line in listed}
    assert len(lines) == len(RELEASES)
    assert "current" in lines["0.2.0-cpu"] and "●" in lines["0.2.0-cpu"]
    assert "activated 20" in lines["0.2.0-cpu"]
    assert "previous" in lines["0.1.0-cpu"]
    told = json.loads(serving.does("releases", "--json"))
    assert [it["release"] for it in told if it["slot"] == "current"] == ["0.2.0-cpu"]
    assert max(map(len, listed)) <= 80


# --- cut off


def hold(site: Site, when: str) -> Path:
    """podman hangs at the command that `when` matches; the file appears when it does."""
    begun = site.host.folder / "begun"
    begun.unlink(missing_ok=True)
    site.host.program(
        "podman",
        f'if [[ "$*" == {when} ]]; then touch {begun}; sleep 600; fi\n'
        f'exec {shutil.which("podman")} "$@"',
    )
    return begun


def begin(
    site: Site, begun: Path, *arguments: str, out: int | None = None
) -> subprocess.Popen[bytes]:
    """voicectl, until the file appears; in a session of its own, on that terminal or pipe."""
    process = subprocess.Popen(
        with_default_sigint(str(OPS / "voicectl"), *arguments),
        env={**site.host.environ, **site.environ},
        preexec_fn=lambda: os.login_tty(out) if out and os.isatty(out) else os.setsid(),
        stdin=subprocess.DEVNULL,
        stdout=out,
    )
    until = time.monotonic() + 120
    while not begun.exists() and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.05)
    return process


def cut(site: Site, process: subprocess.Popen[bytes]) -> None:
    """Ends voicectl, and what it called, as a power cut would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    (site.host.folder / "bin/podman").unlink(missing_ok=True)


STEPS = {
    "drain": "*drain*",
    "stop": "stop*",
    "tags": "'tag '*:current",
    "start": "'run --detach'*",
    "ready": "*health",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_change_cut_off_at_any_step_is_undone_by_the_next_look(serving: Site, step: str) -> None:
    process = begin(serving, hold(serving, STEPS[step]), "activate", "0.2.0")
    cut(serving, process)
    assert serving.steps()[-1] == step
    answer = serving.ctl("status")
    assert f"the change to 0.2.0-cpu was cut off at: {step}. Going back" in answer.stderr
    assert answer.returncode == 0
    assert "* voice appliance 0.1.0" in answer.stdout
    back_to_one(serving)
    assert serving.ctl("status").stderr == ""


def smoke_that_hangs(site: Site) -> Path:
    begun = site.host.folder / "begun"
    begun.unlink(missing_ok=True)
    site.passes(f"touch {begun}; sleep 600")
    return begun


@pytest.mark.parametrize(
    ("verb", "then"), [(("activate", "0.2.0"), "0.2.0"), (("rollback",), ""), (("start",), "0.1.0")]
)
def test_a_power_cut_in_the_smoke_test_is_undone_first_by_whatever_comes_next(
    serving: Site, verb: tuple[str, ...], then: str
) -> None:
    process = begin(serving, smoke_that_hangs(serving), "activate", "0.2.0")
    cut(serving, process)
    serving.of_engine("kill", NAME)
    with (serving.state / "activations.log").open("a") as log:
        log.write("2026-11-22T19:")  # a line that did not get to the disk whole
    serving.passes()
    answer = serving.ctl(*verb)
    assert "cut off at: smoke-test. Going back" in answer.stderr
    assert "0.1.0-cpu is current again, and takes calls" in answer.stderr
    if then:
        assert answer.returncode == 0
        assert serving.serves == then
    else:
        assert "there is no previous release" in answer.stderr


def test_going_back_that_is_cut_off_itself_is_finished_by_the_next(serving: Site) -> None:
    serving.passes("exit 1")
    process = begin(
        serving, hold(serving, f"'tag '*{of(serving, ONE)[0]}*:current"), "activate", "0.2.0"
    )
    cut(serving, process)
    assert serving.steps()[-1] == "back"
    serving.ctl("status")
    back_to_one(serving)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_activation_goes_back_at_once(serving: Site, sent: signal.Signals) -> None:
    process = begin(serving, smoke_that_hangs(serving), "activate", "0.2.0")
    os.kill(process.pid, sent)
    assert process.wait(60) == WENT_BACK
    back_to_one(serving)


def test_when_the_operators_terminal_goes_away_it_goes_back(serving: Site) -> None:
    ours, theirs = os.openpty()
    process = begin(serving, smoke_that_hangs(serving), "activate", "0.2.0", out=theirs)
    os.close(theirs)
    os.close(ours)
    assert process.wait(60) == WENT_BACK
    back_to_one(serving)


def test_when_nobody_reads_what_it_says_it_goes_on(serving: Site) -> None:
    begun, go = serving.host.folder / "begun", serving.host.folder / "go"
    begun.unlink(missing_ok=True)
    serving.passes(f"touch {begun}; until [[ -e {go} ]]; do sleep 0.1; done")
    reader, writer = os.pipe()
    process = begin(serving, begun, "activate", "0.2.0", out=writer)
    os.close(writer)
    os.close(reader)
    go.touch()
    assert process.wait(60) == 0
    assert serving.serves == "0.2.0"


def test_a_reason_of_several_lines_is_one_line_of_the_record(serving: Site) -> None:
    once = serving.host.folder / "once"
    serving.host.program(
        "podman",
        f'if [[ "$1 $2" == "run --detach" && ! -e {once} ]]; then\n'
        f"touch {once}; printf 'no such\\ncard\\n' >&2; exit 125\nfi\n"
        f'exec {shutil.which("podman")} "$@"',
    )
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == WENT_BACK
    assert serving.steps()[-2:] == ["back", "returned"]
    assert "back podman run: no such card" in (serving.state / "activations.log").read_text()


def test_while_one_changes_the_release_others_look_on(serving: Site) -> None:
    process = begin(serving, smoke_that_hangs(serving), "activate", "0.2.0")
    answer = serving.ctl("activate", "0.2.1")
    assert answer.returncode == REFUSED
    assert "another voicectl is changing the release" in answer.stderr
    shown = serving.does("status")
    assert "Change: to 0.2.0-cpu is going on: smoke-test" in shown
    assert json.loads(serving.does("status", "--json"))["change"] == "0.2.0-cpu: smoke-test"
    cut(serving, process)
