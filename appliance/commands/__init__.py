"""The commands of `python -m appliance`, in the order of its help.

A command imports its package only when it runs, so that no process loads the code of another
process.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.commands import checks, console, egress_proof, processes
from appliance.commands.command import Command

COMMANDS: Mapping[str, Command] = {
    **processes.COMMANDS,
    **checks.COMMANDS,
    **console.COMMANDS,
    **egress_proof.COMMANDS,
}
