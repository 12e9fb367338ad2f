"""The report for a terminal, line by line as it comes about. Pure."""

from __future__ import annotations

import textwrap

from appliance.acceptance.report import Report, Result

COLUMNS = 80
SHOWN = {"pass": "pass", "fail": "FAIL", "skipped": "skip"}
INDENT = " " * 20


def lines(result: Result) -> str:
    """What was found; of what failed also what was wanted and what to do."""
    text = [_wrapped(f"{SHOWN[result.state]:5} {result.check:13} ", result.found)]
    if result.state == "fail":
        text.append(_wrapped(f"{INDENT}wanted: ", result.wanted))
    if result.advice:
        text.append(_wrapped(f"{INDENT}to do:  ", result.advice))
    return "\n".join(text)


def verdict(report: Report, took_seconds: float) -> str:
    """The last line."""
    counts = f"{report.count('pass')} passed, {report.count('fail')} failed"
    counts += f", {report.count('skipped')} skipped, in {took_seconds:.0f} s"
    return f"{'ACCEPTED' if report.passed else 'NOT ACCEPTED'}: {counts}"


def _wrapped(head: str, text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in text)
    after = INDENT if len(head) <= len(INDENT) else " " * len(head)
    return textwrap.fill(plain, COLUMNS, initial_indent=head, subsequent_indent=after)
