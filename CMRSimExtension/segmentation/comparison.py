"""Comparing label files: one pair, or two folders matched by name."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.agreement import Agreement, bland_altman
from CMRSimExtension.evaluation.function import function_from_labels
from CMRSimExtension.evaluation.overlap import Comparison, compare
from CMRSimExtension.files.cine_files import NIFTI_ENDINGS, base_path
from CMRSimExtension.files.nifti import NiftiImage, read_nifti
from CMRSimExtension.training.labelled_folder import label_table, translate_labels

_SAME_PLACE_MM = 0.1
"""Grids whose corners differ by less are the same one, written by programs that round differently."""


@dataclass(frozen=True)
class FileComparison:
    """What the comparison of some label files gave.

    Attributes
    ----------
    rows
        One per structure and frame, and per slice.
    agreement
        Agreement of function over the cases with two frames or more, by quantity; empty for fewer than two such cases.
    unmatched
        Names of files without a partner.
    """

    rows: list[Comparison]
    agreement: dict[str, Agreement]
    unmatched: list[str]


def compare_files(
    predicted: Path, reference: Path, labels_map: str = "cmrsim", *, distances: bool = True
) -> FileComparison:
    """Compare a label file with its reference, or two folders of them.

    Folders are matched by file name; an ending such as ``_gt`` or ``_labels`` on either side is ignored.

    Parameters
    ----------
    labels_map
        Label numbers of the reference (see `anatomy.label_maps`); the prediction's are this library's.

    Raises
    ------
    InputError
        When one is a folder and the other a file, nothing matches, shapes or geometry differ, or a label is unknown.
    """
    predicted, reference = Path(predicted), Path(reference)
    for path in (predicted, reference):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name")
    if predicted.is_dir() != reference.is_dir():
        raise InputError("one of the two is a folder and the other a file; give two files or two folders")
    unmatched: list[str] = []
    if predicted.is_dir():
        found, truth = _by_name(predicted), _by_name(reference)
        pairs = [(name, found[name], truth[name]) for name in sorted(found.keys() & truth.keys())]
        unmatched = sorted(found.keys() ^ truth.keys())
        if not pairs:
            raise InputError(f"no label file of {predicted} has a partner of the same name in {reference}")
    else:
        pairs = [(_name(predicted), predicted, reference)]
    rows: list[Comparison] = []
    measured: dict[str, list[tuple[float, float]]] = {}
    for name, first, second in pairs:
        one, other = read_nifti(first), read_nifti(second)
        _check_same_grid(one, other, first.name, second.name)
        labels = translate_labels(one.values, label_table("cmrsim"), first.name)
        truths = translate_labels(other.values, label_table(labels_map), second.name)
        dx, dy, dz = other.grid.spacing_mm
        spacing = (dz, dy, dx)
        frames = [index for index in range(len(truths)) if truths[index].any()]
        for index in frames:
            rows += compare(labels[index], truths[index], spacing, case=name, frame=str(index), distances=distances)
        if len(frames) > 1 and (labels[frames] == 1).any() and (truths[frames] == 1).any():
            mine = function_from_labels(labels, spacing, frames=frames).function.as_dict()
            theirs = function_from_labels(truths, spacing, frames=frames).function.as_dict()
            for quantity, value in mine.items():
                partner = theirs[quantity]
                if value is not None and partner is not None and math.isfinite(value + partner):
                    measured.setdefault(quantity, []).append((value, partner))
    agreement = {
        quantity: bland_altman([a for a, _ in values], [b for _, b in values])
        for quantity, values in measured.items()
        if len(values) > 1
    }
    return FileComparison(rows, agreement, unmatched)


def _name(path: Path) -> str:
    stem = base_path(path).name
    for ending in ("_gt", "_labels", "_seg"):
        stem = stem.removesuffix(ending)
    return stem


def _by_name(folder: Path) -> dict[str, Path]:
    """Label files of a folder by case; where labels lie beside images, those named as labels are taken."""
    files = sorted(path for path in folder.iterdir() if path.name.lower().endswith(NIFTI_ENDINGS))
    named = [path for path in files if base_path(path).name.endswith(("_gt", "_labels", "_seg"))]
    return {_name(path): path for path in (named or files)}


def _check_same_grid(one: NiftiImage, other: NiftiImage, first: str, second: str) -> None:
    if one.values.shape != other.values.shape:
        raise InputError(
            f"{first} has shape {one.values.shape} and {second} {other.values.shape} (frames, slices, rows, columns); "
            "they must lie on the same grid"
        )
    slices, rows, columns = one.grid.shape
    corners = np.array([[i, j, k, 1.0] for i in (0, columns - 1) for j in (0, rows - 1) for k in (0, slices - 1)])
    distance = np.abs(corners @ (one.grid.affine_ras - other.grid.affine_ras).T).max()
    if distance > _SAME_PLACE_MM:
        raise InputError(
            f"{first} and {second} lie up to {distance:.2f} mm apart; resample one to the other's grid first"
        )


def comparison_table(rows: Sequence[Comparison]) -> str:
    """Mean, SD, median and quartiles of Dice, and medians of HD and HD95, per structure and position, as text."""
    from CMRSimExtension.evaluation.overlap import summarise

    lines = [
        f"{'structure':16}{'where':9}{'n':>5}{'Dice mean':>11}{'SD':>7}{'median':>8}{'Q1':>7}{'Q3':>7}"
        f"{'HD median':>11}{'HD95 median':>13}"
    ]
    for entry in summarise(rows, ("structure", "position")):
        lines.append(
            f"{entry['structure']!s:16}{entry['position']!s:9}{entry['dice_n']:5d}{entry['dice_mean']:11.3f}"
            f"{entry['dice_sd']:7.3f}{entry['dice_median']:8.3f}{entry['dice_q1']:7.3f}{entry['dice_q3']:7.3f}"
            f"{entry['hd_mm_median']:11.2f}{entry['hd95_mm_median']:13.2f}"
        )
    return "\n".join(lines)
