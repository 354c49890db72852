"""The bull's eye: values of the 17 segments of the left ventricle as inline SVG, and the demo's section of them."""

from collections.abc import Sequence
from html import escape
from math import cos, isfinite, radians, sin

import numpy as np

from CMRSimExtension.anatomy.aha import SEGMENT_NAMES
from CMRSimExtension.command_line.demo_page.charts import ticks
from CMRSimExtension.command_line.demo_page.page import Section
from CMRSimExtension.evaluation.wall_thickness import wall_thickness
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.strain.figures import RINGS
from CMRSimExtension.strain.series import COMPONENTS, StrainSeries

SIZE, RADIUS = 300, 140
_STOPS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=float)
"""Viridis at its quarters: as dark in grey as it says, and told apart by those who do not see red from green."""
_BAR = 40


def segments_section(cine: Cine, strain: StrainSeries) -> Section:
    """Wall thickness of the true labels at end diastole and end systole, and peak strain of the true motion.

    Parameters
    ----------
    cine
        Short-axis stack with labels.
    strain
        Measured from its true motion.
    """
    assert cine.labels is not None
    systole = int(np.argmin((cine.labels == 1).sum(axis=(1, 2, 3))))
    walls = [wall_thickness(cine.labels[frame], cine.grid).segments_mm for frame in (0, systole)]
    known = [value for wall in walls for value in wall if isfinite(value)]
    limits = (min(known), max(known))
    figures = [bulls_eye(wall, f"Thickness at {name}", "mm", limits)
               for wall, name in zip(walls, ("end diastole", "end systole"), strict=True)]
    # Green-Lagrange strain E as the change of length, as in the curves.
    percent = 100.0 * (np.sqrt(1.0 + 2.0 * strain.peaks()) - 1.0)
    figures += [bulls_eye(percent[:, COMPONENTS.index(name)].tolist(), f"Peak {name} strain", "%")
                for name in ("circumferential", "longitudinal")]
    return Section(
        "Segments", f'<div class="strip views">{"".join(figures)}</div>',
        "The wall in the 17 segments of the American Heart Association: base outside, apex in the middle, anterior on "
        "top, septum left. Thickness is that of the true labels round the cavity, which the apex lies below.",
    )


def bulls_eye(values: Sequence[float], title: str, unit: str, limits: tuple[float, float] | None = None) -> str:
    """A figure with the value of each segment in its place, and the colours' scale below; unknown ones stay empty.

    Parameters
    ----------
    values
        17, in the order of `SEGMENT_NAMES`; NaN where not known.
    title, unit
        Of the values.
    limits
        Least and largest value that the colours tell apart; those of `values` where None. They are widened to round
        numbers.

    Raises
    ------
    ValueError
        There are not 17 values, or none is known.
    """
    found = [value for value in values if isfinite(value)]
    if len(values) != len(SEGMENT_NAMES) or not found:
        raise ValueError(f"{len(values)} values, {len(found)} of them known; a bull's eye shows {len(SEGMENT_NAMES)}")
    scale = ticks(*(limits or (min(found), max(found))))
    low, high = scale[0], scale[-1]
    parts = [f'<svg class="chart bull" viewBox="0 0 {SIZE} {SIZE + 44}" role="img" aria-label="{escape(title)}">']
    for first, count, outer, inner in RINGS:
        width = 360.0 / count
        for step in range(count):
            # Segments run from the anterior wall on top round by the septum, which is to the left.
            middle = 90.0 + width * step
            shape = _wedge(middle - width / 2, middle + width / 2, outer, inner)
            at = _point(middle, 0.5 * (outer + inner))
            parts.append(_segment(first + step, values[first + step - 1], shape, at, (low, high), unit))
    middle = SIZE / 2
    circle = f'<circle cx="{middle:g}" cy="{middle:g}" r="{RINGS[-1][3] * RADIUS:g}"'
    parts.append(_segment(len(values), values[-1], circle, (middle, middle), (low, high), unit))
    parts += _scale(low, high, unit)
    parts.append("</svg>")
    return f'<figure class="plot"><h3>{escape(title)}</h3>{"".join(parts)}</figure>'


def _segment(
    number: int, value: float, shape: str, at: tuple[float, float], limits: tuple[float, float], unit: str
) -> str:
    name = f"{number} {SEGMENT_NAMES[number - 1]}"
    if not isfinite(value):
        return f'{shape} class="wall"><title>{name}: not known</title>{_end(shape)}'
    colour = _colour((value - limits[0]) / (limits[1] - limits[0]))
    ink = "#fff" if colour @ [0.299, 0.587, 0.114] < 140 else "#16202c"
    text = _number(f"{value:.0f}" if max(map(abs, limits)) >= 20 else f"{value:.1f}")
    return (
        f'{shape} class="wall" style="fill:{_css(colour)}"><title>{name}: {text} {escape(unit)}</title>{_end(shape)}'
        f'<text class="value" x="{at[0]:.1f}" y="{at[1] + 4.5:.1f}" text-anchor="middle" style="fill:{ink}">'
        f"{text}</text>")


def _number(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _end(shape: str) -> str:
    return "</circle>" if shape.startswith("<circle") else "</path>"


def _scale(low: float, high: float, unit: str) -> list[str]:
    left, top, step = SIZE / 2 - 80, SIZE + 8, 160 / _BAR
    parts = [
        # Half a unit of overlap: no seams where the page is scaled.
        f'<path d="M{left + n * step:g} {top} h{step + 0.5:g} v10 h{-step - 0.5:g} Z" '
        f'fill="{_css(_colour(n / (_BAR - 1)))}"/>' for n in range(_BAR)
    ]
    for value, x in ((low, left), (high, left + 160)):
        parts.append(f'<text class="tick" x="{x:g}" y="{top + 26}" text-anchor="middle">'
                     f'{_number(f"{value:g}")} {escape(unit)}</text>')
    return parts


def _wedge(start: float, end: float, outer: float, inner: float) -> str:
    (a, b), (c, d) = _point(start, outer), _point(end, outer)
    (e, f), (g, h) = _point(end, inner), _point(start, inner)
    far, near = outer * RADIUS, inner * RADIUS
    return (f'<path d="M{a:.2f} {b:.2f} A{far:g} {far:g} 0 0 0 {c:.2f} {d:.2f} '
            f'L{e:.2f} {f:.2f} A{near:g} {near:g} 0 0 1 {g:.2f} {h:.2f} Z"')


def _point(angle_deg: float, share: float) -> tuple[float, float]:
    """Where a share of the radius lies at an angle that counts from the right over the top."""
    angle = radians(angle_deg)
    return SIZE / 2 + share * RADIUS * cos(angle), SIZE / 2 - share * RADIUS * sin(angle)


def _colour(share: float) -> np.ndarray:
    place = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    return np.array([np.interp(place, range(len(_STOPS)), channel) for channel in _STOPS.T])


def _css(colour: np.ndarray) -> str:
    return "#" + "".join(f"{round(channel):02x}" for channel in colour)
