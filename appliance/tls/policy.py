"""Where calls may be unencrypted. No I/O."""

from __future__ import annotations

import ipaddress

from appliance.errors import PlainNetwork
from appliance.settings import GatewayConfig


def require_tls(gateway: GatewayConfig) -> None:
    """Raise PlainNetwork if calls would cross a network unencrypted without a setting for it."""
    if not gateway.uses_tls and not gateway.plain_network and not is_loopback(gateway.host):
        raise PlainNetwork(host=gateway.host)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
