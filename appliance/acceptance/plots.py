"""The report's figures as inline SVG. Pure.

All style is in attributes, so that a figure cut out of the page still looks right.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from appliance.acceptance.figures import percentile, seconds, ticks
from appliance.acceptance.report import Sample
from appliance.metrics import STAGES

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
    parts = [_rows(marks)]
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


def _rows(marks: Sequence[float]) -> str:
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
