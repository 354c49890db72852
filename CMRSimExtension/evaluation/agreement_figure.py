"""The picture of Bland and Altman: difference over mean, one panel per quantity. Needs matplotlib."""

from collections.abc import Mapping
from pathlib import Path

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.agreement import Agreement
from CMRSimExtension.pictures import require_matplotlib

_ACROSS = 4
_UNITS = {"ml": "ml", "g": "g", "percent": "%", "mm": "mm"}
_ABBREVIATIONS = ("lv", "rv", "edv", "esv", "sv", "ef")


def write_agreement_figure(path: Path | str, found: Mapping[str, Agreement], title: str = "") -> Path:
    """Draw each quantity's cases, its bias and its limits of agreement with their values, as PNG.

    Parameters
    ----------
    path
        Name ending in .png.
    found
        By quantity, named with its unit as in `case_values.CaseValue`: ``lv_edv_ml``, ``wall_mm_basal_anterior``.
    title
        Over all panels.

    Raises
    ------
    InputError
        Nothing to draw.
    MissingDependencyError
        matplotlib is not installed.
    """
    if not found:
        raise InputError("no quantity was measured in two cases, so there is no agreement to draw; compare more cases")
    require_matplotlib("pictures of agreement")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_ACROSS, len(found))
    rows = -(-len(found) // columns)
    # Not pyplot: a library must not choose the caller's backend.
    figure = Figure(figsize=(3.6 * columns, 2.9 * rows + 0.3 * bool(title)), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (quantity, agreement) in enumerate(found.items(), 1):
        words, unit = named(quantity)
        axis = figure.add_subplot(rows, columns, place)
        axis.plot(agreement.means, agreement.differences, "o", markersize=3.5, color="tab:blue", alpha=0.7)
        lines = {"bias": agreement.bias, "+1.96 SD": agreement.upper, "-1.96 SD": agreement.lower}
        if agreement.sd == 0:
            lines = {"bias and limits": agreement.bias}
        for name, value in lines.items():
            bias = name.startswith("bias")
            axis.axhline(value, color="tab:red" if bias else "0.35", linestyle="-" if bias else "--", linewidth=1.0)
            # Away from the middle, so that they stay apart where one case reaches far beyond the limits.
            side = "center" if bias else "bottom" if value > agreement.bias else "top"
            text = f"{name}\n{value:.2f}"
            axis.text(1.02, value, text, transform=axis.get_yaxis_transform(), va=side, fontsize=8)
        axis.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
        reach = max(1.96 * agreement.sd, *(abs(value - agreement.bias) for value in agreement.differences))
        reach = 1.15 * reach or 1.0
        axis.set_ylim(agreement.bias - reach, agreement.bias + reach)
        axis.set_title(f"{words}, n = {agreement.count}", fontsize=10)
        axis.set_xlabel(f"mean of predicted and reference, {unit}", fontsize=8)
        axis.set_ylabel(f"predicted - reference, {unit}", fontsize=8)
        axis.tick_params(labelsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110, format="png")
    return Path(path)


def named(quantity: str) -> tuple[str, str]:
    """Words and unit of a quantity: ``lv_edv_ml`` is ("LV EDV", "ml").

    Examples
    --------
    >>> named("wall_mm_basal_anterior"), named("rv_ef_percent")
    (('wall, basal anterior', 'mm'), ('RV EF', '%'))
    """
    if quantity.startswith("wall_mm_"):
        return "wall, " + quantity.removeprefix("wall_mm_").replace("_", " "), "mm"
    *words, unit = quantity.split("_")
    if unit not in _UNITS or not words:
        raise InputError(f"quantity {quantity!r} names no unit; end it in one of {', '.join(_UNITS)}")
    return " ".join(word.upper() if word in _ABBREVIATIONS else word for word in words), _UNITS[unit]
