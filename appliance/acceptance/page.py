"""The report as one HTML file that needs nothing else: no script, no image, no font, no network.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from appliance.acceptance import plots
from appliance.acceptance.figures import percentile, seconds
from appliance.acceptance.report import Report, Result, Sample
from appliance.acceptance.style import STYLE

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
            plots.stages(report.turns, [("p50", p50), ("p95", p95)]),
            plots.legend(),
            plots.distribution(heard, [("p50", 0.5, p50), ("p95", 0.95, p95)]),
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
