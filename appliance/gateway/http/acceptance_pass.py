"""The secret that lets the acceptance test call a closed appliance.

The gateway writes a random secret into its run folder, which only processes of the appliance can
read, and the test sends it in a header. An address would not do: behind a port forwarder or a proxy
on the same host, callers come from loopback, too.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from pathlib import Path

from appliance import run_folder
from appliance.gateway.http.admission import ConnectionAttempt
from appliance.processes import GATEWAY


class AcceptancePass:
    """The secret of this gateway process."""

    def __init__(self) -> None:
        self._secret = secrets.token_urlsafe(32)

    def write(self, run: Path) -> None:
        """Write it where the acceptance test reads it."""
        run_folder.write_acceptance_pass(run, GATEWAY, self._secret)

    def mark(self, attempt: ConnectionAttempt, headers: Mapping[str, str]) -> ConnectionAttempt:
        """Return the attempt, as the acceptance test's if its headers have the secret.

        The caller still needs a valid token.
        """
        presented = headers.get(run_folder.ACCEPTANCE_HEADER, "")
        is_right = secrets.compare_digest(presented.encode(), self._secret.encode())
        return dataclasses.replace(attempt, for_acceptance=True) if is_right else attempt
