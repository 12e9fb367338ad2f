"""voicectl and docs/operations.md explain every exit code of the container."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance import errors
from appliance.errors import ApplianceError

ROOT = Path(__file__).resolve().parents[2]
CODES = sorted(
    {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ApplianceError)
    }
    - {ApplianceError.exit_code}
)


@pytest.mark.parametrize("code", CODES)
def test_voicectl_and_docs_explain_exit_code(code: int) -> None:
    script = f"source {ROOT}/ops/voicectl-logs.sh; OOM=false; meaning {code}"
    output = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    assert "no reason" not in output.stdout
    assert f"\n| {code} | " in (ROOT / "docs/operations.md").read_text(encoding="utf-8")
