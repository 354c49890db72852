"""What is measured once per case, by the prediction and by the reference: function and wall thickness, and how well
the two agree over the cases."""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.aha import SEGMENT_NAMES
from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.agreement import Agreement, bland_altman
from CMRSimExtension.evaluation.function import function_from_labels
from CMRSimExtension.evaluation.wall_thickness import wall_thickness
from CMRSimExtension.scanner.geometry import ImageGrid

_FRAME_OF_PATIENT = re.compile(r"(?P<patient>.+)_(?:frame\d+|ED|ES)")


@dataclass(frozen=True)
class CaseValue:
    """One quantity of one case.

    Attributes
    ----------
    case, pathology
        Which case, and its group where known.
    quantity
        Name with its unit: those of `CardiacFunction`, and ``wall_mm_`` with a name of `SEGMENT_NAMES`.
    predicted
        NaN where the prediction shows nothing that it could be measured on.
    reference
        Finite.
    """

    case: str
    pathology: str
    quantity: str
    predicted: float
    reference: float


def patient_of(name: str) -> str:
    """The patient of a file of one frame: its name without ``_frame01``, ``_ED`` or ``_ES``; other names stay."""
    found = _FRAME_OF_PATIENT.fullmatch(name)
    return found["patient"] if found else name


def phases_of(names: Sequence[str], pools: Sequence[float]) -> list[str]:
    """ED, ES or "" of some frames of one heart.

    What a name says (``_ED``, ``_ES``) holds. Otherwise end diastole is the frame of the largest LV pool and end
    systole that of the smallest, where two frames show one.

    Parameters
    ----------
    names
        The file of each frame. Where frames share one, its name says nothing.
    pools
        LV pool of each in the reference, in any unit.
    """
    if len(set(names)) == len(names) and any(name.endswith(("_ED", "_ES")) for name in names):
        return [name[-2:] if name.endswith(("_ED", "_ES")) else "" for name in names]
    phases = [""] * len(pools)
    shown = [index for index, pool in enumerate(pools) if pool > 0]
    if len(shown) > 1:
        phases[min(shown, key=lambda index: pools[index])] = "ES"
        phases[max(shown, key=lambda index: pools[index])] = "ED"
    return phases


def function_values(
    predicted: NDArray[np.integer],
    reference: NDArray[np.integer],
    spacing_mm: Sequence[float] | None,
    case: str,
    pathology: str = "",
) -> tuple[list[CaseValue], list[str]]:
    """Function of a case, each side by its own frames (see `function_from_labels`).

    Parameters
    ----------
    predicted, reference
        (frames, slices, rows, columns) labels, the frames that both sides have; one frame gives volumes and mass.
    spacing_mm
        (slice, row, column) distances; None where unknown, which leaves the ejection fractions.

    Returns
    -------
    tuple
        The values, and sentences on what was left out.
    """
    sides = (1.0, 1.0, 1.0) if spacing_mm is None else spacing_mm
    if not (reference == 1).any():
        return [], [f"{case}: the reference shows no LV blood pool, so function was not compared"]
    theirs = function_from_labels(reference, sides).function.as_dict()
    notes = []
    lost = [bool((one == 1).any()) and not (other == 1).any() for one, other in zip(reference, predicted, strict=True)]
    if any(lost):
        notes.append(
            f"{case}: the prediction has no LV blood pool in {sum(lost)} of the {len(lost)} frames compared; its "
            "function is measured without them"
        )
    shows = (predicted == 1).any()
    mine = function_from_labels(predicted, sides).function.as_dict() if shows else dict.fromkeys(theirs)
    values = []
    for quantity, value in theirs.items():
        if value is None or (spacing_mm is None and not quantity.endswith("_percent")):
            continue
        own = mine[quantity]
        values.append(CaseValue(case, pathology, quantity, math.nan if own is None else own, value))
    return values, notes


