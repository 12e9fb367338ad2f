"""voicectl on a host where systemd runs the appliance.

A script stands in for systemctl: it runs the container as the shipped unit does, removes it when it
has ended, and answers `systemctl show` from a file.
"""

from __future__ import annotations

import pytest

from tests.host.running import NAME, ONE, TWO, OperatedHost, Release
from tests.host.test_voicectl_activation import READY_AGAIN, SEE

BROKEN = Release("0.2.1", "broken")
RELEASES = (ONE, TWO, BROKEN)

SYSTEMCTL = r"""
cd {folder}
log() {{ podman logs voice-appliance >>journal 2>&1; }}
echo "$*" >>calls
case $1 in
    cat) cat unit ;;
    start)
        mkdir -p {runtime}
        mark=--volume={runtime}:/run/voice-host:ro
        grep -q /run/voice-host unit || mark=--env=NO=mark
        podman run --detach --name voice-appliance --network=none --pull=never "$mark" \
            --tmpfs=/run:mode=1777 localhost/voice-appliance:current >/dev/null
        sleep 1.0 # not 1: see SLEEP in running.py
        code=$(podman inspect --format '{{{{.State.ExitCode}}}}' voice-appliance)
        if ((code)); then
            log && podman rm voice-appliance >/dev/null
            printf 'ActiveState=failed\nSubState=failed\nExecMainStatus=%s\n' "$code" >state
            echo 'InactiveEnterTimestamp=Sun 2026-11-22 10:00:00 UTC' >>state
        fi ;;
    stop)
        podman stop voice-appliance >/dev/null 2>&1 && log && podman rm voice-appliance >/dev/null
        printf 'ActiveState=inactive\nExecMainStatus=0\nInactiveEnterTimestamp=\n' >state ;;
    show)
        cat state 2>/dev/null || echo ActiveState=inactive
        [[ ! -e restarted ]] || echo NRestarts=1 ;;
esac
"""
# With a value in every spelling that systemd, podman and Docker accept.
UNIT = r"""# /etc/systemd/system/voice-appliance.service
[Service]
Restart=on-failure
# Environment=A=hidden
Environment=A=hidden
Environment=A=hidden "B=hidden hidden" 'C=hidden'
Environment="D=hidden" \
    E=hidden
EnvironmentFile=/etc/voice-appliance/appliance.env
SetCredential=token:hidden
ExecStart=/usr/bin/podman run --memory=4g --env=F=hidden --env G=hidden -e H=hidden -eI=hidden \
    "--env=J=hidden --memory=hidden" '--env' "K=hidden hidden" \
    --env "L=hidden --pids-limit=hidden" \
    --label=key=hidden --annotation key=hidden --log-opt=token=hidden --health-cmd="curl hidden" \
    # hidden
    --volume=/run/voice-appliance:/run/voice-host:ro,z \
    --read-only localhost/voice-appliance:current hidden
ExecStartPost=/bin/sh -c 'curl --header "Authorization: hidden" hidden'
Label=key=hidden
[Container]
PodmanArgs=--pids-limit=512 --secret=hidden --env M=hidden
"""
JOURNALCTL = """
cd {folder}
[[ ! -f journal ]] || cat journal
podman logs voice-appliance 2>/dev/null || true
"""


@pytest.fixture
def site(site: OperatedHost) -> OperatedHost:
    """A host with systemd, as far as voicectl can tell."""
    site.state.mkdir()
    (site.state / "unit").write_text(UNIT)
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        site.host.program(name, text.format(folder=site.state, runtime=site.runtime / NAME))
    return site


def count_calls(site: OperatedHost, verb: str) -> int:
    """How often systemctl was called with this verb."""
    return (site.state / "calls").read_text().splitlines().count(verb)


def test_unit_is_started_stopped_and_shown(site: OperatedHost) -> None:
    assert site.ctl("status").returncode == 4
    site.tag(ONE, "current")
    site.must("start")
    assert count_calls(site, f"start --no-block {NAME}.service") == 1
    assert site.serves == "0.1.0"
    screen = site.must("status")
    assert f"Run by: {NAME}.service" in screen
    site.must("stop")
    assert count_calls(site, f"stop {NAME}.service") == 1
    answer = site.ctl("status")
    assert answer.returncode == 3
    assert "inactive (dead)" in answer.stdout
    assert "short: appliance stopped" in site.must("logs")


