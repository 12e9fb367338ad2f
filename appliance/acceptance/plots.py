"""The plots of the report, as SVG. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from appliance.acceptance.report import SpokenTurn, format_seconds
from appliance.gpu_proof.record import percentile
from appliance.journal_fields import STAGES

# The palette of Okabe and Ito, which is safe for colour vision deficiency. The colours also differ
# in lightness, for black-and-white print.
COLOURS = dict(
    zip(
        STAGES,
        ("#0b4f7d", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#999999"),
        strict=True,
    )
)
INK, QUIET, LINE, BAD, CURVE = "#1b2329", "#5c6870", "#d5dbdf", "#a8201a", "#0b4f7d"
# All lengths are units of the viewBox.
WIDTH, HEIGHT = 760, 280
LEFT, RIGHT, TOP, BOTTOM = 52, 124, 40, 40
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
BAR_SHARE = 0.62  # of the width per turn
MAX_BAR_WIDTH = 44.0
TICKS = 5


def latency_by_turn(turns: Sequence[SpokenTurn], limits: Sequence[tuple[str, float]]) -> str:
    """Draw one bar per turn, stacked by stage, with a mark at the latency that the caller measured.

    limits   name and seconds of each limit, drawn as dashed lines
    """
    totals = [sum(turn.stages.values()) for turn in turns]
    latencies = [turn.latency or 0.0 for turn in turns]
    data_max = max([*totals, *latencies], default=0.0)
    marks = ticks(max([data_max, *_near(limits, data_max)]))
    axis_max = marks[-1]
    turn_width = PLOT_WIDTH / max(len(turns), 1)
    bar_width = min(BAR_SHARE * turn_width, MAX_BAR_WIDTH)
    parts = [_horizontal_grid(marks)]
    for number, turn in enumerate(turns, start=1):
        middle = LEFT + (number - 0.5) * turn_width
        parts.append(_bar(number, turn, middle, bar_width, axis_max))
        if turn.latency is not None:
            parts.append(_latency_mark(number, turn.latency, middle, bar_width, axis_max))
        parts.append(_text(middle, HEIGHT - BOTTOM + 15, str(number), "middle"))
    parts.append(_text(LEFT + PLOT_WIDTH / 2, HEIGHT - 6, "turn", "middle"))
    parts += [_limit_line(name, limit, axis_max) for name, limit in limits if limit <= axis_max]
    return _svg("Voice-to-voice latency by turn and stage", parts)


def legend() -> str:
    """Render the legend of the stages' colours as HTML."""
    keys = [
        f'<span><i style="background:{COLOURS[stage]}"></i>{_label(stage)}</span>'
        for stage in STAGES
    ]
    return f'<p class="legend">{"".join(keys)}<span><b></b>heard by the caller</span></p>'


def distribution(values: Sequence[float], limits: Sequence[tuple[str, float, float]]) -> str:
    """Draw the cumulative distribution of values in seconds, its percentiles and their limits.

    limits   name, share (0..1) and limit in seconds of each percentile
    """
    ordered = sorted(values)
    near = _near([(name, limit) for name, _, limit in limits], ordered[-1])
    marks = ticks(max([*ordered, *near]))
    axis_max = marks[-1]
    path = [f"M{LEFT} {_share_y(0):.1f}"]
    for number, value in enumerate(ordered, start=1):
        path.append(f"H{_x(value, axis_max):.1f}V{_share_y(number / len(ordered)):.1f}")
    path.append(f"H{LEFT + PLOT_WIDTH}")
    parts = [_vertical_grid(marks), _share_grid()]
    for row, (name, _, limit) in enumerate(limits):
        if limit <= axis_max:  # labels are stacked, because limits may be close to each other
            x, label_y = _x(limit, axis_max), TOP - 28 + 14 * row
            parts.append(_dashed(f"M{x:.1f} {label_y + 4}V{TOP + PLOT_HEIGHT}"))
            label = f"{name} limit {format_seconds(limit)}"
            parts.append(_text(x + 5, label_y + 3, label, "start", BAD))
    parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{CURVE}" stroke-width="2.2"/>')
    for name, share, _ in limits:
        value, y = percentile(ordered, share), _share_y(share)
        x = _x(value, axis_max)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{CURVE}" stroke="#fff"'
            ' stroke-width="1.5"/>'
        )
        parts.append(_text(x + 8, y + 16, f"{name} {format_seconds(value)}", "start", INK))
    parts.append(_text(LEFT + PLOT_WIDTH / 2, HEIGHT - 6, "seconds", "middle"))
    return _svg("Distribution of voice-to-voice latency", parts)


