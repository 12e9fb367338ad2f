"""The record as a table for a terminal, and as one HTML file without scripts. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from appliance.gpu_proof.constants import constants
from appliance.gpu_proof.record import Comparison, Measurement, Record, Step

COLUMNS = 100
# A browser loads and runs nothing for such a page, so a reader need not trust it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 "Segoe UI", "Liberation Sans", Arial, sans-serif; color: #1b2329;
  max-width: 62rem; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 0.3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 0.4rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.9rem 0.25rem 0;
  border-bottom: 1px solid #d5dbdf; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.why { color: #a8201a; } .quiet { color: #5c6870; }
pre { overflow-x: auto; font-size: 0.85rem; background: #f4f6f7; padding: 0.7rem; }
"""


def format_table(record: Record) -> str:
    """What was and was not measured, step by step."""
    lines = [f"{name:14} {value}" for name, value in record.machine.items() if value]
    lines.append("")
    lines.append(f"{'step':14} {'result':12} {'seconds':>8} {'values':>7}  why not, or not all")
    for step in record.steps:
        line = (
            f"{step.name:14} {step.state:12} {step.seconds:8.0f} {len(step.measurements):7}  "
            f"{step.why}"
        )
        lines.append(line[:COLUMNS] + ("..." if len(line) > COLUMNS else ""))
    lines += [
        f"{each.name}: {each.measured:.2f} ({each.explanation}); the plan assumes {each.assumed}"
        for each in constants(record)
    ]
    return "\n".join(lines)


def format_comparison(comparisons: Sequence[Comparison]) -> str:
    """A line for each quantity that two records have."""
    if not comparisons:
        return "the records have no measurement in common"
    lines = [f"{'base':>12} {'other':>12} {'ratio':>7}  quantity"]
    lines += [
        f"{_number(each.base.median):>12} {_number(each.other.median):>12} {each.ratio:7.2f}  "
        f"{each.step}: {each.base.title}, {each.base.unit}"
        for each in comparisons
    ]
    return "\n".join(lines)


def render(record: Record) -> str:
    """The HTML page."""
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>GPU proof</title><style>{_STYLE}</style></head><body>"
    )
    parts = [
        head,
        f"<h1>GPU proof: {escape(record.machine.get('card', ''))}</h1>",
        f'<p class="quiet">{escape(record.tool)}, version {escape(record.version)}, '
        f"{escape(record.started_at)}</p>",
        _facts(record),
        "<h2>Steps</h2>",
        _steps(record.steps),
        *_constants(record),
        *(part for step in record.steps for part in _details(step)),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _facts(record: Record) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in record.machine.items()
        if value
    )
    return f"<table>{rows}</table>"


def _steps(steps: Iterable[Step]) -> str:
    rows = "".join(
        f"<tr><th>{escape(step.name)}</th><td>{step.state}</td>"
        f'<td class="number">{step.seconds:.0f} s</td>'
        f'<td class="why">{escape(step.why)}</td></tr>'
        for step in steps
    )
    return f"<table>{rows}</table>"


def _constants(record: Record) -> Iterable[str]:
    rows = "".join(
        f'<tr><th>{escape(each.name)}</th><td class="number">{each.measured:.2f}</td>'
        f"<td>{escape(each.explanation)}; assumed {escape(each.assumed)}</td></tr>"
        for each in constants(record)
    )
    return ["<h2>Constants of the plan</h2>", f"<table>{rows}</table>"] if rows else []


def _details(step: Step) -> Iterable[str]:
    if not (step.measurements or step.notes or step.data):
        return
    yield f"<h2>{escape(step.name)}</h2>"
    yield from (f"<p>{escape(note)}</p>" for note in step.notes)
    if step.measurements:
        yield f"<table>{''.join(map(_row, step.measurements))}</table>"
    plan = step.data.get("plan")
    if isinstance(plan, list):
        yield f"<pre>{escape(chr(10).join(map(str, plan)))}</pre>"


def _row(each: Measurement) -> str:
    spread = f"p95 {_number(each.p95)}, n={each.n}" if each.n > 1 else ""
    return (
        f'<tr><th>{escape(each.title)}</th><td class="number">{_number(each.median)} '
        f'{escape(each.unit)}</td><td class="quiet">{spread}</td></tr>'
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
