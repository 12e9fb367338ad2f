"""Render the report as one self-contained HTML file without scripts, images or fonts. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from appliance.acceptance import plots
from appliance.acceptance.report import (
    AcceptanceReport,
    CheckResult,
    SpokenTurn,
    format_seconds,
)
from appliance.gpu_proof.page import POLICY
from appliance.gpu_proof.record import percentile

_LABELS = {"pass": "pass", "fail": "FAIL", "skipped": "skipped"}
_UNKNOWN = "unknown"

STYLE = """
:root { --ink: #1b2329; --quiet: #5c6870; --line: #d5dbdf; --good: #1a6b3c; --bad: #a8201a; }
* { box-sizing: border-box; }
body { font: 15px/1.5 "Source Sans 3", "Segoe UI", "Liberation Sans", Arial, sans-serif;
  color: var(--ink); background: #fff; max-width: 60rem; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 0.5rem; }
h1 + p { margin: 0.2rem 0 1.4rem; color: var(--quiet); }
p { margin: 0.4rem 0; }
.verdict { border-left: 6px solid var(--good); padding: 0.7rem 1rem; background: #f1f7f3; }
.verdict.bad { border-color: var(--bad); background: #fbf1f0; }
.verdict strong { font-size: 1.25rem; margin-right: 0.8rem; color: var(--good); }
.verdict.bad strong { color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th, td { text-align: left; vertical-align: top; padding: 0.32rem 0.9rem 0.32rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
thead th { color: var(--quiet); font-weight: 600; border-bottom: 2px solid var(--line); }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th[scope="row"] { font-weight: 600; white-space: nowrap; }
table.facts th { width: 8rem; padding-right: 1.5rem; color: var(--quiet); font-weight: 400; }
code { font: 0.84em/1.4 "DejaVu Sans Mono", Consolas, monospace; overflow-wrap: anywhere; }
table.checks td:last-child { width: 26%; }
.state { width: 4.2rem; font-weight: 700; white-space: nowrap; }
.pass { color: var(--good); } .fail { color: var(--bad); } .skipped { color: var(--quiet); }
.advice { display: block; color: var(--bad); }
.quiet { color: var(--quiet); }
svg { width: 100%; height: auto; display: block; }
svg text { font-family: inherit; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; font-size: 0.88rem;
  color: var(--quiet); }
.legend i { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 0.4em; }
.legend b { display: inline-block; width: 1.1em; margin: 0 0.4em 0.25em 0;
  border-top: 2.5px solid var(--ink); }
.settings { columns: 2; column-gap: 2.5rem; font-size: 0.92rem; }
.settings p { margin: 0; padding: 0.2rem 0; border-bottom: 1px solid var(--line);
  break-inside: avoid; display: flex; justify-content: space-between; gap: 1rem; }
footer { margin: 2.5rem 0 1rem; padding-top: 0.8rem; border-top: 1px solid var(--line);
  color: var(--quiet); font-size: 0.88rem; }
@media print {
  @page { size: A4; margin: 16mm 14mm; }
  body { margin: 0; padding: 0; max-width: none; font-size: 9.5pt; line-height: 1.35; }
  th, td { padding-top: 0.2rem; padding-bottom: 0.2rem; }
  h2 { margin-top: 1.4rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, p.quiet { break-after: avoid; }
  tr, svg, .verdict, figure { break-inside: avoid; }
  thead { display: table-header-group; }
}
"""


def render(report: AcceptanceReport) -> str:
    """Render the whole page."""
    about = report.about
    title = f"Acceptance of the voice appliance on {about['host']}"
    body = [
        f"<h1>{_text(title)}</h1><p>{_text(_time(about['time']))}</p>",
        _verdict(report),
        "<h2>What was tested</h2>",
        _facts(report),
        "<h2>Checks</h2>",
        _checks(report.results),
        *_latency(report),
        *_conversation(report.turns),
        "<h2>Settings</h2>",
        _settings(about),
        _footer(),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _verdict(report: AcceptanceReport) -> str:
    kind, word = ("", "Accepted") if report.passed else (" bad", "Not accepted")
    return f'<p class="verdict{kind}"><strong>{word}</strong> {report.counts}</p>'


def _facts(report: AcceptanceReport) -> str:
    about = report.about
    gpus = [
        f"{card['name']}, {card['memory_gib']:g} GiB, driver {card['driver']},"
        f" compute capability {card['capability']}"
        for card in about["cards"]
    ]
    machine = f"{about['cores']} cores of {about['processor']}, {about['memory_gib']:g} GiB"
    rows = [
        ("Version", f"{_text(about['version'])}, profile {_text(about['profile'])}"),
        ("Image", _code(about["image_id"])),
        ("Container", _text(about["container"]) or _UNKNOWN),
        ("Lock (SHA-256)", _code(about["lock_sha256"])),
        ("Host", f"{_text(about['host'])}, kernel {_text(about['kernel'])}"),
        ("Machine", _text(machine)),
        ("GPU", _text("; ".join(gpus) or f"none: {about['no_card_because']}")),
        ("URL", _code(about["url"])),
        ("Limits for", _text(about["limits_for"])),
    ]
    return _fact_table(rows)


def _checks(results: Sequence[CheckResult]) -> str:
    rows = []
    for number, result in enumerate(results):
        is_repeated = number > 0 and results[number - 1].check == result.check
        name = "" if is_repeated else _text(result.check)
        advice = f'<span class="advice">{_text(result.advice)}</span>' if result.advice else ""
        rows.append(
            f'<tr><td class="state {result.state}">{_LABELS[result.state]}</td>'
            f'<th scope="row">{name}</th><td>{_text(result.found)}{advice}</td>'
            f'<td class="quiet">{_text(result.wanted)}</td></tr>'
        )
    return _table("checks", ("", "check", "found", "expected"), rows)


def _latency(report: AcceptanceReport) -> list[str]:
    latencies = [turn.latency for turn in report.turns if turn.latency is not None]
    sections: list[str] = []
    if latencies:
        limits = report.limits
        p50, p95 = limits["voice_to_voice_p50"], limits["voice_to_voice_p95"]
        sections += [
            "<h2>Voice to voice</h2>",
            '<p class="quiet">Time from the end of the caller’s speech until the first audible'
            " sample of the answer is played out of the caller’s buffer; a network and a sound"
            " device add to it. The bars show the stages that the gateway measured.</p>",
            plots.latency_by_turn(report.turns, [("p50", p50), ("p95", p95)]),
            plots.legend(),
            plots.distribution(latencies, [("p50", 0.5, p50), ("p95", 0.95, p95)]),
        ]
    stops = report.barge_in_stop_seconds
    if stops:
        values = ", ".join(format_seconds(seconds) for seconds in sorted(stops))
        sections += [
            "<h2>Interruption</h2>",
            "<p>Time from the caller’s first sample until the bot is silent at the caller:"
            f" {values}; p95 {format_seconds(percentile(stops, 0.95))},"
            f" limit {format_seconds(report.limits['interruption_p95'])}.</p>",
        ]
    return sections


def _conversation(turns: Sequence[SpokenTurn]) -> list[str]:
    if not turns:
        return []
    rows = [
        f'<tr><td class="number">{number}</td><td>{_text(turn.voice)}</td>'
        f"<td>{_text(turn.said)}</td>"
        f"<td>{_text(turn.understood) or _nothing()}</td><td>{_text(turn.reply) or _nothing()}</td>"
        f"<td>{_text(turn.sounded) or _nothing()}</td>"
        f'<td class="number">{"" if turn.latency is None else f"{turn.latency:.2f} s"}</td></tr>'
        for number, turn in enumerate(turns, start=1)
    ]
    head = ("", "voice", "question", "understood", "answer", "recognised in the audio", "latency")
    note = (
        '<p class="quiet">The questions were spoken by espeak-ng and, if the site has added any, by'
        " recordings; the appliance’s own recognizer transcribed the answers. The report"
        " contains no words of callers.</p>"
    )
    return ["<h2>Conversation</h2>", note, _table("conversation", head, rows)]


def _settings(about: Mapping[str, Any]) -> str:
    lines = [
        f'<p><span class="quiet">{_text(name)}</span> {_code(value)}</p>'
        for name, value in about["settings"].items()
    ]
    changed = ", ".join(about["changed_settings"]) or "none"
    return (
        f'<div class="settings">{"".join(lines)}</div>'
        f'<p class="quiet">Settings that differ from the defaults: {_text(changed)}.</p>'
    )


def _footer() -> str:
    return (
        "<footer>The appliance wrote this report, and the host signed it. The signature and"
        " <code>report_signers</code> are in the same folder. To verify the report, run:"
        "<br><code>ssh-keygen -Y verify"
        " -n voice-appliance-report -I voice-appliance-site -f report_signers"
        " -s REPORT.html.sig &lt; REPORT.html</code></footer>"
    )


def _table(kind: str, head: Iterable[str], rows: Iterable[str]) -> str:
    cells = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    body = f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<table class="{kind}">{body}</table>'


def _fact_table(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f'<tr><th scope="row">{_text(name)}</th><td>{value}</td></tr>' for name, value in rows)
    return f'<table class="facts"><tbody>{"".join(lines)}</tbody></table>'


def _time(text: str) -> str:
    return text.replace("T", " ").replace("+00:00", " UTC")


def _code(text: object) -> str:
    return f"<code>{_text(text)}</code>" if text else _UNKNOWN


def _nothing() -> str:
    return '<span class="quiet">nothing</span>'


def _text(text: object) -> str:
    return escape(str(text))
