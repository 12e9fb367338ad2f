"""voicectl where systemd runs the appliance: the unit is started and stopped, the journal read.

There is no systemd here: a stand-in runs the container as the shipped unit does, removes it when it
has ended, and answers `systemctl show` from what it wrote down.
"""

from __future__ import annotations

import pytest

from tests.image.running import NAME, ONE, TWO, Release, Site

BROKEN = Release("0.2.1", "broken")
RELEASES = (ONE, TWO, BROKEN)

SYSTEMCTL = r"""
cd {folder}
log() {{ podman logs voice-appliance >>journal 2>&1; }}
echo "$*" >>asked
case $1 in
    cat) echo 'ExecStart=podman run --env=A=hidden-in-unit' ;;
    start)
        podman run --detach --name voice-appliance --network=none --pull=never \
            --tmpfs=/run:mode=1777 localhost/voice-appliance:current >/dev/null
        sleep 1
        code=$(podman inspect --format '{{{{.State.ExitCode}}}}' voice-appliance)
        if ((code)); then
            log && podman rm voice-appliance >/dev/null
            printf 'ActiveState=failed\nSubState=failed\nExecMainStatus=%s\n' "$code" >state
            echo 'InactiveEnterTimestamp=Sun 2026-11-22 10:00:00 UTC' >>state
        fi ;;
    stop)
        podman stop voice-appliance >/dev/null 2>&1 && log && podman rm voice-appliance >/dev/null
        printf 'ActiveState=inactive\nExecMainStatus=0\nInactiveEnterTimestamp=\n' >state ;;
    show) cat state 2>/dev/null || echo ActiveState=inactive ;;
esac
"""
JOURNALCTL = """
cd {folder}
[[ ! -f journal ]] || cat journal
podman logs voice-appliance 2>/dev/null || true
"""


@pytest.fixture
def site(site: Site) -> Site:
    """By systemd, as far as voicectl can tell."""
    site.state.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        site.host.program(name, text.format(folder=site.state))
    return site


def asked(site: Site, verb: str) -> int:
    """How often the unit was told so."""
    return (site.state / "asked").read_text().splitlines().count(verb)


def test_the_unit_is_started_and_stopped_and_shown(site: Site) -> None:
    assert site.ctl("status").returncode == 4
    site.tag(ONE, "current")
    site.does("start")
    assert asked(site, f"start --no-block {NAME}.service") == 1
    assert site.serves == "0.1.0"
    screen = site.does("status")
    assert f"Run by: {NAME}.service" in screen
    site.does("stop")
    assert asked(site, f"stop {NAME}.service") == 1
    answer = site.ctl("status")
    assert answer.returncode == 3
    assert "inactive (dead)" in answer.stdout
    assert "short: appliance stopped" in site.does("logs")


def test_a_unit_that_failed_is_shown_with_exit_code_and_reason(site: Site) -> None:
    site.tag(BROKEN, "current")
    answer = site.ctl("start")
    assert answer.returncode == 1
    assert "it ended with exit code 78: The setting gateway.port" in answer.stderr
    answer = site.ctl("status")
    assert answer.returncode == 3
    assert "failed (exit code 78" in answer.stdout
    assert "Reason: The setting gateway.port" in answer.stdout


def test_a_unit_that_is_about_to_be_started_again_is_stopped(site: Site) -> None:
    site.tag(BROKEN, "current")
    (site.state / "state").write_text("ActiveState=activating\nSubState=auto-restart\n")
    assert "is stopped" in site.does("stop")
    assert asked(site, f"stop {NAME}.service") == 1


def test_a_release_is_activated_and_put_back_by_the_unit(site: Site) -> None:
    site.does("activate", "0.1.0")
    site.does("activate", "0.2.0")
    assert site.serves == "0.2.0"
    answer = site.ctl("activate", "0.2.1")
    assert answer.returncode == 10
    assert "0.2.0-cpu is current again, and takes calls" in answer.stderr
    assert site.serves == "0.2.0"
    site.does("rollback")
    assert site.serves == "0.1.0"


def test_a_bundle_has_the_unit_without_the_values_in_it(site: Site) -> None:
    site.does("activate", "0.1.0")
    site.does("bundle", "--out", site.host.folder / "b.tar.zst")
    shown = site.host.must("tar", "--extract", "--zstd", "--to-stdout", "-f", "b.tar.zst")
    assert "ExecStart=podman run --env=A=..." in shown
    assert "hidden-in-unit" not in shown
