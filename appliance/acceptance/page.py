"""The report as one HTML file that needs nothing else: no script, no image, no font, no network.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from appliance.acceptance.report import Report, Result, Sample, percentile, seconds, ticks
from appliance.journal_fields import STAGES

# Okabe and Ito's colours, which people who do not see all colours can tell apart; print keeps them
# apart by lightness too.
COLOURS = dict(
    zip(
        STAGES,
        ("#0b4f7d", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#999999"),
        strict=True,
    )
)
INK, QUIET, LINE, BAD, CURVE = "#1b2329", "#5c6870", "#d5dbdf", "#a8201a", "#0b4f7d"
WIDTH, HEIGHT = 760, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 124, 40, 40
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
BAR_PART = 0.62  # of the room a turn has
WIDEST_BAR = 44.0


def stages(turns: Sequence[Sample], limits: Sequence[tuple[str, float]]) -> str:
    """A bar for each turn, stacked by stages as the gateway measured them, with a mark where the
    caller heard the answer; `limits` as dashed lines."""
    sums = [sum(turn.stages.values()) for turn in turns]
    heard = [turn.latency or 0.0 for turn in turns]
    highest = max([*sums, *heard, *_near(limits, max([*sums, *heard], default=0.0))], default=0.0)
    marks = ticks(highest)
    room = PLOT_WIDTH / max(len(turns), 1)
    width = min(BAR_PART * room, WIDEST_BAR)
    parts = [_row_rules(marks)]
    for number, turn in enumerate(turns):
        middle = LEFT + (number + 0.5) * room
        base = 0.0
        for stage in STAGES:
            if (took := turn.stages.get(stage, 0.0)) > 0:
                top, bottom = _y(base + took, marks[-1]), _y(base, marks[-1])
                title = f"turn {number + 1}, {_words(stage)}: {seconds(took)}"
                parts.append(
                    f'<rect x="{middle - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}"'
                    f' height="{bottom - top:.1f}" fill="{COLOURS[stage]}">'
                    f"<title>{title}</title></rect>"
                )
                base += took
        if turn.latency is not None:
            at = _y(turn.latency, marks[-1])
            parts.append(
                f'<path d="M{middle - width / 2 - 3:.1f} {at:.1f}h{width + 6:.1f}" fill="none"'
                f' stroke="{INK}" stroke-width="2.5">'
                f"<title>turn {number + 1}, heard after {seconds(turn.latency)}</title></path>"
            )
        parts.append(_text(middle, HEIGHT - BOTTOM + 15, str(number + 1), "middle"))
    parts.append(_text(LEFT + PLOT_WIDTH / 2, HEIGHT - 6, "turn", "middle"))
    parts += [_limit_row(name, limit, marks[-1]) for name, limit in limits if limit <= marks[-1]]
    return _figure("Voice to voice by turn and stage", parts)


def legend() -> str:
    """The colours of the stages, as HTML."""
    keys = [
        f'<span><i style="background:{COLOURS[stage]}"></i>{_words(stage)}</span>'
        for stage in STAGES
    ]
    return f'<p class="legend">{"".join(keys)}<span><b></b>heard by the caller</span></p>'


def distribution(values: Sequence[float], limits: Sequence[tuple[str, float, float]]) -> str:
    """The cumulative distribution with its p50 and p95. `limits`: name, share (0..1), seconds."""
    ordered = sorted(values)
    near = _near([(name, limit) for name, _, limit in limits], ordered[-1])
    marks = ticks(max([*ordered, *near]))
    path = [f"M{LEFT} {_share_y(0):.1f}"]
    for number, value in enumerate(ordered, start=1):
        path.append(f"H{_x(value, marks[-1]):.1f}V{_share_y(number / len(ordered)):.1f}")
    path.append(f"H{LEFT + PLOT_WIDTH}")
    parts = [_columns(marks), _shares()]
    for row, (name, _, limit) in enumerate(limits):
        if limit <= marks[-1]:  # one above the other: they may be close
            at, label = _x(limit, marks[-1]), TOP - 28 + 14 * row
            parts.append(_dashed(f"M{at:.1f} {label + 4:.1f}V{TOP + PLOT_HEIGHT}"))
            parts.append(_text(at + 5, label + 3, f"{name} limit {seconds(limit)}", "start", BAD))
    parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{CURVE}" stroke-width="2.2"/>')
    for name, share, _ in limits:
        value, y = percentile(ordered, share), _share_y(share)
        x = _x(value, marks[-1])
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{CURVE}" stroke="#fff"'
            ' stroke-width="1.5"/>'
        )
        parts.append(_text(x + 8, y + 16, f"{name} {seconds(value)}", "start", INK))
    parts.append(_text(LEFT + PLOT_WIDTH / 2, HEIGHT - 6, "seconds", "middle"))
    return _figure("Distribution of voice to voice", parts)


def _near(limits: Sequence[tuple[str, float]], highest: float) -> list[float]:
    """The limits that would not press the data into a corner of the plot."""
    return [limit for _, limit in limits if limit <= 3 * highest]


def _row_rules(marks: Sequence[float]) -> str:
    return "".join(
        _grid(f"M{LEFT} {_y(mark, marks[-1]):.1f}h{PLOT_WIDTH}")
        + _text(LEFT - 8, _y(mark, marks[-1]) + 4, f"{mark:g} s" if mark else "0", "end")
        for mark in marks
    )


def _columns(marks: Sequence[float]) -> str:
    return "".join(
        _grid(f"M{_x(mark, marks[-1]):.1f} {TOP}v{PLOT_HEIGHT}")
        + _text(_x(mark, marks[-1]), HEIGHT - BOTTOM + 15, f"{mark:g}", "middle")
        for mark in marks
    )


def _shares() -> str:
    return "".join(
        _grid(f"M{LEFT} {_share_y(share):.1f}h{PLOT_WIDTH}")
        + _text(LEFT - 8, _share_y(share) + 4, f"{share:.0%}", "end")
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )


def _limit_row(name: str, limit: float, highest: float) -> str:
    y = _y(limit, highest)
    words = f"{name} limit {seconds(limit)}"
    return _dashed(f"M{LEFT} {y:.1f}h{PLOT_WIDTH}") + _text(
        LEFT + PLOT_WIDTH + 6, y + 4, words, "start", BAD
    )


def _grid(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{LINE}"/>'


def _dashed(path: str) -> str:
    style = f'fill="none" stroke="{BAD}" stroke-width="1.5" stroke-dasharray="5 4"'
    return f'<path d="{path}" {style}/>'


def _text(x: float, y: float, words: str, anchor: str, colour: str = QUIET) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="12" fill="{colour}">{escape(words)}</text>'


def _figure(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _x(value: float, highest: float) -> float:
    return LEFT + PLOT_WIDTH * value / highest


def _y(value: float, highest: float) -> float:
    return TOP + PLOT_HEIGHT * (1 - value / highest)


def _share_y(share: float) -> float:
    return _y(share, 1.0)


def _words(stage: str) -> str:
    return stage.replace("_", " ")


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


SHOWN = {"pass": "pass", "fail": "FAIL", "skipped": "skipped"}
# Whoever opens it need not trust it: a browser will load and run nothing for it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
UNKNOWN = "not told"


def html(report: Report) -> str:
    """The whole page."""
    about = report.about
    title = f"Acceptance of the voice appliance on {about['host']}"
    body = [
        f"<h1>{_t(title)}</h1><p>{_t(_time(about['time']))}</p>",
        _verdict(report),
        "<h2>What was tested</h2>",
        _facts(report),
        "<h2>Checks</h2>",
        _checks(report.results),
        *_latency(report),
        *_conversation(report.turns),
        "<h2>How it was set</h2>",
        _settings(about),
        _footer(),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_t(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _verdict(report: Report) -> str:
    kind, word = ("", "Accepted") if report.passed else (" bad", "Not accepted")
    counts = f"{report.count('pass')} passed, {report.count('fail')} failed"
    counts += f", {report.count('skipped')} skipped"
    return f'<p class="verdict{kind}"><strong>{word}</strong> {counts}</p>'


def _facts(report: Report) -> str:
    about = report.about
    cards = [
        f"{card['name']}, {card['memory_gib']:g} GiB, driver {card['driver']},"
        f" compute capability {card['capability']}"
        for card in about["cards"]
    ]
    machine = f"{about['cores']} cores of {about['processor']}, {about['memory_gib']:g} GiB"
    rows = [
        ("Version", f"{_t(about['version'])}, profile {_t(about['profile'])}"),
        ("Image", _code(about["image_id"])),
        ("Container", _t(about["container"]) or UNKNOWN),
        ("Lock, SHA-256", _code(about["lock_sha256"])),
        ("Host", f"{_t(about['host'])}, kernel {_t(about['kernel'])}"),
        ("Machine", _t(machine)),
        ("Graphics card", _t("; ".join(cards) or f"none: {about['no_card_because']}")),
        ("Called at", _code(about["url"])),
        ("Limits for", _t(about["limits_for"])),
    ]
    return _rows("facts", rows)


def _checks(results: Sequence[Result]) -> str:
    rows = []
    for number, result in enumerate(results):
        again = number and results[number - 1].check == result.check
        name = "" if again else _t(result.check)
        advice = f'<span class="advice">{_t(result.advice)}</span>' if result.advice else ""
        rows.append(
            f'<tr><td class="state {result.state}">{SHOWN[result.state]}</td>'
            f'<th scope="row">{name}</th><td>{_t(result.found)}{advice}</td>'
            f'<td class="quiet">{_t(result.wanted)}</td></tr>'
        )
    return _table("checks", ("", "check", "found", "wanted"), rows)


def _latency(report: Report) -> list[str]:
    heard = [turn.latency for turn in report.turns if turn.latency is not None]
    shown: list[str] = []
    if heard:
        limits = report.limits
        p50, p95 = limits["voice_to_voice_p50"], limits["voice_to_voice_p95"]
        shown += [
            "<h2>Voice to voice</h2>",
            '<p class="quiet">From the true end of the caller’s speech to the first audible sample'
            " at the caller. The bars are the stages as the gateway measured them.</p>",
            stages(report.turns, [("p50", p50), ("p95", p95)]),
            legend(),
            distribution(heard, [("p50", 0.5, p50), ("p95", 0.95, p95)]),
        ]
    if report.stops:
        values = ", ".join(seconds(stop) for stop in sorted(report.stops))
        shown += [
            "<h2>Interruption</h2>",
            f"<p>From the caller’s first sample to silence at the caller: {values}; p95"
            f" {seconds(percentile(report.stops, 0.95))},"
            f" limit {seconds(report.limits['interruption_p95'])}.</p>",
        ]
    return shown


def _conversation(turns: Sequence[Sample]) -> list[str]:
    if not turns:
        return []
    rows = [
        f'<tr><td class="number">{number}</td><td>{_t(turn.said)}</td>'
        f"<td>{_t(turn.understood) or _none()}</td><td>{_t(turn.reply) or _none()}</td>"
        f"<td>{_t(turn.sounded) or _none()}</td>"
        f'<td class="number">{"" if turn.latency is None else f"{turn.latency:.2f} s"}</td></tr>'
        for number, turn in enumerate(turns, start=1)
    ]
    head = ("", "said to it", "understood", "answered", "recognised in its sound", "after")
    note = (
        '<p class="quiet">Questions spoken by the appliance’s own voice, answers written down by'
        " its own recognizer. No caller’s words are in this report.</p>"
    )
    return ["<h2>What was said</h2>", note, _table("said", head, rows)]


def _settings(about: Mapping[str, Any]) -> str:
    lines = [
        f'<p><span class="quiet">{_t(name)}</span> {_code(value)}</p>'
        for name, value in about["settings"].items()
    ]
    changed = ", ".join(about["changed_settings"]) or "none"
    return (
        f'<div class="settings">{"".join(lines)}</div>'
        f'<p class="quiet">Other than the profile’s own: {_t(changed)}.</p>'
    )


def _footer() -> str:
    return (
        "<footer>Made by the appliance itself, signed on the host. Beside this file lie its"
        " signature and <code>report_signers</code>:<br><code>ssh-keygen -Y verify"
        " -n voice-appliance-report -I voice-appliance-site -f report_signers"
        " -s REPORT.html.sig &lt; REPORT.html</code></footer>"
    )


def _table(kind: str, head: Iterable[str], rows: Iterable[str]) -> str:
    cells = "".join(f"<th>{_t(cell)}</th>" for cell in head)
    body = f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<table class="{kind}">{body}</table>'


def _rows(kind: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = (f'<tr><th scope="row">{_t(name)}</th><td>{value}</td></tr>' for name, value in rows)
    return f'<table class="{kind}"><tbody>{"".join(lines)}</tbody></table>'


def _time(text: str) -> str:
    return text.replace("T", " ").replace("+00:00", " UTC")


def _code(text: object) -> str:
    return f"<code>{_t(text)}</code>" if text else UNKNOWN


def _none() -> str:
    return '<span class="quiet">nothing</span>'


def _t(text: object) -> str:
    return escape(str(text))