def ticks(longest: float, count: int = TICKS) -> list[float]:
    """Return axis ticks from 0 to at least `longest`, spaced by 1, 2 or 5 times a power of ten."""
    rough = max(longest, 1e-3) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * 0.999)
    return [round(number * step, 6) for number in range(math.ceil(longest / step - 1e-9) + 1)]


def _near(limits: Sequence[tuple[str, float]], data_max: float) -> list[float]:
    """Return the limits close enough to the data to be shown on the same axis."""
    return [limit for _, limit in limits if limit <= 3 * data_max]


def _bar(number: int, turn: SpokenTurn, middle: float, width: float, axis_max: float) -> str:
    parts = []
    base = 0.0
    for stage in STAGES:
        if (seconds := turn.stages.get(stage, 0.0)) > 0:
            top, bottom = _y(base + seconds, axis_max), _y(base, axis_max)
            title = f"turn {number}, {_label(stage)}: {format_seconds(seconds)}"
            parts.append(
                f'<rect x="{middle - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}"'
                f' height="{bottom - top:.1f}" fill="{COLOURS[stage]}">'
                f"<title>{title}</title></rect>"
            )
            base += seconds
    return "".join(parts)


def _latency_mark(
    number: int, latency: float, middle: float, bar_width: float, axis_max: float
) -> str:
    return (
        f'<path d="M{middle - bar_width / 2 - 3:.1f} {_y(latency, axis_max):.1f}'
        f'h{bar_width + 6:.1f}" fill="none" stroke="{INK}" stroke-width="2.5">'
        f"<title>turn {number}, heard after {format_seconds(latency)}</title></path>"
    )


def _horizontal_grid(marks: Sequence[float]) -> str:
    return "".join(
        _grid_line(f"M{LEFT} {_y(mark, marks[-1]):.1f}h{PLOT_WIDTH}")
        + _text(LEFT - 8, _y(mark, marks[-1]) + 4, f"{mark:g} s" if mark else "0", "end")
        for mark in marks
    )


def _vertical_grid(marks: Sequence[float]) -> str:
    return "".join(
        _grid_line(f"M{_x(mark, marks[-1]):.1f} {TOP}v{PLOT_HEIGHT}")
        + _text(_x(mark, marks[-1]), HEIGHT - BOTTOM + 15, f"{mark:g}", "middle")
        for mark in marks
    )


def _share_grid() -> str:
    return "".join(
        _grid_line(f"M{LEFT} {_share_y(share):.1f}h{PLOT_WIDTH}")
        + _text(LEFT - 8, _share_y(share) + 4, f"{share:.0%}", "end")
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )


def _limit_line(name: str, limit: float, axis_max: float) -> str:
    y = _y(limit, axis_max)
    label = f"{name} limit {format_seconds(limit)}"
    return _dashed(f"M{LEFT} {y:.1f}h{PLOT_WIDTH}") + _text(
        LEFT + PLOT_WIDTH + 6, y + 4, label, "start", BAD
    )


def _grid_line(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{LINE}"/>'


def _dashed(path: str) -> str:
    style = f'fill="none" stroke="{BAD}" stroke-width="1.5" stroke-dasharray="5 4"'
    return f'<path d="{path}" {style}/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = QUIET) -> str:
    position = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {position} font-size="12" fill="{colour}">{escape(text)}</text>'


def _svg(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _x(value: float, axis_max: float) -> float:
    return LEFT + PLOT_WIDTH * value / axis_max


def _y(value: float, axis_max: float) -> float:
    return TOP + PLOT_HEIGHT * (1 - value / axis_max)


def _share_y(share: float) -> float:
    return _y(share, 1.0)


def _label(stage: str) -> str:
    return stage.replace("_", " ")
