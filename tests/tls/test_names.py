"""Names and addresses of certificates."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.errors import BadName
from appliance.tls.names import HostNames, outside, parse, permitted_networks


def test_names_and_addresses_are_told_apart_and_kept_once() -> None:
    names = parse(["Voice.Example.", "voice.example", "192.0.2.7", "fd00::7", "reception-1"])
    assert names.dns == ("voice.example", "reception-1")
    assert names.addresses == (ip_address("192.0.2.7"), ip_address("fd00::7"))


@pytest.mark.parametrize(
    "text", ["", "a b", "*.example", "-a.example", "192.0.2", "a..b", "x" * 64, "ä.example", "a/b"]
)
def test_text_that_is_not_a_name_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        parse([text])


def test_private_addresses_are_permitted_and_public_ones_only_if_the_host_has_them() -> None:
    networks = permitted_networks(parse(["192.0.2.7", "10.0.0.1"]))
    wanted = parse(["10.9.9.9", "fd00::1", "192.0.2.7", "192.0.2.8", "2001:db8::1"])
    assert outside(wanted, [], networks) == ["192.0.2.8", "2001:db8::1"]


def test_a_constraint_permits_the_name_and_those_below_it() -> None:
    wanted = HostNames(("voice.example", "a.voice.example", "evilvoice.example", "example"))
    assert outside(wanted, ["voice.example"], []) == ["evilvoice.example", "example"]