def wall_values(
    predicted: NDArray[np.integer],
    reference: NDArray[np.integer],
    grid: ImageGrid,
    case: str,
    pathology: str = "",
    *,
    apex_first: bool = False,
) -> tuple[list[CaseValue], list[str]]:
    """Wall thickness per AHA segment of one frame, each side with its own segments (see `wall_thickness`).

    Parameters
    ----------
    predicted, reference
        (slices, rows, columns) labels.
    apex_first
        Whether slice 0 is the most apical.

    Returns
    -------
    tuple
        The values of the segments that the reference shows, and sentences on what was left out.
    """
    try:
        theirs = wall_thickness(reference, grid, apex_first=apex_first).segments_mm
    except InputError as error:
        return [], [f"{case}: wall thickness was not compared, as in the reference {error}"]
    notes = []
    try:
        mine = wall_thickness(predicted, grid, apex_first=apex_first).segments_mm
    except InputError as error:
        mine = (math.nan,) * len(SEGMENT_NAMES)
        notes.append(f"{case}: the prediction has no wall thickness: {error}")
    names = [f"wall_mm_{name.replace(' ', '_')}" for name in SEGMENT_NAMES]
    values = [
        CaseValue(case, pathology, name, own, value)
        for name, own, value in zip(names, mine, theirs, strict=True)
        if math.isfinite(value)
    ]
    return values, notes


def agreements(values: Iterable[CaseValue]) -> dict[str, Agreement]:
    """Bland-Altman statistics per quantity over the cases that have both values; none for fewer than two of them."""
    pairs: dict[str, list[CaseValue]] = {}
    for value in values:
        if math.isfinite(value.predicted):
            pairs.setdefault(value.quantity, []).append(value)
    return {
        quantity: bland_altman([value.predicted for value in found], [value.reference for value in found])
        for quantity, found in pairs.items()
        if len(found) > 1
    }


def agreement_table(values: Sequence[CaseValue]) -> str:
    """Means, bias and limits of agreement per quantity, as text; "" for no values.

    ``n`` is the cases with both values of those that the reference has one for: a case that the prediction lost cannot
    count as agreement.
    """
    if not values:
        return ""
    found = agreements(values)
    lines = [
        f"{'quantity':28}{'n':>9}{'predicted':>11}{'reference':>11}{'bias':>9}{'SD':>9}{'limits of agreement':>23}"
        f"{'mean |diff|':>13}"
    ]
    for quantity in dict.fromkeys(value.quantity for value in values):
        rows = [value for value in values if value.quantity == quantity]
        both = [value for value in rows if math.isfinite(value.predicted)]
        line = f"{quantity:28}{f'{len(both)}/{len(rows)}':>9}"
        if both:
            mine, theirs = (float(np.mean([getattr(row, side) for row in both])) for side in ("predicted", "reference"))
            line += f"{mine:11.2f}{theirs:11.2f}{mine - theirs:9.2f}"
        if quantity in found:
            value = found[quantity]
            limits = f"{value.lower:.2f} to {value.upper:.2f}"
            line += f"{value.sd:9.2f}{limits:>23}{value.mean_absolute:13.2f}"
        lines.append(line)
    return "\n".join(lines)


def write_values(path: Path, values: Iterable[CaseValue]) -> None:
    """Every quantity of every case as CSV, with predicted minus reference; a value that is missing is empty."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*(entry.name for entry in fields(CaseValue)), "difference"])
        table.writeheader()
        for value in values:
            row = asdict(value) | {"difference": value.predicted - value.reference}
            table.writerow(_without_nan(row))


def write_agreement(path: Path, values: Sequence[CaseValue]) -> None:
    """Bland-Altman statistics per quantity as CSV; ``cases`` counts those the reference has, ``count`` the pairs."""
    titles = ["quantity", "cases", "count", "bias", "bias_lower", "bias_upper", "sd", "lower", "upper",
              "mean_absolute", "correlation"]  # fmt: skip
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, titles)
        table.writeheader()
        for quantity, found in agreements(values).items():
            row = {name: value for name, value in asdict(found).items() if name in titles}
            row |= {"quantity": quantity, "cases": sum(value.quantity == quantity for value in values)}
            row["bias_lower"], row["bias_upper"] = found.bias_interval
            table.writerow(_without_nan(row))


def _without_nan(row: dict[str, object]) -> dict[str, object]:
    return {name: "" if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
