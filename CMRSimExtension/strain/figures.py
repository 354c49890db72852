"""Pictures of strain: curves over the heartbeat, and the bull's eye. Needs matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.pictures import require_matplotlib
from CMRSimExtension.strain.series import COMPONENTS, StrainSeries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RINGS = ((1, 6, 1.0, 0.75), (7, 6, 0.75, 0.5), (13, 4, 0.5, 0.25))
"""First segment, number of segments, outer and inner radius of each ring of a bull's eye; segment 17 is the middle."""
_LIMITS = {"radial": 0.6, "circumferential": 0.25, "longitudinal": 0.25}


def write_curves(series: StrainSeries, path: Path | str, *, truth: StrainSeries | None = None) -> Path:
    """Strain over time as PNG: the whole wall, every segment faintly, and the truth dashed where it is given.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    """
    figure = _figure(figsize=(4.2 * len(shown := _components(series)), 3.4))
    times, unit = _axis(series)
    for column, name in enumerate(shown):
        axis = figure.add_subplot(1, len(shown), column + 1)
        index = COMPONENTS.index(name)
        axis.plot(times, 100 * series.segments[:, :, index], color="0.75", linewidth=0.8)
        axis.plot(times, 100 * series.whole[:, index], color="tab:red", linewidth=2, label=series.source)
        if truth is not None:
            axis.plot(_axis(truth)[0], 100 * truth.whole[:, index], "k--", linewidth=1.2, label="truth")
        faded = np.flatnonzero(~series.reliable)
        if len(faded):
            axis.axvspan(times[faded[0]], times[-1], color="0.9", zorder=0, label="tags faded")
        axis.axhline(0, color="0.5", linewidth=0.6)
        axis.set_title(f"{name} strain")
        axis.set_xlabel(unit)
        axis.set_ylabel("Green-Lagrange strain, %")
        axis.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def write_bulls_eye(series: StrainSeries, path: Path | str) -> Path:
    """Peak strain of the 17 segments as PNG: anterior on top, septum left, base outside, apex in the middle.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    """
    figure = _figure(figsize=(3.8 * len(shown := _components(series)), 3.9))
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    peaks = series.peaks()
    for column, name in enumerate(shown):
        axis = figure.add_subplot(1, len(shown), column + 1, aspect="equal")
        limit = 100 * _LIMITS[name]
        colours = ScalarMappable(Normalize(-limit, limit), "RdBu_r")
        values = 100 * peaks[:, COMPONENTS.index(name)]
        for first, count, outer, inner in RINGS:
            for n in range(count):
                middle = 90.0 + 360.0 / count * n
                _wedge(axis, colours, values, first + n, (middle, 360.0 / count), (outer, inner))
        _wedge(axis, colours, values, 17, (0.0, 360.0), (0.25, 0.0))
        axis.set_xlim(-1.05, 1.05)
        axis.set_ylim(-1.05, 1.05)
        axis.axis("off")
        axis.set_title(f"peak {name} strain, %")
        figure.colorbar(colours, ax=axis, shrink=0.75)
    return _save(figure, path)


def _wedge(
    axis: Any,
    colours: Any,
    values: NDArray[np.float64],
    number: int,
    angles_deg: tuple[float, float],
    radii: tuple[float, float],
) -> None:
    """One segment: `angles_deg` are its middle (anterior is 90, on top, then round by the septum) and its width."""
    from matplotlib.patches import Wedge

    value, (middle, width), (outer, inner) = values[number - 1], angles_deg, radii
    known = np.isfinite(value)
    face = colours.to_rgba(value) if known else "0.92"
    start, end = middle - width / 2, middle + width / 2
    look = {"facecolor": face, "edgecolor": "white", "linewidth": 1.5}
    axis.add_patch(Wedge((0, 0), outer, start, end, width=outer - inner, **look))
    radius = 0.5 * (outer + inner) if inner else 0.0
    x, y = radius * np.cos(np.deg2rad(middle)), radius * np.sin(np.deg2rad(middle))
    dark = known and abs(value) > 0.6 * colours.norm.vmax
    text = f"{value:.0f}" if known else f"({number})"
    axis.text(x, y, text, ha="center", va="center", fontsize=9, color="white" if dark else "0.2")


def _components(series: StrainSeries) -> list[str]:
    known = [name for i, name in enumerate(COMPONENTS) if np.isfinite(series.whole[:, i]).any()]
    if not known:
        raise InputError("no strain is known in any frame, so there is nothing to draw; do the labels fit the image?")
    return known


def _axis(series: StrainSeries) -> tuple[NDArray[np.float64], str]:
    if np.isfinite(series.times_ms).all():
        return series.times_ms, "time after the R wave, ms"
    return np.arange(len(series.times_ms), dtype=np.float64), "frame"


def _figure(figsize: tuple[float, float]) -> "Figure":
    require_matplotlib("pictures of strain")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not pyplot: a library must not choose the caller's backend.
    figure = Figure(figsize=figsize, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: "Figure", path: Path | str) -> Path:
    target = Path(path)
    figure.savefig(target, dpi=130, format="png")
    return target
