"""Overlap and distance between a segmentation and its reference."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError, MissingDependencyError

STRUCTURES: Mapping[int, str] = {1: "lv_blood", 2: "lv_myocardium", 3: "rv_blood"}
"""Clinical label -> name in every table."""

POSITIONS = ("basal", "mid", "apical")
"""Thirds of the slices that the reference's myocardium spans."""


@dataclass(frozen=True)
class Comparison:
    """One structure of one frame, or of one of its slices.

    Attributes
    ----------
    case, frame, structure
        What was compared.
    position
        ``volume``, or the slice's position.
    dice
        2 |P and R| / (|P| + |R|); 1 where both are empty.
    hd_mm, hd95_mm
        Hausdorff distance and its 95th percentile; NaN where either is empty or distances were not asked for.
    predicted_ml, reference_ml
        Volumes.
    pathology
        Group of the case, where known.
    phase
        ``ED`` or ``ES`` where the frame is the reference's end diastole or end systole.
    """

    case: str
    frame: str
    structure: str
    position: str
    dice: float
    hd_mm: float
    hd95_mm: float
    predicted_ml: float
    reference_ml: float
    pathology: str = ""
    phase: str = ""


def dice(predicted: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks of any dimension; 1 where both are empty.

    Raises
    ------
    InputError
        When their shapes differ.
    """
    if predicted.shape != reference.shape:
        raise InputError(
            f"masks of shapes {predicted.shape} and {reference.shape} cannot be compared; align them first"
        )
    total = int(predicted.sum()) + int(reference.sum())
    return 1.0 if total == 0 else 2.0 * int((predicted & reference).sum()) / total


def hausdorff_mm(
    predicted: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing_mm: Sequence[float],
    percentile: float | None = None,
) -> float:
    """Symmetric Hausdorff distance between the surfaces of two masks, by MONAI.

    Parameters
    ----------
    predicted, reference
        Masks of the same shape, 2D or 3D.
    spacing_mm
        Voxel size per dimension of the arrays.
    percentile
        95 gives HD95 (P4, equation 6); None the largest distance.

    Returns
    -------
    float
        mm; NaN where either mask is empty.

    Raises
    ------
    MissingDependencyError
        When torch or MONAI is not installed.
    InputError
        When the shapes differ.
    """
    try:
        import torch
        from monai.metrics import compute_hausdorff_distance
    except ImportError as error:
        raise MissingDependencyError(
            f"Hausdorff distances need torch and MONAI ({error}): install the extra 'segment', or leave the distances "
            "out (cmrsim evaluate --no-distances)"
        ) from error
    if predicted.shape != reference.shape:
        raise InputError(
            f"masks of shapes {predicted.shape} and {reference.shape} cannot be compared; align them first"
        )
    if not predicted.any() or not reference.any():
        return math.nan
    # Distances outside the common bounding box are the same inside it, and it is far smaller.
    where = np.argwhere(predicted | reference)
    box = tuple(slice(max(0, low - 1), high + 2) for low, high in zip(where.min(0), where.max(0), strict=True))
    pair = [torch.from_numpy(np.ascontiguousarray(mask[box]))[None, None] for mask in (predicted, reference)]
    value = compute_hausdorff_distance(
        pair[0], pair[1], include_background=True, percentile=percentile, spacing=list(spacing_mm)
    )
    return float(value.item())


def slice_positions(reference: NDArray[np.integer]) -> dict[int, str]:
    """Position of each slice that shows myocardium in the reference (slices, rows, columns), slice 0 the most basal.

    The span from the first to the last such slice is cut into equal thirds.
    """
    shown = np.flatnonzero((reference == 2).any(axis=(1, 2)))
    if not len(shown):
        return {}
    first, count = int(shown[0]), int(shown[-1] - shown[0] + 1)
    return {int(index): POSITIONS[min(2, 3 * (int(index) - first) // count)] for index in shown}


def middle_slices(reference: NDArray[np.integer], count: int) -> NDArray[np.intp]:
    """Indices of the `count` slices in the middle of those of a reference (slices, rows, columns) that show myocardium.

    All of these where there are fewer. Where an odd number is left out, the end has one more of them than the start.
    """
    shown = np.flatnonzero((reference == 2).any(axis=(1, 2)))
    first = max(0, (len(shown) - count) // 2)
    return shown[first : first + count]


def check_same_grid(predicted: NDArray, reference: NDArray, case: str = "") -> None:
    """Raise `InputError`, naming the case, unless both labels are (slices, rows, columns) of the same shape."""
    if predicted.shape != reference.shape or predicted.ndim != 3:
        raise InputError(
            f"{case or 'labels'}: shapes {predicted.shape} and {reference.shape} cannot be compared; both must be "
            "(slices, rows, columns) on the same grid"
        )


def compare(
    predicted: NDArray[np.integer],
    reference: NDArray[np.integer],
    spacing_mm: Sequence[float],
    *,
    case: str = "",
    frame: str = "",
    pathology: str = "",
    phase: str = "",
    structures: Mapping[int, str] = STRUCTURES,
    distances: bool = True,
    per_slice: bool = True,
    apex_first: bool = False,
) -> list[Comparison]:
    """Compare two label volumes.

    Parameters
    ----------
    predicted, reference
        (slices, rows, columns) labels.
    spacing_mm
        (slice, row, column) distances; NaN or zero where unknown gives no distances and no volumes.
    distances
        Whether to compute HD and HD95.
    per_slice
        Whether to add one row per slice, by position.
    case, frame, pathology, phase
        What the rows say about themselves, see `Comparison`.
    apex_first
        Whether slice 0 is the most apical (see `anatomy.stack_order.begins_at_apex`).

    Raises
    ------
    InputError
        When the shapes differ.
    """
    check_same_grid(predicted, reference, case)
    spacing = [float(side) for side in spacing_mm]
    known = all(math.isfinite(side) and side > 0 for side in spacing)
    voxel_ml = math.prod(spacing) / 1000.0 if known else math.nan
    positions = slice_positions(reference[::-1] if apex_first else reference) if per_slice else {}
    rows = []
    for number, name in structures.items():
        found, truth = predicted == number, reference == number
        full = distances and known
        rows.append(
            Comparison(
                case,
                frame,
                name,
                "volume",
                dice(found, truth),
                hausdorff_mm(found, truth, spacing) if full else math.nan,
                hausdorff_mm(found, truth, spacing, 95.0) if full else math.nan,
                float(found.sum()) * voxel_ml,
                float(truth.sum()) * voxel_ml,
                pathology,
                phase,
            )
        )
        for index, position in positions.items():
            layer = len(reference) - 1 - index if apex_first else index
            one, other = found[layer], truth[layer]
            if one.any() or other.any():
                rows.append(
                    Comparison(
                        case,
                        frame,
                        name,
                        position,
                        dice(one, other),
                        hausdorff_mm(one, other, spacing[1:]) if full else math.nan,
                        hausdorff_mm(one, other, spacing[1:], 95.0) if full else math.nan,
                        float(one.sum()) * voxel_ml,
                        float(other.sum()) * voxel_ml,
                        pathology,
                        phase,
                    )
                )
    return rows


def summarise(
    rows: Iterable[Comparison], by: Sequence[str] = ("structure",), values: Sequence[str] = ("dice", "hd_mm", "hd95_mm")
) -> list[dict[str, float | str]]:
    """Count, mean, SD, median and quartiles of each value per group.

    Parameters
    ----------
    rows
        What `compare` gave.
    by
        Fields of `Comparison` that make a group.
    values
        Fields to summarise; NaN values are left out and counted.

    Returns
    -------
    list of dict
        One per group in the order of first appearance: the `by` fields, then ``<value>_n``, ``_mean``, ``_sd``,
        ``_median``, ``_q1``, ``_q3`` for each value.
    """
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for row in rows:
        groups.setdefault(tuple(str(getattr(row, name)) for name in by), []).append(row)
    table: list[dict[str, float | str]] = []
    for key, members in groups.items():
        entry: dict[str, float | str] = dict(zip(by, key, strict=True))
        for name in values:
            numbers = np.array([getattr(row, name) for row in members], float)
            numbers = numbers[np.isfinite(numbers)]
            entry[f"{name}_n"] = len(numbers)
            if len(numbers):
                q1, median, q3 = np.quantile(numbers, [0.25, 0.5, 0.75])
                spread = float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan
                statistics = (float(numbers.mean()), spread, float(median), float(q1), float(q3))
            else:
                statistics = (math.nan,) * 5
            entry |= {
                f"{name}_{suffix}": value
                for suffix, value in zip(("mean", "sd", "median", "q1", "q3"), statistics, strict=True)
            }
        table.append(entry)
    return table


def write_rows(path: Path, rows: Sequence[Comparison]) -> None:
    """All rows as CSV, one column per field of `Comparison`."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [entry.name for entry in fields(Comparison)])
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
