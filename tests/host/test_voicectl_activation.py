"""voicectl activate and rollback: from one release to another, and back after a failure."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.host.hosts import OPS
from tests.host.running import NAME, ONE, TWO, OperatedHost, Release
from tests.signals import with_default_sigint

NEVER, BROKEN = Release("0.2.1", "never"), Release("0.2.2", "broken")
OLD = Release("0.1.1", "old")
SKIPS, MAJOR, OLDER = Release("0.3.0"), Release("1.0.0"), Release("0.0.9")
OTHER_PROFILE = Release("0.2.0", profile="gpu")
RELEASES = (ONE, TWO, OLD, NEVER, BROKEN, SKIPS, MAJOR, OLDER, OTHER_PROFILE)
ROLLED_BACK, STUCK, REFUSED = 10, 11, 1
WAIT_SECONDS = 600  # for a busy machine: a roll back starts a container


def of(site: OperatedHost, *releases: Release) -> tuple[str, ...]:
    """The image ids of releases."""
    return tuple(site.id(release.tag.rpartition(":")[2]) for release in releases)


def assert_back_to_one(site: OperatedHost) -> None:
    """0.1.0 must be current without a previous one, take calls, and all images be there."""
    assert site.serves == "0.1.0"
    assert site.slots == (*of(site, ONE), "")
    assert site.must("releases").count("sha256:") == len(RELEASES)
    assert site.steps()[-1] == "returned"


def test_first_release_is_activated_without_a_drain(site: OperatedHost) -> None:
    site.must("activate", "0.1.0")
    assert site.serves == "0.1.0"
    assert site.slots == (*of(site, ONE), "")
    steps = ["begin", "stop", "tags", "start", "close", "ready", "smoke-test", "open", "done"]
    assert site.steps() == steps


SEE = "podman exec voice-appliance python -m appliance status --json"
# The mark as the container sees it: boot looks at it at each start, also after a crash.
MARK = "/run/voice-host/start-closed"


def seen_closed(site: OperatedHost) -> bool:
    """Whether the release was closed when the smoke test looked."""
    return bool(json.loads((site.host.folder / "seen").read_text())["closed"])


def test_release_starts_closed_and_is_opened_after_its_smoke_test(serving: OperatedHost) -> None:
    """Also if nothing could be run in it before: it does not take calls for a moment."""
    serving.host.program(
        "podman", f'[[ "$*" != *" appliance close" ]] || exit 0\nexec {shutil.which("podman")} "$@"'
    )
    serving.set_smoke_test(f"{SEE} >seen")
    serving.must("activate", "0.2.0")
    assert seen_closed(serving)
    assert not serving.is_closed()


def test_each_start_is_closed_during_the_smoke_test_and_open_after_it(
    serving: OperatedHost,
) -> None:
    serving.set_smoke_test(f"podman exec {NAME} cat {MARK} && touch marked")
    serving.must("activate", "0.2.0")
    assert (serving.host.folder / "marked").exists()
    assert serving.host.run("podman", "exec", NAME, "cat", MARK).returncode != 0


READY_AGAIN = f"until podman exec {NAME} python -m appliance health; do sleep 0.1; done"


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ("podman exec {NAME} bash -c 'kill -USR1 1'", "exit code 81: The process llm did not resp"),
        # Of a kill from outside the log knows nothing.
        ("kill -9 $(podman inspect --format {{{{.State.Pid}}}} {NAME})", "an unknown exit code"),
    ],
)
def test_release_that_is_restarted_during_its_smoke_test_is_replaced(
    serving: OperatedHost, ends: str, why: str
) -> None:
    """Though it passes the test after its restart, for which it was closed as well."""
    serving.set_smoke_test(
        f"{ends.format(NAME=NAME)}\n"
        f"until (($(podman inspect --format {{{{.RestartCount}}}} {NAME}))); do sleep 0.1; done\n"
        f"{READY_AGAIN}\n{SEE} >seen"
    )
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == ROLLED_BACK
    assert f"0.2.0-cpu failed: it stopped with {why}" in answer.stderr
    assert "during its smoke test. Rolling back" in answer.stderr
    assert seen_closed(serving)
    assert_back_to_one(serving)
    assert not serving.is_closed()


def test_release_that_ends_during_its_smoke_test_is_replaced(serving: OperatedHost) -> None:
    """Without an error, so that nothing restarts it."""
    serving.set_smoke_test(f"podman exec {NAME} bash -c 'kill -TERM 1'; podman wait {NAME}; exit 1")
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == ROLLED_BACK
    assert "0.2.0-cpu failed: it stopped with exit code 0" in answer.stderr
    assert_back_to_one(serving)


def test_rollback_starts_the_old_release_open(serving: OperatedHost) -> None:
    serving.set_smoke_test("exit 1")
    assert serving.ctl("activate", "0.2.0").returncode == ROLLED_BACK
    assert not serving.is_closed()
    assert serving.host.run("podman", "exec", NAME, "cat", MARK).returncode != 0


def test_failed_first_release_leaves_no_mark_by_which_the_next_start_is_closed(
    site: OperatedHost,
) -> None:
    site.set_smoke_test("exit 1")
    assert site.ctl("activate", "0.1.0").returncode == ROLLED_BACK
    assert [path for path in site.runtime.rglob("*") if path.is_file()] == []
    site.tag(ONE, "current")
    site.must("start")
    assert not site.is_closed()


def test_release_takes_the_place_of_a_closed_one_and_stays_closed(serving: OperatedHost) -> None:
    assert "closed" in serving.must("close")
    assert "0.2.0-cpu stays closed" in serving.must("activate", "0.2.0")
    assert serving.is_closed()
    serving.set_smoke_test("exit 1")
    serving.must("rollback")
    assert serving.is_closed()
    assert serving.serves == "0.1.0"
    serving.must("open")
    assert not serving.is_closed()


def test_drain_lasts_as_long_as_a_call_may_if_no_time_is_given(serving: OperatedHost) -> None:
    assert "drained --wait\n" in serving.must("activate", "0.2.0")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_drain_cuts_off_no_call(serving: OperatedHost, sent: signal.Signals) -> None:
    container = serving.run_engine("inspect", "--format", "{{.Id}}", NAME)
    process = run_until(serving, hang_podman(serving, "*'drain --wait'*"), "activate", "0.2.0")
    os.kill(process.pid, sent)
    assert process.wait(WAIT_SECONDS) == ROLLED_BACK
    assert_back_to_one(serving)
    assert serving.run_engine("inspect", "--format", "{{.Id}}", NAME) == container
    assert '"drained --undo"' in serving.must("logs", "-o", "json")


def test_next_release_becomes_current_after_its_smoke_test(
    serving: OperatedHost,
) -> None:
    serving.set_smoke_test("podman exec voice-appliance cat /opt/voice/version >seen")
    output = serving.must("activate", "0.2.0", "--drain", "7")
    assert (serving.host.folder / "seen").read_text() == "0.2.0\n"
    assert "drained --wait 7" in output
    assert "0.2.0-cpu is current, 0.1.0-cpu previous" in output
    assert serving.serves == "0.2.0"
    assert serving.slots == of(serving, TWO, ONE)
    again = serving.must("activate", "0.2.0")
    assert "0.2.0-cpu is already current: nothing to do" in again
    assert serving.steps().count("begin") == 1


def test_release_that_fails_its_smoke_test_is_replaced_by_the_old_one(
    serving: OperatedHost,
) -> None:
    serving.set_smoke_test("exit 5")
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == ROLLED_BACK
    assert "0.2.0-cpu failed: the smoke test exited with code 5. Rolling back" in answer.stderr
    assert "0.1.0-cpu is current again, and accepts calls" in answer.stderr
    assert_back_to_one(serving)
    log = serving.run_engine("logs", f"{NAME}-last")  # the log of the failed release is kept
    assert '"version": "0.2.0"' in log


@pytest.mark.parametrize(
    ("release", "why"),
    [
        (NEVER, "not ready in 4 s: waiting for llm"),
        (BROKEN, "it stopped with exit code 78: The setting gateway.port is not usable"),
    ],
)
def test_release_that_does_not_become_ready_is_replaced_by_the_old_one(
    serving: OperatedHost, release: Release, why: str
) -> None:
    answer = serving.ctl("activate", release.version, VOICE_READY_SECONDS="4")
    assert answer.returncode == ROLLED_BACK
    assert why in answer.stderr
    assert_back_to_one(serving)


def test_failure_of_the_first_release_leaves_none_active(site: OperatedHost) -> None:
    answer = site.ctl("activate", BROKEN.version)
    assert answer.returncode == ROLLED_BACK
    assert "No release was active before, and none is now" in answer.stderr
    assert site.slots == ("", "")
    assert site.serves == ""
    assert of(site, BROKEN) != ("",)


def test_going_back_does_not_start_a_release_that_was_not_running(site: OperatedHost) -> None:
    site.tag(ONE, "current")
    site.set_smoke_test("exit 1")
    answer = site.ctl("activate", "0.2.0")
    assert answer.returncode == ROLLED_BACK
    assert "was not running before" in answer.stderr
    assert site.slots == (*of(site, ONE), "")
    assert site.serves == ""


def test_old_release_that_does_not_start_either_is_reported(serving: OperatedHost) -> None:
    (serving.etc / "appliance.env").write_text("STAND_IN_SECONDS=600\n")
    answer = serving.ctl("activate", "0.2.0", VOICE_READY_SECONDS="3")
    assert answer.returncode == STUCK
    assert "IS CURRENT AGAIN, BUT DOES NOT START EITHER" in answer.stderr
    assert serving.slots == (*of(serving, ONE), "")
    assert "Rolling back" not in serving.ctl("status").stderr


@pytest.mark.parametrize(
    ("current", "wanted", "why"),
    [
        (TWO, "0.1.0", "older than 0.2.0, which is current: use voicectl rollback"),
        (ONE, "0.3.0", "skips minor versions after 0.1.0, which is current: activate 0.2 first"),
        (ONE, "1.0.0", "its major version differs from that of 0.1.0"),
        (ONE, "0.2.0-gpu", "its profile is gpu, and that of the current release is cpu"),
        (ONE, "7.7.7", "release 7.7.7 is not imported; imported are: 0.0.9-cpu 0.1.0-cpu"),
    ],
)
def test_step_that_is_not_allowed_is_refused_before_anything_is_changed(
    site: OperatedHost, current: Release, wanted: str, why: str
) -> None:
    site.tag(current, "current")
    site.must("start")
    container = site.run_engine("inspect", "--format", "{{.Id}}", NAME)
    answer = site.ctl("activate", wanted)
    assert answer.returncode == REFUSED
    assert why in answer.stderr
    assert site.slots == (*of(site, current), "")
    assert site.serves == current.version
    assert site.run_engine("inspect", "--format", "{{.Id}}", NAME) == container
    assert '"drained' not in site.must("logs", "-o", "json")
    assert site.steps() == []


def test_force_allows_any_step(serving: OperatedHost) -> None:
    answer = serving.ctl("activate", "--force", "0.0.9")
    assert answer.returncode == 0
    assert "older than 0.1.0" in answer.stderr
    assert serving.serves == "0.0.9"


def test_host_that_is_not_ready_or_has_no_smoke_test_is_refused(serving: OperatedHost) -> None:
    (serving.etc / "token").chmod(0o644)
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == REFUSED
    assert "FAIL  token" in answer.stdout
    assert "this host is not ready for it, see above. Nothing was changed" in answer.stderr
    serving.smoke_test.unlink()
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == REFUSED
    assert "smoke is missing" in answer.stderr
    assert serving.steps() == []


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_settings_that_the_new_release_refuses_stop_the_activation(
    serving: OperatedHost, force: tuple[str, ...]
) -> None:
    container = serving.run_engine("inspect", "--format", "{{.Id}}", NAME)
    (serving.etc / "appliance.env").write_text("VOICE_TTS_SPEED=3\n")
    answer = serving.ctl("activate", "0.2.0", *force)
    assert answer.returncode == REFUSED
    assert "tts.speed: 3 is not between 0.5 and 2 (release 0.2.0)\n" in answer.stderr
    assert "0.2.0-cpu is refused: settings are wrong, see above. Nothing was ch" in answer.stderr
    assert serving.slots == (*of(serving, ONE), "")
    assert serving.run_engine("inspect", "--format", "{{.Id}}", NAME) == container
    assert '"drained' not in serving.must("logs", "-o", "json")
    assert serving.steps() == []


def test_release_that_cannot_check_settings_is_activated_with_a_warning(
    serving: OperatedHost,
) -> None:
    answer = serving.ctl("activate", OLD.version)
    assert answer.returncode == 0
    assert "could not be checked (exit code 2): unrecognized arguments: --check" in answer.stderr
    assert "cannot be closed: it takes calls before its smoke test" in answer.stderr
    assert serving.serves == OLD.version


def test_drain_time_that_is_not_a_number_is_refused(serving: OperatedHost) -> None:
    answer = serving.ctl("activate", "0.2.0", "--drain", "5m")
    assert answer.returncode == REFUSED
    assert "--drain takes seconds, not 5m" in answer.stderr
    assert serving.steps() == []


def test_image_may_be_named_by_its_id_and_keeps_a_tag(serving: OperatedHost) -> None:
    (new,) = of(serving, TWO)
    serving.host.must("podman", "untag", TWO.tag, TWO.tag)
    serving.must("activate", new)
    assert serving.serves == "0.2.0"
    assert of(serving, TWO) == (new,)


def test_second_rollback_undoes_the_first(
    serving: OperatedHost,
) -> None:
    serving.must("activate", "0.2.0")
    serving.set_smoke_test("exit 1")
    serving.must("rollback")
    assert serving.serves == "0.1.0"
    assert serving.slots == of(serving, ONE, TWO)
    serving.must("rollback")
    assert serving.serves == "0.2.0"


def test_rollback_to_a_broken_release_keeps_the_current_one(serving: OperatedHost) -> None:
    serving.tag(BROKEN, "previous")
    answer = serving.ctl("rollback")
    assert answer.returncode == ROLLED_BACK
    assert serving.serves == "0.1.0"
    assert serving.slots == of(serving, ONE, BROKEN)


def test_releases_are_listed_with_slot_and_time_of_activation(serving: OperatedHost) -> None:
    serving.must("activate", "0.2.0")
    listed = serving.must("releases").splitlines()
    lines = {line.strip(" ●").split()[0]: line for line in listed}
    assert len(lines) == len(RELEASES)
    assert "current" in lines["0.2.0-cpu"] and "●" in lines["0.2.0-cpu"]
    assert "activated 20" in lines["0.2.0-cpu"]
    assert "previous" in lines["0.1.0-cpu"]
    releases = json.loads(serving.must("releases", "--json"))
    current = [release["release"] for release in releases if release["slot"] == "current"]
    assert current == ["0.2.0-cpu"]
    assert max(map(len, listed)) <= 80


# --- interrupted activations


def hang_podman(site: OperatedHost, pattern: str) -> Path:
    """Make podman hang at the command that `pattern` matches; the file appears when it does."""
    begun = site.host.folder / "begun"
    begun.unlink(missing_ok=True)
    site.host.program(
        "podman",
        f'if [[ "$*" == {pattern} ]]; then touch {begun}; sleep 600; fi\n'
        f'exec {shutil.which("podman")} "$@"',
    )
    return begun


def run_until(
    site: OperatedHost, begun: Path, *arguments: str, out: int | None = None
) -> subprocess.Popen[bytes]:
    """Start voicectl in its own session, on a terminal or pipe; wait for the file."""
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


def cut_power(site: OperatedHost, process: subprocess.Popen[bytes]) -> None:
    """Kill voicectl and its children, as a power failure would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(WAIT_SECONDS)
    (site.host.folder / "bin/podman").unlink(missing_ok=True)