def test_failed_unit_is_shown_with_exit_code_and_reason(site: OperatedHost) -> None:
    site.tag(BROKEN, "current")
    answer = site.ctl("start")
    assert answer.returncode == 1
    assert "it stopped with exit code 78: The setting gateway.port" in answer.stderr
    answer = site.ctl("status")
    assert answer.returncode == 3
    assert "State: failed\n" in answer.stdout
    assert "Exit: code 78\n    Reason: The setting gateway.port" in answer.stdout


def test_unit_that_waits_for_its_restart_is_stopped(site: OperatedHost) -> None:
    site.tag(BROKEN, "current")
    (site.state / "state").write_text("ActiveState=activating\nSubState=auto-restart\n")
    assert "is stopped" in site.must("stop")
    assert count_calls(site, f"stop {NAME}.service") == 1


def test_release_is_activated_and_replaced_through_the_unit(site: OperatedHost) -> None:
    site.must("activate", "0.1.0")
    site.must("activate", "0.2.0")
    assert site.serves == "0.2.0"
    answer = site.ctl("activate", "0.2.1")
    assert answer.returncode == 10
    assert "0.2.0-cpu is current again, and accepts calls" in answer.stderr
    assert site.serves == "0.2.0"
    site.must("rollback")
    assert site.serves == "0.1.0"


def test_release_is_closed_during_its_smoke_test(site: OperatedHost) -> None:
    site.set_smoke_test(f"{SEE} >seen")
    assert site.ctl("activate", "0.1.0").stderr == ""
    assert '"closed": true' in (site.host.folder / "seen").read_text()
    assert not site.is_closed()


# What systemd does when the process of a unit fails: a new container takes the name.
UNIT_RESTARTS = f"""
podman exec {NAME} bash -c 'kill -USR1 1'
podman wait {NAME}
podman logs {NAME} >>{{state}}/journal
podman rm {NAME}
systemctl start {NAME}.service
{READY_AGAIN}
{SEE} >seen
"""


def test_release_that_its_unit_restarts_during_the_smoke_test_is_replaced(
    site: OperatedHost,
) -> None:
    site.must("activate", "0.1.0")
    site.set_smoke_test(UNIT_RESTARTS.format(state=site.state))
    answer = site.ctl("activate", "0.2.0")
    assert answer.returncode == 10
    why = "it stopped with exit code 81: The process llm did not respond, during its smoke test"
    assert f"0.2.0-cpu failed: {why}. Rolling back" in answer.stderr
    assert "0.1.0-cpu is current again, and accepts calls" in answer.stderr
    assert '"closed": true' in (site.host.folder / "seen").read_text()
    assert site.serves == "0.1.0"
    assert not site.is_closed()


def test_release_that_its_unit_restarts_before_it_is_ready_is_replaced(site: OperatedHost) -> None:
    site.must("activate", "0.1.0")
    (site.state / "restarted").touch()
    site.set_smoke_test("touch tested")
    answer = site.ctl("activate", "0.2.0")
    assert "0.2.0-cpu failed: it stopped with" in answer.stderr
    assert not (site.host.folder / "tested").exists()


def test_unit_of_an_older_release_is_told_and_the_release_closed_all_the_same(
    site: OperatedHost,
) -> None:
    (site.state / "unit").write_text(UNIT.replace("/run/voice-host", "/run/elsewhere"))
    site.set_smoke_test(f"{SEE} >seen")
    answer = site.ctl("activate", "0.1.0")
    assert "the installed unit is of an older release" in answer.stderr
    assert '"closed": true' in (site.host.folder / "seen").read_text()
    assert not site.is_closed()


def test_bundle_has_the_unit_without_values_that_are_not_listed(site: OperatedHost) -> None:
    site.must("activate", "0.1.0")
    site.must("bundle", "--out", site.host.folder / "b.tar.zst")
    shown = site.host.must("tar", "--extract", "--zstd", "--to-stdout", "-f", "b.tar.zst")
    for kept in (
        "Restart=on-failure",
        "    --memory=4g",
        "    --read-only",
        "    --pids-limit=512",
    ):
        assert f"{kept}\n" in shown
    assert "Environment=...\n" in shown
    assert "hidden" not in shown
