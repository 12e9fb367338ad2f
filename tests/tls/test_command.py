"""`python -m appliance tls`, as an operator runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.__main__ import main
from appliance.tls import issue
from appliance.tls.examine import authorities_only, issued_by
from appliance.tls.names import HostNames
from tests.tls.site import Site, make_site, now

BAD = 78


class Operator:
    """Runs the command on the folders of a host."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.tls, self.ca = folder / "tls", folder / "ca"
        self.tls.mkdir(exist_ok=True)
        self.ca.mkdir(exist_ok=True)
        self._capsys = capsys
        self.code = 0

    def run(self, *arguments: str) -> str:
        folders = ("--folder", str(self.tls), "--authority", str(self.ca))
        self._capsys.readouterr()
        self.code = main(["tls", arguments[0], *folders, *arguments[1:]], {})
        return self._capsys.readouterr().out

    def must(self, *arguments: str) -> str:
        shown = self.run(*arguments)
        assert self.code == 0
        return shown

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.tls.iterdir()}


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path, capsys)


def test_init_makes_a_ca_and_a_certificate_and_does_nothing_the_second_time(
    operator: Operator,
) -> None:
    shown = operator.must("init", "--name", "voice.example", "--name", "192.0.2.7")
    assert "for voice.example, localhost, 192.0.2.7, 127.0.0.1, ::1" in shown
    before = operator.files()
    assert {path.name for path in before} == {"ca.pem", "chain.pem", "key.pem"}
    assert "nothing to do" in operator.must("init", "--name", "other.example")
    assert operator.must("init", "--quiet") == ""
    assert operator.files() == before
    modes = {path.name: path.stat().st_mode & 0o777 for path in (*before, *operator.ca.iterdir())}
    assert modes["key.pem"] == modes["ca-key.pem"] == 0o400


def test_serving_folder_never_has_the_key_of_an_authority(operator: Operator) -> None:
    operator.must("init", "--name", "voice.example")
    operator.must("client", "anna")
    keys = {path.read_bytes() for path in operator.ca.glob("*-key.pem")}
    assert len(keys) == 2
    assert not keys & set(operator.files().values())


def test_show_names_what_is_wrong_and_its_exit_code_tells(operator: Operator) -> None:
    operator.must("init", "--name", "voice.example")
    assert "(the CA of this site)" in operator.must("show")
    tree = json.loads(operator.must("show", "--json"))
    assert (tree["own_ca"], tree["problems"]) == (True, [])
    (operator.tls / "key.pem").chmod(0o644)
    assert "chmod 0400" in operator.must("show")  # clients do not notice it
    (operator.tls / "chain.pem").unlink()
    operator.run("show")
    assert operator.code == BAD


def test_renew_waits_until_it_is_due_and_keeps_the_names(operator: Operator) -> None:
    operator.must("init", "--name", "voice.example")
    before = operator.files()
    assert "not due yet" in operator.must("renew")
    assert operator.files() == before
    assert "voice.example" in operator.must("renew", "--force")
    after = operator.files()
    changed = {path.name for path in after if after[path] != before[path]}
    assert changed == {"chain.pem", "key.pem"}
    assert "below.voice.example" in operator.must("renew", "--name", "below.voice.example")
    operator.run("renew", "--name", "bank.example")
    assert operator.code == BAD


def test_due_certificate_is_renewed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = make_site(tmp_path)
    site.install(days_ago=360)
    operator = Operator(tmp_path, capsys)
    assert "problem: the certificate expires soon" not in operator.must("show")
    assert "issued" in operator.must("renew", "--quiet")
    assert operator.must("renew", "--quiet") == ""


def of_the_customer(site: Site) -> None:
    """Replace the certificate by that of another CA."""
    other = issue.server_authority(site_names(), now())
    site.folders.write_server(issue.server_certificate(other, site_names(), now()))


def site_names() -> HostNames:
    return HostNames(("voice.hospital.example",))


@pytest.mark.parametrize(
    "arguments", [("init",), ("init", "--new-ca"), ("renew", "--force"), ("renew",)]
)
def test_certificate_of_the_customer_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    site = make_site(tmp_path)
    of_the_customer(site)
    operator = Operator(tmp_path, capsys)
    before = operator.files()
    operator.run(*arguments)
    assert operator.code == (0 if arguments == ("init",) else BAD)
    assert operator.files() == before


def test_new_ca_replaces_the_old_one(operator: Operator) -> None:
    operator.must("init", "--name", "voice.example")
    old = (operator.tls / "ca.pem").read_bytes()
    operator.must("init", "--new-ca", "--name", "voice2.example")
    new, chain = ((operator.tls / name).read_bytes() for name in ("ca.pem", "chain.pem"))
    assert new != old
    assert issued_by(chain, new) and not issued_by(chain, old)


def test_export_prints_the_certificate_of_the_ca(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    site = make_site(tmp_path)
    folders = ["--folder", str(tmp_path / "tls"), "--authority", str(tmp_path / "ca")]
    assert main(["tls", "export", *folders], {}) == 0
    assert capfdbinary.readouterr().out == authorities_only(site.ca.read_bytes())


def test_trust_names_the_host_and_every_system(operator: Operator) -> None:
    operator.must("init", "--name", "voice.example")
    page = operator.must("trust")
    assert "https://voice.example:8765/ca.pem" in page
    for system in ("Debian", "RHEL", "Windows", "macOS", "Firefox", "iOS", "Android"):
        assert system in page
    assert max(map(len, page.splitlines())) <= 100


@pytest.mark.parametrize("name", ["../etc/passwd", "a/b", "", "-x y", "a b"])
def test_client_name_that_is_not_a_file_name_is_refused(operator: Operator, name: str) -> None:
    operator.must("init", "--name", "voice.example")
    operator.run("client", "--", name)
    assert operator.code == BAD
    assert not (operator.ca / "clients").exists()


def test_wrong_name_is_refused(operator: Operator) -> None:
    operator.run("init", "--name", "*.example")
    assert operator.code == BAD
    assert operator.files() == {}