STEPS = {
    "drain": "*drain*",
    "stop": "stop*",
    "tags": "'tag '*:current",
    "start": "'run --detach'*",
    "ready": "*health",
}


@pytest.mark.parametrize("step", STEPS)
def test_change_cut_off_at_any_step_is_undone_by_the_next_voicectl(
    serving: OperatedHost, step: str
) -> None:
    process = run_until(serving, hang_podman(serving, STEPS[step]), "activate", "0.2.0")
    cut_power(serving, process)
    assert serving.steps()[-1] == step
    answer = serving.ctl("status")
    assert f"the change to 0.2.0-cpu was cut off at step {step}. Rolling back" in answer.stderr
    assert answer.returncode == 0
    assert "* voice appliance 0.1.0" in answer.stdout
    assert_back_to_one(serving)
    assert serving.ctl("status").stderr == ""


def hang_smoke_test(site: OperatedHost) -> Path:
    begun = site.host.folder / "begun"
    begun.unlink(missing_ok=True)
    site.set_smoke_test(f"touch {begun}; sleep 600")
    return begun


@pytest.mark.parametrize(
    ("verb", "expected"),
    [(("activate", "0.2.0"), "0.2.0"), (("rollback",), ""), (("start",), "0.1.0")],
)
def test_power_failure_in_the_smoke_test_is_undone_before_the_next_verb(
    serving: OperatedHost, verb: tuple[str, ...], expected: str
) -> None:
    process = run_until(serving, hang_smoke_test(serving), "activate", "0.2.0")
    cut_power(serving, process)
    serving.run_engine("kill", NAME)
    with (serving.state / "activations.log").open("a") as log:
        log.write("2026-11-22T19:")  # a torn line
    serving.set_smoke_test()
    answer = serving.ctl(*verb)
    assert "cut off at step smoke-test. Rolling back" in answer.stderr
    assert "0.1.0-cpu is current again, and accepts calls" in answer.stderr
    if expected:
        assert answer.returncode == 0
        assert serving.serves == expected
    else:
        assert "there is no previous release" in answer.stderr


