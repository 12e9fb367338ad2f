"""Compare an SBOM with a folder of advisories in OSV's format, and write a report.

`python -m appliance.advisories --sbom FILE [--advisories FOLDER] [--accepted FILE] [--into FOLDER]`

Writes vulnerabilities.json, vulnerabilities.md and vulnerabilities.env into the folder, and prints
a summary. Without advisories or SBOM, the report says that nothing was checked. Exit codes: 0; 1 if
a finding must be fixed or accepted; 2 if the advisories or other files cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from appliance.advisories import accepted, inventory, osv, report


def main(argv: Sequence[str], today: date) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m appliance.advisories",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sbom", type=Path, help="SBOM of the image, CycloneDX as JSON")
    parser.add_argument("--advisories", type=Path, help="folder of advisories in OSV's format")
    parser.add_argument("--accepted", type=Path, help="TOML file of accepted findings")
    parser.add_argument("--into", type=Path, help="folder for the report (default: only print)")
    args = parser.parse_args(argv)
    try:
        result = _check(args.sbom, args.advisories, args.accepted, today)
    except osv.BadData as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except ImportError as problem:
        print(f"error: {problem}: run make setup first", file=sys.stderr)
        return 2
    if args.into:
        text = json.dumps(report.to_json(result), indent=2, ensure_ascii=False) + "\n"
        (args.into / "vulnerabilities.json").write_text(text, encoding="utf-8")
        page = report.to_markdown(result)
        (args.into / "vulnerabilities.md").write_text(page, encoding="utf-8")
        (args.into / "vulnerabilities.env").write_text(report.to_env(result), encoding="utf-8")
    print(report.line(result))
    for block in result.blocks:
        print(f"  {block}")
    return 1 if result.blocks else 0


def _check(
    sbom: Path | None, advisories: Path | None, accepted_path: Path | None, today: date
) -> report.VulnerabilityReport:
    entries = accepted.read(accepted_path) if accepted_path else []
    if sbom is None:
        return report.unchecked(today, (), "there is no SBOM")
    packages = inventory.read_sbom(sbom)
    if advisories is None:
        return report.unchecked(today, packages, "there were no advisories to compare with")
    return report.compare(packages, osv.read_folder(advisories), entries, today)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], datetime.now(UTC).date()))
