"""voicectl on a host: what it shows of the appliance in every state, starts, stops and reads."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.image.hosts import OPS, Host
from tests.image.running import NAME, ONE, Release, Site
from tests.image.test_export_import import taken_in

BROKEN = Release("0.1.1", "broken")
OLD = Release("0.1.2", "old")
RELEASES = (ONE, BROKEN, OLD)
NOT_RUNNING, UNKNOWN = 3, 4


def settings(site: Site, line: str) -> None:
    (site.etc / "appliance.env").write_text(f"{line}\n")


def test_where_nothing_was_activated_status_says_so_and_what_to_do(site: Site) -> None:
    answer = site.ctl("status")
    assert answer.returncode == UNKNOWN
    assert "no release was activated here" in answer.stdout
    assert "voicectl activate VERSION" in answer.stdout
    for verb in ("logs", "trace"):
        assert "has never run here" in site.ctl(verb).stderr
    for verb in ("start", "verify"):
        assert "no release is activated" in site.ctl(verb).stderr
    assert "there is no previous release" in site.ctl("rollback").stderr


def test_start_waits_until_calls_are_taken_and_stop_ends_it_orderly(site: Site) -> None:
    site.tag(ONE, "current")
    assert "ready after" in site.does("start")
    assert site.serves == "0.1.0"
    assert "runs already" in site.does("start")
    assert "is stopped" in site.does("stop")
    assert '"appliance stopped"' in site.does("logs", "-o", "json")
    assert "does not run" in site.does("stop")
    answer = site.ctl("status")
    assert answer.returncode == NOT_RUNNING
    assert "inactive (dead)\n     Since: " in answer.stdout
    assert "Release: 0.1.0-cpu, sha256:" in answer.stdout


def test_it_runs_by_the_shipped_flags_and_those_of_this_host(serving: Site) -> None:
    told = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.NetworkMode}} {{.Config.StopTimeout}}"
    assert serving.of_engine("inspect", "--format", told, NAME) == "true none 45"
    made = serving.of_engine("inspect", "--format", "{{.Config.CreateCommand}}", NAME)
    assert f"{serving.etc}/token:/run/secrets/voice-token:ro" in made
    assert "--log-opt=max-size=50mb" in made
    assert "--publish" not in made  # host.flags names a network of its own


def test_status_of_a_running_one_is_what_it_says_itself_and_which_release(serving: Site) -> None:
    screen = serving.does("status")
    assert "* voice appliance 0.1.0, 1 lines of log\n" in screen
    assert "Release: 0.1.0-cpu" in screen
    assert "512 processes" in screen
    assert "\x1b" not in screen
    assert serving.does("status", "--plain").startswith("run: appliance: 0.1.0\ncurrent: 0.1.0-cpu")
    told = json.loads(serving.does("status", "--json"))
    assert told["appliance"] == {"ready": True, "version": "0.1.0"}
    assert told["state"] == "active"
    assert told["current"]["id"] == told["running_image_id"] == f"sha256:{serving.id('current')}"


def test_status_does_not_wait_for_a_card_that_is_lost(site: Site) -> None:
    site.host.program("nvidia-smi", "exec sleep 600")
    assert "no release was activated here" in site.ctl("status").stdout


def test_on_a_terminal_status_is_in_colour(serving: Site) -> None:
    line = f"{OPS}/voicectl status"
    ran = serving.host.run("script", "-qec", line, "/dev/null", **serving.environ, TERM="xterm")
    assert "0.1.0 in colour always" in ran.stdout


def test_one_that_loads_its_models_is_shown_as_starting(site: Site) -> None:
    settings(site, "STAND_IN_SECONDS=600")
    site.tag(OLD, "current")
    site.does("start", "--no-block")
    answer = site.ctl("status")
    assert answer.returncode == NOT_RUNNING
    assert "activating (waiting for llm)\n     Since: " in answer.stdout
    assert json.loads(site.ctl("status", "--json").stdout)["waiting"] == "waiting for llm"
    answer = site.ctl("restart", VOICE_READY_SECONDS="2")
    assert answer.returncode == 1
    assert "not ready in 2 s: waiting for llm" in answer.stderr


def test_a_release_that_is_too_old_to_tell_of_itself_is_told_of(site: Site) -> None:
    site.tag(OLD, "current")
    site.does("start")
    assert "active (running)\n     Since: " in site.does("status")


def test_a_broken_one_is_shown_with_exit_code_reason_and_advice(site: Site) -> None:
    site.tag(BROKEN, "current")
    answer = site.ctl("start")
    assert answer.returncode == 1
    reason = 'The setting gateway.port is not usable: "9x"'
    assert f"it ended with exit code 78: {reason}" in answer.stderr
    until = time.monotonic() + 60
    while "failed" not in (answer := site.ctl("status")).stdout and time.monotonic() < until:
        time.sleep(0.2)
    assert answer.returncode == NOT_RUNNING
    assert "failed (exit code 78: an operator has to change something)" in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 80
    assert f"Reason: {reason}.\n    Advice: List the settings." in answer.stdout
    assert "short: stopped by an error" in answer.stdout  # its last lines
    assert max(map(len, answer.stdout.splitlines())) <= 80
    told = json.loads(site.ctl("status", "--json").stdout)
    assert (told["state"], told["exit_code"]) == ("failed", 78)
    assert told["reason"] == f"{reason}."
    assert "down: voice-appliance: failed, exit code 78" in site.ctl("status", "--plain").stdout


def test_without_a_token_it_is_not_started(site: Site) -> None:
    site.tag(ONE, "current")
    (site.etc / "token").unlink()
    assert "token is missing" in site.ctl("start").stderr


def test_where_no_port_is_published_it_is_not_started(site: Site) -> None:
    site.tag(ONE, "current")
    (site.etc / "host.flags").write_text("--memory=1g\n")
    assert "host.flags names no port, so that nobody could call" in site.ctl("start").stderr
    answer = site.ctl("activate", "0.1.1")
    assert answer.returncode == 1
    assert "Nothing was touched" in answer.stderr


def test_what_ran_before_is_kept_for_its_log_until_the_next_one(serving: Site) -> None:
    first = serving.of_engine("inspect", "--format", "{{.Id}}", NAME)
    serving.does("restart")
    assert serving.serves == "0.1.0"
    assert serving.of_engine("inspect", "--format", "{{.Id}}", f"{NAME}-last") == first
    serving.does("restart")
    assert len(serving.of_engine("ps", "--all", "--quiet").split()) == 2


def test_one_process_is_restarted_by_the_supervisor_inside(serving: Site) -> None:
    asked = "asked: -s unix:///run/voice/supervisor.sock"
    assert f"{asked} restart tts" in serving.does("restart", "tts")
    assert f"{asked} stop gateway" in serving.does("stop", "gateway")
    assert f"{asked} start gateway" in serving.does("start", "gateway")
    answer = serving.ctl("restart", "kokorro")
    assert answer.returncode == 1
    assert "there are: gateway llm tts exporter" in answer.stderr


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_when_one_process_cannot_be_changed_the_others_are_left_alone(
    serving: Site, verb: str
) -> None:
    container = serving.of_engine("inspect", "--format", "{{.Id}}", NAME)
    answer = serving.ctl(verb, "llm")
    assert answer.returncode == 7  # as supervisorctl ended
    assert serving.serves == "0.1.0"
    assert serving.of_engine("inspect", "--format", "{{.Id}}", NAME) == container


def test_a_restart_with_a_word_it_does_not_know_stops_nothing(serving: Site) -> None:
    answer = serving.ctl("restart", "--now")
    assert answer.returncode == 1
    assert "no unit --now" in answer.stderr
    assert serving.serves == "0.1.0"


def test_what_the_image_knows_is_asked_inside(serving: Site) -> None:
    assert serving.does("drain", "--wait", "5") == "drained --wait 5\n"
    assert serving.does("verify") == "verified 0.1.0\n"
    assert serving.does("trace", "abc") == "trace of abc\n"
    serving.does("stop")
    assert serving.does("verify") == "verified 0.1.0\n"
    assert serving.does("trace", "abc") == "trace of abc\n"
    assert "does not run" in serving.ctl("drain").stderr


def test_settings_are_shown_before_the_first_activation_and_as_this_host_sets_them(
    site: Site,
) -> None:
    settings(site, "STAND_IN_SECONDS=3")
    assert site.does("settings") == "seconds 3 of 0.1.2\n"  # of the newest that is imported
    site.tag(ONE, "current")
    assert site.does("settings") == "seconds 3 of 0.1.0\n"
    site.does("start")
    assert site.does("settings") == "seconds 3 of 0.1.0\n"


@pytest.mark.parametrize("stopped", [False, True])
def test_logs_are_readable_also_of_one_that_has_stopped(serving: Site, stopped: bool) -> None:
    if stopped:
        serving.does("stop")
    assert "short: appliance started\n" in serving.does("logs")
    assert serving.does("logs", "-u", "tts") == "short: process running\n"
    assert '"process": "tts"' in serving.does("logs", "-u", "tts", "-o", "json")
    last = serving.does("logs", "-n", "1", "-o", "json")
    assert last.count("\n") == 1
    assert serving.does("logs", "-u", "gateway", "-n", "1").count("\n") == 1
    assert serving.does("logs", "--since", "10m") == serving.does("logs")
    assert serving.does("logs", "--since", "tomorrow") == ""
    assert "no time" in serving.ctl("logs", "--since", "soon").stderr


def test_logs_are_followed_until_interrupted(serving: Site) -> None:
    follow = ("timeout", "120", OPS / "voicectl", "logs", "-f", "-o", "json")
    environ = {**serving.host.environ, **serving.environ}
    with subprocess.Popen(follow, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"appliance started"' in line:
                serving.does("drain")
            if '"drained ' in line:
                break
        else:
            pytest.fail("what was written later was not shown")
        process.terminate()


def test_help_comes_from_the_header_for_all_and_for_each_verb(site: Site) -> None:
    assert "Usage: voicectl" in site.does("help")
    for verb in ("status", "logs", "start", "restart", "stop", "activate", "rollback", "bundle"):
        shown = site.does(verb, "--help")
        assert shown.startswith("Usage: voicectl ")
        assert verb in shown.splitlines()[0]
        assert len(shown.splitlines()) < 8
    assert "Usage: ops/preflight" in site.does("preflight", "--help")
    answer = site.ctl("activte")
    assert answer.returncode == 2
    assert "no verb activte" in answer.stderr


def test_preflight_looks_for_secrets_where_voicectl_does(site: Site) -> None:
    secrets = ("--only", "certificate,key,token")
    alone = site.host.run(OPS / "preflight", *secrets)
    assert "/etc/voice-appliance/tls/" in alone.stdout
    assert site.ctl("preflight", *secrets, VOICE_ETC="/etc/voice-appliance").stdout == alone.stdout


def test_an_engine_that_is_not_there_is_said(site: Site) -> None:
    answer = site.ctl("--engine", "docker", "status", DOCKER_HOST="unix:///nowhere")
    assert answer.returncode == UNKNOWN
    assert "docker does not answer" in answer.stderr


def test_a_bundle_has_what_support_asks_for_and_no_value_of_a_setting(serving: Site) -> None:
    settings(serving, "VOICE_SECRET=hidden-in-env")
    flags = serving.etc / "host.flags"
    flags.write_text(f"{flags.read_text()}--env=VOICE_OTHER=hidden-in-flags\n--label=kept=1\n")
    serving.does("restart")
    out = serving.host.folder / "b.tar.zst"
    assert "files" in serving.does("bundle", "--out", out)
    assert out.stat().st_mode & 0o777 == 0o600
    folder = serving.host.folder / "unpacked"
    folder.mkdir()
    serving.host.must("tar", "--extract", "--zstd", "--strip-components=1", "-C", folder, "-f", out)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "status.json",
        "releases.txt",
        "preflight.json",
        "engine.txt",
        "unit.txt",
        "host.txt",
        "card.txt",
        "host.flags",
        "appliance.env",
        "appliance/version.txt",
        "last/version.txt",
        f"{NAME}.inspect.json",
        f"{NAME}-last.inspect.json",
    }
    assert json.loads((folder / "status.json").read_text())["appliance"]["version"] == "0.1.0"
    assert {it["id"] for it in json.loads((folder / "preflight.json").read_text())["checks"]}
    assert json.loads((folder / f"{NAME}.inspect.json").read_text())
    everything = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "VOICE_SECRET=..." in everything
    assert "--label=kept=1" in everything
    for secret in ("hidden-in-env", "hidden-in-flags", "a token", "it may hold anything"):
        assert secret not in everything


def test_a_bundle_of_a_host_where_nothing_was_activated_is_made_too(site: Site) -> None:
    site.does("bundle")
    (made,) = site.state.glob("*.tar.zst")
    listed = site.host.must("tar", "--list", "--zstd", "--file", made)
    assert "preflight.json" in listed
    assert list(site.state.glob("*.partial")) == []


def test_bash_completes_verbs_units_and_releases(site: Site) -> None:
    def completed(*words: str) -> set[str]:
        script = (
            f"source {OPS}/voicectl.completion.bash; COMP_WORDS=({' '.join(words)} '');"
            f"COMP_CWORD={len(words)}; _voicectl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        path = f"{OPS}:{site.host.environ['PATH']}"
        return set(site.host.run("bash", "-c", script, **site.environ, PATH=path).stdout.split())

    assert completed("voicectl") >= {"status", "activate", "rollback", "bundle"}
    assert completed("voicectl", "restart") >= {"gateway", "llm", "tts", "exporter"}
    assert completed("voicectl", "activate") >= {"0.1.0-cpu", "0.1.1-cpu", "--force"}
    assert completed("voicectl", "logs", "-o") == {"short", "json", "cat"}


def test_every_verb_is_in_the_help_and_completed(site: Site) -> None:
    text = (OPS / "voicectl").read_text()
    verbs = next(line for line in text.splitlines() if line.startswith("    status | start"))
    said = site.does("help")
    completion = (OPS / "voicectl.completion.bash").read_text()
    for verb in verbs.strip(" )").split(" | "):
        assert f" {verb}" in said
        assert f" {verb} " in completion or f"'{verb} " in completion


def test_the_voicectl_of_a_release_folder_stands_alone(carried: Path, offline: Host) -> None:
    assert taken_in(offline, carried).returncode == 0
    assert "1-cpu" in offline.must(carried / "voicectl", "releases")
    linked = offline.folder / "bin/voicectl"
    linked.parent.mkdir(exist_ok=True)
    linked.symlink_to(carried / "voicectl")
    assert offline.run("voicectl", "status").returncode == UNKNOWN
    for name in ("units/voice-appliance.service", "units/host.flags", "monitoring/alerts.yml"):
        assert (carried / name).exists()