def test_going_back_that_is_cut_off_is_finished_by_the_next_voicectl(serving: OperatedHost) -> None:
    serving.set_smoke_test("exit 1")
    process = run_until(
        serving, hang_podman(serving, f"'tag '*{of(serving, ONE)[0]}*:current"), "activate", "0.2.0"
    )
    cut_power(serving, process)
    assert serving.steps()[-1] == "back"
    serving.ctl("status")
    assert_back_to_one(serving)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_activation_goes_back_at_once(
    serving: OperatedHost, sent: signal.Signals
) -> None:
    process = run_until(serving, hang_smoke_test(serving), "activate", "0.2.0")
    os.kill(process.pid, sent)
    assert process.wait(WAIT_SECONDS) == ROLLED_BACK
    assert_back_to_one(serving)


def test_activation_goes_back_when_its_terminal_is_closed(serving: OperatedHost) -> None:
    ours, theirs = os.openpty()
    process = run_until(serving, hang_smoke_test(serving), "activate", "0.2.0", out=theirs)
    os.close(theirs)
    os.close(ours)
    assert process.wait(WAIT_SECONDS) == ROLLED_BACK
    assert_back_to_one(serving)


def test_activation_continues_when_its_output_pipe_is_closed(serving: OperatedHost) -> None:
    begun, go = serving.host.folder / "begun", serving.host.folder / "go"
    begun.unlink(missing_ok=True)
    serving.set_smoke_test(f"touch {begun}; until [[ -e {go} ]]; do sleep 0.1; done")
    reader, writer = os.pipe()
    process = run_until(serving, begun, "activate", "0.2.0", out=writer)
    os.close(writer)
    os.close(reader)
    go.touch()
    assert process.wait(WAIT_SECONDS) == 0
    assert serving.serves == "0.2.0"


def test_reason_of_several_lines_is_one_line_of_the_log(serving: OperatedHost) -> None:
    once = serving.host.folder / "once"
    serving.host.program(
        "podman",
        f'if [[ "$1 $2" == "run --detach" && ! -e {once} ]]; then\n'
        f"touch {once}; printf 'no such\\ncard\\n' >&2; exit 125\nfi\n"
        f'exec {shutil.which("podman")} "$@"',
    )
    answer = serving.ctl("activate", "0.2.0")
    assert answer.returncode == ROLLED_BACK
    assert serving.steps()[-2:] == ["back", "returned"]
    assert "back podman run: no such card" in (serving.state / "activations.log").read_text()


def test_second_activation_is_refused_while_one_is_in_progress(serving: OperatedHost) -> None:
    process = run_until(serving, hang_smoke_test(serving), "activate", "0.2.0")
    answer = serving.ctl("activate", "0.2.1")
    assert answer.returncode == REFUSED
    assert "another voicectl is changing the release" in answer.stderr
    shown = serving.must("status")
    assert "Change: to 0.2.0-cpu is in progress: smoke-test" in shown
    assert json.loads(serving.must("status", "--json"))["change"] == "0.2.0-cpu: smoke-test"
    cut_power(serving, process)
