"""Line charts as inline SVG: they scale, follow the page's light or dark colours, and need no plotting library."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 14, 44


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes
    ----------
    name
        Shown in the legend.
    values
        One per x value.
    colour
        CSS class suffix: "red", "green", "blue" or "grey".
    """

    name: str
    values: Sequence[float]
    colour: str


def line_chart(x: Sequence[float], series: Sequence[Series], x_label: str, y_label: str, title: str) -> str:
    """An SVG element with one line for each series, a legend, and a cursor that the page moves along.

    Parameters
    ----------
    x
        Ascending x values, one for each frame of the cine.
    series
        Lines.
    x_label, y_label
        Axis titles with units.
    title
        What a screen reader says.
    """
    low = min(min(s.values) for s in series)
    high = max(max(s.values) for s in series)
    if low > 0 and low < 0.6 * high:
        low = 0.0
    y_ticks = ticks(low, high)
    x_ticks = ticks(x[0], x[-1])
    y_low, y_high = min(y_ticks[0], low), max(y_ticks[-1], high)

    def across(value: float) -> float:
        return LEFT + (value - x[0]) / ((x[-1] - x[0]) or 1.0) * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        return HEIGHT - BOTTOM - (value - y_low) / ((y_high - y_low) or 1.0) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'data-x="{" ".join(f"{across(v):.1f}" for v in x)}">'
    ]
    for tick in y_ticks:
        y = down(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in x_ticks:
        if x[0] <= tick <= x[-1]:
            parts.append(f'<text class="tick" x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" '
                         f'text-anchor="middle">{_number(tick)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
                 f"{escape(x_label)}</text>")
    parts.append(f'<text class="axis" transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
                 f"{escape(y_label)}</text>")
    parts.append(f'<line class="cursor" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for s in series:
        points = [f"{across(a):.1f} {down(b):.1f}" for a, b in zip(x, s.values)]
        path = "M" + " L".join(points)
        heights = " ".join(f"{down(v):.1f}" for v in s.values)
        parts.append(f'<path class="line {s.colour}" d="{path}"/>')
        parts.append(f'<circle class="dot {s.colour}" r="4.5" cx="{across(x[0]):.1f}" cy="{down(s.values[0]):.1f}" '
                     f'data-y="{heights}"/>')
    parts.append("</svg>")
    legend = "".join(
        f'<span class="key"><i class="{s.colour}"></i>{escape(s.name)} <b data-values="'
        f'{" ".join(_reading(v) for v in s.values)}"></b></span>' for s in series
    )
    return f'<figure class="plot">{"".join(parts)}<figcaption>{legend}</figcaption></figure>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that span `low` to `high`, about `about` of them."""
    span = (high - low) or abs(high) or 1.0
    raw = span / about
    unit = 10.0 ** floor(log10(raw))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _reading(value: float) -> str:
    """What the legend shows for one frame: one decimal below 100, none above."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value + 0.0:.1f}".replace("-0.0", "0.0")


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
