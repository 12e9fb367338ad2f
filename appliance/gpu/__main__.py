"""`python -m appliance.gpu [PAGE]`: generates the tables of the hardware guide.

Prints them, or writes them into PAGE (docs/hardware.md) between its markers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.gpu import page


def main(argv: Sequence[str]) -> int:
    """Print the tables, or update the page. Returns the exit code."""
    if not argv:
        print("\n\n".join(f"{name}\n\n{table()}" for name, table in page.TABLES.items()))
        return 0
    path = Path(argv[0])
    path.write_text(page.update_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
