"""voicectl on a host: status in every state, start and stop, logs, bundle."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.host.hosts import OPS, ULIMITS, USER, Host
from tests.host.running import NAME, ONE, OperatedHost, Release
from tests.host.test_export_import import run_import

BROKEN = Release("0.1.1", "broken")
OLD = Release("0.1.2", "old")
RELEASES = (ONE, BROKEN, OLD)
NOT_RUNNING, UNKNOWN = 3, 4


def write_settings(site: OperatedHost, line: str) -> None:
    (site.etc / "appliance.env").write_text(f"{line}\n")


def test_status_before_the_first_activation_says_what_to_do(site: OperatedHost) -> None:
    answer = site.ctl("status")
    assert answer.returncode == UNKNOWN
    assert "no release was activated here" in answer.stdout
    assert "voicectl activate VERSION" in answer.stdout
    for verb in ("logs", "trace"):
        assert "has never run here" in site.ctl(verb).stderr
    for verb in ("start", "verify"):
        assert "no release is activated" in site.ctl(verb).stderr
    assert "there is no previous release" in site.ctl("rollback").stderr


def test_start_waits_until_ready_and_stop_is_orderly(site: OperatedHost) -> None:
    site.tag(ONE, "current")
    assert "ready after" in site.must("start")
    assert site.serves == "0.1.0"
    assert "is already running" in site.must("start")
    assert "is stopped" in site.must("stop")
    assert '"appliance stopped"' in site.must("logs", "-o", "json")
    assert "is not running" in site.must("stop")
    answer = site.ctl("status")
    assert answer.returncode == NOT_RUNNING
    assert "inactive (dead)\n     Since: " in answer.stdout
    assert "Release: 0.1.0-cpu, sha256:" in answer.stdout


def test_container_gets_the_shipped_flags_and_those_of_the_host(serving: OperatedHost) -> None:
    values = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.NetworkMode}} {{.Config.StopTimeout}}"
    assert serving.run_engine("inspect", "--format", values, NAME) == "true none 45"
    command = serving.run_engine("inspect", "--format", "{{.Config.CreateCommand}}", NAME)
    assert f"{serving.etc}/token:/run/secrets/voice-token:ro" in command
    assert "--log-opt=max-size=50mb" in command
    assert "--publish" not in command  # host.flags sets a network without ports


def test_status_of_a_running_release_is_its_own_status_plus_the_release(
    serving: OperatedHost,
) -> None:
    screen = serving.must("status")
    assert "* voice appliance 0.1.0, 1 lines of log\n" in screen
    assert "Release: 0.1.0-cpu" in screen
    assert "512 processes" in screen
    assert "\x1b" not in screen
    assert serving.must("status", "--plain").startswith("run: appliance: 0.1.0\ncurrent: 0.1.0-cpu")
    tree = json.loads(serving.must("status", "--json"))
    assert tree["appliance"] == {"ready": True, "version": "0.1.0", "closed": False}
    assert (tree["state"], tree["reason"]) == ("active", None)
    assert tree["current"]["id"] == tree["running_image_id"] == f"sha256:{serving.id('current')}"


def test_status_does_not_wait_for_a_lost_gpu(site: OperatedHost) -> None:
    site.host.program("nvidia-smi", "exec sleep 600")
    assert "no release was activated here" in site.ctl("status").stdout


def test_status_is_in_colour_on_a_terminal(serving: OperatedHost) -> None:
    line = f"{OPS}/voicectl status"
    shown = serving.host.run("script", "-qec", line, "/dev/null", **serving.environ, TERM="xterm")
    assert "0.1.0 in colour always" in shown.stdout


def test_release_that_loads_its_models_is_activating(site: OperatedHost) -> None:
    write_settings(site, "STAND_IN_SECONDS=600")
    site.tag(OLD, "current")
    site.must("start", "--no-block")
    answer = site.ctl("status")
    assert answer.returncode == NOT_RUNNING
    assert "activating (waiting for llm)\n     Since: " in answer.stdout
    assert json.loads(site.ctl("status", "--json").stdout)["waiting"] == "waiting for llm"
    answer = site.ctl("restart", VOICE_READY_SECONDS="2")
    assert answer.returncode == 1
    assert "not ready in 2 s: waiting for llm" in answer.stderr


def test_running_release_without_a_status_verb_is_described_by_voicectl(site: OperatedHost) -> None:
    site.tag(OLD, "current")
    site.must("start")
    assert "active (running)\n     Since: " in site.must("status")


def test_failed_start_is_shown_with_exit_code_reason_and_advice(site: OperatedHost) -> None:
    site.tag(BROKEN, "current")
    answer = site.ctl("start")
    assert answer.returncode == 1
    reason = 'The setting gateway.port is not usable: "9x"'
    assert f"it stopped with exit code 78: {reason}" in answer.stderr
    answer = _status_once_failed(site)
    assert answer.returncode == NOT_RUNNING
    assert "     State: failed\n     Since: " in answer.stdout
    assert f"      Exit: code 78\n    Reason: {reason}.\n    Advice: List" in answer.stdout
    assert 'last of 8 lines: {"event": "stopped by an error"' in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 80
    tree = json.loads(site.ctl("status", "--json").stdout)
    assert (tree["state"], tree["exit_code"]) == ("failed", 78)
    assert tree["reason"] == {"exit_code": 78, "what": f"{reason}.", "advice": "List the settings."}
    assert "down: voice-appliance: failed, exit code 78" in site.ctl("status", "--plain").stdout


def test_failed_start_is_shown_with_its_exit_code_if_the_image_cannot_explain_it(
    site: OperatedHost,
) -> None:
    site.tag(BROKEN, "current")
    podman = shutil.which("podman")
    site.host.program("podman", f'[[ "$*" != *exit-reason* ]] || exit 125\nexec {podman} "$@"')
    message = site.ctl("start").stderr  # the engine may have restarted it in the meantime
    assert re.search(r"it stopped with exit code (78|unknown): see voicectl logs", message)
    answer = _status_once_failed(site)
    assert "     State: failed\n" in answer.stdout
    assert "      Exit: code 78\n" in answer.stdout
    assert json.loads(site.ctl("status", "--json").stdout)["reason"] is None


def _status_once_failed(site: OperatedHost) -> subprocess.CompletedProcess[str]:
    """The status, once the engine has given up restarting the container."""
    until = time.monotonic() + 60
    while "failed" not in (answer := site.ctl("status")).stdout and time.monotonic() < until:
        time.sleep(0.2)
    return answer


def test_start_without_a_token_is_refused(site: OperatedHost) -> None:
    site.tag(ONE, "current")
    (site.etc / "token").unlink()
    assert "token is missing" in site.ctl("start").stderr


def test_start_without_a_published_port_is_refused(site: OperatedHost) -> None:
    site.tag(ONE, "current")
    (site.etc / "host.flags").write_text("--memory=1g\n")
    assert "host.flags publishes no port, so callers could not connect" in site.ctl("start").stderr
    answer = site.ctl("activate", "0.1.1")
    assert answer.returncode == 1
    assert "Nothing was changed" in answer.stderr


def test_last_container_is_kept_for_its_log_until_the_next_one_ends(serving: OperatedHost) -> None:
    first = serving.run_engine("inspect", "--format", "{{.Id}}", NAME)
    serving.must("restart")
    assert serving.serves == "0.1.0"
    assert serving.run_engine("inspect", "--format", "{{.Id}}", f"{NAME}-last") == first
    serving.must("restart")
    assert len(serving.run_engine("ps", "--all", "--quiet").split()) == 2


def test_unit_is_controlled_through_supervisord(serving: OperatedHost) -> None:
    call = "called with -s unix:///run/voice/supervisor.sock"
    assert f"{call} restart tts" in serving.must("restart", "tts")
    assert f"{call} stop gateway" in serving.must("stop", "gateway")
    assert f"{call} start gateway" in serving.must("start", "gateway")
    answer = serving.ctl("restart", "kokorro")
    assert answer.returncode == 1
    assert "the units are: gateway llm tts exporter" in answer.stderr


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_failed_control_of_a_unit_leaves_the_others_alone(serving: OperatedHost, verb: str) -> None:
    container = serving.run_engine("inspect", "--format", "{{.Id}}", NAME)
    answer = serving.ctl(verb, "llm")
    assert answer.returncode == 7  # of supervisorctl
    assert serving.serves == "0.1.0"
    assert serving.run_engine("inspect", "--format", "{{.Id}}", NAME) == container


def test_restart_with_an_unknown_word_stops_nothing(serving: OperatedHost) -> None:
    answer = serving.ctl("restart", "--now")
    assert answer.returncode == 1
    assert "there is no unit --now" in answer.stderr
    assert serving.serves == "0.1.0"


def test_drain_verify_and_trace_run_in_the_image(serving: OperatedHost) -> None:
    assert serving.must("drain", "--wait", "5") == "drained --wait 5\n"
    assert serving.must("verify") == "verified 0.1.0\n"
    assert serving.must("trace", "abc") == "trace of abc\n"
    serving.must("stop")
    assert serving.must("verify") == "verified 0.1.0\n"
    assert serving.must("trace", "abc") == "trace of abc\n"
    assert "is not running" in serving.ctl("drain").stderr


def test_settings_are_those_of_the_host_even_before_the_first_activation(
    site: OperatedHost,
) -> None:
    write_settings(site, "STAND_IN_SECONDS=3")
    assert site.must("settings") == "seconds 3 of 0.1.2\n"  # of the newest imported release
    site.tag(ONE, "current")
    assert site.must("settings") == "seconds 3 of 0.1.0\n"
    site.must("start")
    assert site.must("settings") == "seconds 3 of 0.1.0\n"


def test_settings_check_reads_the_files_and_not_the_running_container(
    serving: OperatedHost,
) -> None:
    assert serving.must("settings", "--check") == ""
    write_settings(serving, "VOICE_TTS_SPEED=3")
    answer = serving.ctl("settings", "--check")
    assert answer.returncode == 78
    assert answer.stdout == "tts.speed: 3 is not between 0.5 and 2 (release 0.1.0)\n"


def test_say_uses_the_lexicon_in_the_file_and_not_that_of_the_running_container(
    serving: OperatedHost,
) -> None:
    assert serving.must("say", "Give Kefzol.") == "says Give Kefzol. with \n"
    (serving.etc / "lexicon.tsv").write_text("Kefzol\tkef zole\n")
    assert serving.must("say", "Give Kefzol.") == "says Give Kefzol. with Kefzol\tkef zole\n"
    assert "say needs a text" in serving.ctl("say").stderr


def test_say_writes_the_speech_to_a_file_of_the_host(site: OperatedHost, tmp_path: Path) -> None:
    wav = tmp_path / "said.wav"
    answer = site.ctl("say", "Hello.", "--wav", str(wav))  # before the first activation
    assert (answer.returncode, answer.stdout) == (0, "")
    assert "wrote --wav=- -- Hello." in answer.stderr
    assert wav.read_text() == "RIFF of Hello."
    assert wav.stat().st_mode & 0o777 == 0o600


def test_say_that_fails_leaves_the_file_of_the_host_as_it_was(
    site: OperatedHost, tmp_path: Path
) -> None:
    wav = tmp_path / "said.wav"
    wav.write_text("kept")
    assert site.ctl("say", "Fail.", "--wav", str(wav)).returncode != 0
    assert wav.read_text() == "kept"
    assert [path.name for path in tmp_path.glob("said*")] == ["said.wav"]


def test_token_writes_the_folder_that_the_appliance_only_reads(serving: OperatedHost) -> None:
    answer = serving.ctl("token", "create", "ward-3", "--calls", "2")
    assert answer.stdout == "token create ward-3 --calls 2\n"
    assert answer.stderr == ""  # the running appliance sees the first token
    store = serving.etc / "access" / "tokens"
    assert store.read_text() == "create ward-3 --calls 2\n"
    assert store.parent.stat().st_mode & 0o777 == 0o700
    assert store.parent.stat().st_uid == USER
    command = serving.run_engine("inspect", "--format", "{{.Config.CreateCommand}}", NAME)
    assert f"{store.parent}:/run/secrets/voice-access:ro" in command
    assert "--env=VOICE_GATEWAY_TOKEN_STORE=/run/secrets/voice-access/tokens" in command
    answer = serving.ctl("token", "revoke", "ward-3")
    assert (answer.stdout, answer.stderr) == ("token revoke ward-3\n", "")
    assert "takes create, list or revoke" in serving.ctl("token").stderr


def test_container_that_does_not_see_the_tokens_is_named(serving: OperatedHost) -> None:
    serving.run_engine("rm", "--force", NAME)
    serving.run_engine("run", "--detach", "--name", NAME, "--network=none", *ULIMITS, ONE.tag)
    answer = serving.ctl("token", "create", "ward-3")
    assert "does not see" in answer.stderr and "restart" in answer.stderr


def test_folder_that_compose_made_for_root_is_given_to_the_user_of_the_image(
    site: OperatedHost,
) -> None:
    (site.etc / "access").mkdir(0o755)
    site.tag(ONE, "current")
    site.must("token", "create", "ward-3")
    folder = (site.etc / "access").stat()
    assert (folder.st_uid, folder.st_mode & 0o777) == (USER, 0o700)


def test_audit_reads_the_log_or_files_of_the_host(serving: OperatedHost, tmp_path: Path) -> None:
    noted = "5f2d" * 16
    answer = serving.must("audit", "verify", "--noted", noted)
    assert answer.startswith(f"audit verify --noted {noted} of: ")
    assert "appliance started" in answer
    first, second = tmp_path / "audit-000001.jsonl", tmp_path / "audit-000002.jsonl"
    first.write_text("the first line\n")
    second.write_text("the second line\n")
    answer = serving.must("audit", "head", str(first), str(second))
    assert answer.startswith("audit head --tar of: ")
    assert answer.index("the first line") < answer.index("the second line")
    assert "cannot be read" in serving.ctl("audit", "verify", str(tmp_path / "missing")).stderr
    assert "takes verify or head" in serving.ctl("audit").stderr


def test_settings_check_includes_those_in_host_flags(serving: OperatedHost) -> None:
    with (serving.etc / "host.flags").open("a") as flags:
        flags.write("--env=VOICE_TTS_SPEED=4\n")
    assert "tts.speed: 4" in serving.ctl("settings", "--check").stdout


@pytest.mark.parametrize("stopped", [False, True])
def test_logs_are_formatted_even_after_a_stop(serving: OperatedHost, stopped: bool) -> None:
    if stopped:
        serving.must("stop")
    assert "short: appliance started\n" in serving.must("logs")
    assert serving.must("logs", "-u", "tts") == "short: process running\n"
    assert '"process": "tts"' in serving.must("logs", "-u", "tts", "-o", "json")
    last = serving.must("logs", "-n", "1", "-o", "json")
    assert last.count("\n") == 1
    assert serving.must("logs", "-u", "gateway", "-n", "1").count("\n") == 1
    assert serving.must("logs", "--since", "10m") == serving.must("logs")
    assert serving.must("logs", "--since", "tomorrow") == ""
    assert "--since soon is not a time" in serving.ctl("logs", "--since", "soon").stderr


def test_logs_are_followed_until_interrupted(serving: OperatedHost) -> None:
    follow = ("timeout", "120", OPS / "voicectl", "logs", "-f", "-o", "json")
    environ = {**serving.host.environ, **serving.environ}
    with subprocess.Popen(follow, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if '"appliance started"' in line:
                serving.must("drain")
            if '"drained ' in line:
                break
        else:
            pytest.fail("lines that were logged later were not shown")
        process.terminate()


def test_help_comes_from_the_header(site: OperatedHost) -> None:
    assert "Usage: voicectl" in site.must("help")
    for verb in ("status", "logs", "start", "restart", "stop", "activate", "rollback", "bundle"):
        shown = site.must(verb, "--help")
        assert shown.startswith("Usage: voicectl ")
        assert verb in shown.splitlines()[0]
        assert len(shown.splitlines()) < 8
    assert "Usage: ops/preflight" in site.must("preflight", "--help")
    answer = site.ctl("activte")
    assert answer.returncode == 2
    assert "unknown command activte" in answer.stderr


def test_preflight_checks_the_secrets_that_voicectl_uses(site: OperatedHost) -> None:
    secrets = ("--only", "certificate,key,token")
    alone = site.host.run(OPS / "preflight", *secrets)
    assert "/etc/voice-appliance/tls/" in alone.stdout
    assert site.ctl("preflight", *secrets, VOICE_ETC="/etc/voice-appliance").stdout == alone.stdout


def test_missing_engine_is_reported(site: OperatedHost) -> None:
    answer = site.ctl("--engine", "docker", "status", DOCKER_HOST="unix:///nowhere")
    assert answer.returncode == UNKNOWN
    assert "docker does not respond" in answer.stderr


def test_bundle_has_all_sources_and_no_value_that_is_not_listed(serving: OperatedHost) -> None:
    write_settings(serving, "VOICE_SECRET=hidden-in-env\n# hidden-in-comment")
    flags = serving.etc / "host.flags"
    spellings = ("--env=VOICE_OTHER=hidden-a", "-eB=hidden-b", "--label=key=hidden-c", "# hidden-d")
    flags.write_text("\n".join((flags.read_text(), *spellings, "--pids-limit=512", "")))
    serving.must("restart")
    # Another container of the same host.
    other = ("run", "--detach", "--name=neighbour", "--network=none", *ULIMITS, "--env=C=hidden-e")
    bash = ("--entrypoint=bash", ONE.tag, "-c", "sleep 1000", "hidden-in-command")
    serving.run_engine(*other, *bash)
    killed = "Out of memory: Killed process 7 ({0}) total-vm:1kB"
    group = "oom-kill:task_memcg=/m-{0},task={0},pid=7"
    lines = [line.format(name) for name in ("neighbour", "python3") for line in (killed, group)]
    serving.host.program("dmesg", "".join(f"echo '{line}'\n" for line in lines))
    serving.host.program("nvidia-smi", "exit 0")
    files = _unpacked_bundle(serving)
    assert (serving.host.folder / "b.tar.zst").stat().st_mode & 0o777 == 0o600
    assert files.keys() >= {
        "status.json",
        "releases.txt",
        "preflight.json",
        "engine.txt",
        "unit.txt",
        "host.txt",
        "gpu.txt",
        "host.flags",
        "appliance.env",
        "appliance/version.txt",
        "last/version.txt",
        f"{NAME}.inspect.json",
        f"{NAME}-last.inspect.json",
    }
    assert json.loads(files["status.json"])["appliance"]["version"] == "0.1.0"
    assert json.loads(files["preflight.json"])["checks"]
    everything = "".join(files.values())
    assert "VOICE_SECRET=..." in everything
    assert "--pids-limit=512" in everything
    assert "VOICE_OTHER" in json.loads(files[f"{NAME}.inspect.json"])["Env"]
    for secret in ("hidden", "neighbour", "a token", "it may hold anything"):
        assert secret not in everything
    assert "Killed process 7 (...) total-vm" in files["gpu.txt"]
    assert "Killed process 7 (python3) total-vm" in files["gpu.txt"]
    assert "task_memcg=...,task=python3" in files["gpu.txt"]
    assert "/merged" not in files["host.txt"]  # the file systems of containers


def test_bundle_of_a_failed_start_has_no_value_that_was_refused(site: OperatedHost) -> None:
    """An error quotes what it refuses: maybe a secret that was pasted into the wrong setting."""
    site.tag(BROKEN, "current")
    write_settings(site, "VOICE_GATEWAY_TLS_KEY=/run/secrets/tls/hidden.pem")
    site.ctl("start")
    _status_once_failed(site)
    site.state.mkdir(exist_ok=True)
    time = "2026-11-30T02:00:00Z  00c0ffee"
    why = 'it stopped with exit code 78: The setting gateway.port is not usable: "9x"'
    (site.state / "activations.log").write_text(
        f"{time}  begin activate 0.2.0-cpu new=a current=b previous=c ran=yes .\n{time}  start\n"
        f"{time}  back podman run: unknown flag hidden\n{time}  stuck {why}\n"
    )
    files = _unpacked_bundle(site)
    status = json.loads(files["status.json"])
    assert status["reason"] == {"exit_code": 78, "what": "...", "advice": "List the settings."}
    assert "stuck it stopped with exit code 78...\n" in files["activations.log"]
    assert "begin activate 0.2.0-cpu new=a" in files["activations.log"]
    keys = [each for each in json.loads(files["preflight.json"])["checks"] if each["id"] == "key"]
    assert keys[0]["found"].endswith("/etc/tls/... is missing, as is the certificate")
    for name, content in files.items():
        assert "9x" not in content and "hidden" not in content, name


def _unpacked_bundle(site: OperatedHost) -> dict[str, str]:
    out, folder = site.host.folder / "b.tar.zst", site.host.folder / "unpacked"
    site.must("bundle", "--out", out)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    site.host.must("tar", "--extract", "--zstd", "--strip-components=1", "-C", folder, "-f", out)
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def test_bundle_is_made_before_the_first_activation(site: OperatedHost) -> None:
    site.must("bundle")
    (bundle,) = site.state.glob("*.tar.zst")
    listed = site.host.must("tar", "--list", "--zstd", "--file", bundle)
    assert "preflight.json" in listed
    assert list(site.state.glob("*.partial")) == []


def test_completion_knows_verbs_units_and_releases(site: OperatedHost) -> None:
    def complete(*words: str) -> set[str]:
        script = (
            f"source {OPS}/voicectl.completion.bash; COMP_WORDS=({' '.join(words)} '');"
            f"COMP_CWORD={len(words)}; _voicectl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
        path = f"{OPS}:{site.host.environ['PATH']}"
        return set(site.host.run("bash", "-c", script, **site.environ, PATH=path).stdout.split())

    assert complete("voicectl") >= {"status", "activate", "rollback", "bundle"}
    assert complete("voicectl", "restart") >= {"gateway", "llm", "tts", "exporter"}
    assert complete("voicectl", "activate") >= {"0.1.0-cpu", "0.1.1-cpu", "--force"}
    assert complete("voicectl", "logs", "-o") == {"short", "json", "cat"}


def test_every_verb_is_in_the_help_and_the_completion(site: OperatedHost) -> None:
    text = (OPS / "voicectl").read_text()
    verbs = next(line for line in text.splitlines() if line.startswith("    status | start"))
    shown = site.must("help")
    completion = (OPS / "voicectl.completion.bash").read_text()
    for verb in verbs.strip(" )").split(" | "):
        assert f" {verb}" in shown
        assert f" {verb} " in completion or f"'{verb} " in completion


def test_voicectl_of_a_release_folder_needs_nothing_else(carried: Path, offline: Host) -> None:
    assert run_import(offline, carried).returncode == 0
    assert "1-cpu" in offline.must(carried / "voicectl", "releases")
    linked = offline.folder / "bin/voicectl"
    linked.parent.mkdir(exist_ok=True)
    linked.symlink_to(carried / "voicectl")
    assert offline.run("voicectl", "status").returncode == UNKNOWN
    for name in ("units/voice-appliance.service", "units/host.flags", "monitoring/alerts.yml"):
        assert (carried / name).exists()


# --- certificates


def test_first_start_makes_a_certificate_for_the_names_of_the_host(site: OperatedHost) -> None:
    site.tag(ONE, "current")
    answers = "case $1 in -f) echo voice.example ;; -I) echo 192.0.2.7 fe80::1 ;; *) echo v ;; esac"
    site.host.program("hostname", answers)
    started = site.must("start")
    wanted = "tls init --owner 10001 --quiet --name voice.example --name v --name 192.0.2.7\n"
    assert wanted in started
    assert "BEGIN CERTIFICATE" in (site.etc / "tls/chain.pem").read_text()
    assert (site.etc / "tls/key.pem").stat().st_uid == USER
    assert (site.etc / "ca").stat().st_mode & 0o777 == 0o700
    assert (site.etc / "tls").stat().st_mode & 0o777 == 0o750
    assert (site.etc / "tls").stat().st_gid == USER
    mounts = site.run_engine("inspect", "--format", "{{.HostConfig.Binds}}", NAME)
    assert f"{site.etc}/tls:/run/secrets/tls:ro" in mounts
    assert f"{site.etc}/ca" not in mounts  # the key of the CA
    assert "tls init" not in site.must("restart")


@pytest.mark.parametrize(
    "line",
    [
        "VOICE_GATEWAY_PLAIN_NETWORK=true",
        "VOICE_GATEWAY_TLS_CERTIFICATE=/run/secrets/tls/hospital.pem",
    ],
)
def test_start_leaves_a_site_with_settings_of_its_own_alone(site: OperatedHost, line: str) -> None:
    write_settings(site, line)
    site.tag(ONE, "current")
    assert "tls init" not in site.must("start")
    assert not (site.etc / "tls").exists()


@pytest.mark.parametrize("name", ["chain.pem", "key.pem"])
def test_files_of_the_customer_are_not_touched(site: OperatedHost, name: str) -> None:
    (site.etc / "tls").mkdir()
    (site.etc / "tls" / name).write_text("of the customer\n")
    site.tag(ONE, "current")
    assert "tls" not in site.must("start")
    assert (site.etc / "tls" / name).read_text() == "of the customer\n"


def test_start_renews_an_old_certificate_of_the_own_ca(site: OperatedHost) -> None:
    site.tag(ONE, "current")
    site.must("start")
    days_ago = time.time() - 340 * 86_400
    os.utime(site.etc / "tls/chain.pem", (days_ago, days_ago))
    assert "tls renew --owner 10001 --quiet\n" in site.must("restart")


def test_release_that_cannot_make_certificates_starts_with_a_warning(site: OperatedHost) -> None:
    site.tag(OLD, "current")
    assert "its calls are not encrypted" in site.ctl("start").stderr
    assert site.serves == OLD.version


def test_tls_actions_run_in_a_container_without_a_network(site: OperatedHost) -> None:
    site.tag(ONE, "current")
    assert "tls.pem" not in site.ctl("trust").stdout
    assert "ca.pem is missing" in site.ctl("trust").stderr
    assert "tls init --owner 10001" in site.must("tls", "init", "--name", "v.example")
    assert site.must("tls", "renew", "--force") == "tls renew --owner 10001 --force\n"
    assert site.must("tls", "show", "--json") == "tls show --owner 10001 --json\n"
    assert site.must("tls") == "tls show --owner 10001\n"
    assert "tls client --owner 10001 anna\n" in site.must("tls", "client", "anna")
    assert "unknown action burn" in site.ctl("tls", "burn").stderr
    (site.etc / "tls/ca.pem").write_text("the authority\n")
    out = site.state / "copy.pem"
    out.parent.mkdir(exist_ok=True)
    assert "tls trust --owner 10001\n" in site.must("trust", "--out", out)
    assert out.read_text() == "the authority\n"


def test_running_appliance_is_not_disturbed_by_a_proof(serving: OperatedHost) -> None:
    refused = serving.ctl("prove-offline")
    assert refused.returncode == 1
    assert "stop it first" in refused.stderr
    assert serving.serves == ONE.version


def test_image_without_a_watcher_proves_nothing_and_leaves_nothing(site: OperatedHost) -> None:
    failed = site.ctl("prove-offline", ONE.version)
    assert failed.returncode == 1
    assert "the watcher does not watch" in failed.stderr
    assert site.run_engine("ps", "--all", "--quiet") == ""
    assert not list(site.state.glob("reports/*"))
