"""What a taken gateway can do on kernels with each version of Landlock's ABI.

Debian 12 (Linux 6.1) has version 2, Ubuntu 24.04 (6.8) version 4, Debian 13 (6.12) version 6.
"""

from __future__ import annotations

from appliance.confinement.confine import Confinement

ALLOWED = {"list programs", "read the store"}  # on every kernel: the gateway itself reads the store
FILES = {
    "write draining",
    "write guard/failed.json",
    "write guard.json",
    "write seal.json",
    "remove a file",
    "change the store",
}
OPEN = {"files": FILES, "connections": {"connect"}}  # by gap


def possible(abi: int) -> set[str]:
    """The attempts that succeed, of those of attack.py, with the filter and this version."""
    gaps = Confinement(filtered=True, landlock=abi).gaps
    return ALLOWED.union(*(OPEN[gap] for gap in gaps))
