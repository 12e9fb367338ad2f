"""The command `egress-statement`: records on stdin, the statement on stdout."""

from __future__ import annotations

import json
import sys

from appliance.egress_proof.page import render
from appliance.egress_proof.statement import make, read_records
from appliance.errors import BadSetting
from appliance.settings import VERSION, Settings
from appliance.weights.seal import sha256_of


def main(settings: Settings, page: bool) -> int:
    """Run the command. Return 0 if nothing left and the proof is complete, otherwise 1.

    Raises BadSetting if stdin is not what it should be.
    """
    image = {
        "version": VERSION,
        "profile": settings.profile,
        "lock_sha256": sha256_of(settings.paths.lock) if settings.paths.lock.is_file() else "",
    }
    try:
        if page:
            sys.stdout.write(render(json.load(sys.stdin)))
            return 0
        statement = make(list(read_records(sys.stdin.read())), image)
    except (ValueError, KeyError, TypeError) as problem:
        raise BadSetting(name="stdin", why=f"not the records of a proof: {problem!r}") from problem
    json.dump(statement, sys.stdout, indent=1, ensure_ascii=False)
    print()
    return 0 if statement["passed"] else 1
