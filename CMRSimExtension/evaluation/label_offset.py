"""Whether reference labels lie beside their images: a shift common to a whole set, and what it costs.

Labels that were resampled or written by another program may lie a part of a pixel beside the image that they belong to.
A thin wall then loses overlap that no network can win. A prediction is made from the image alone, so the mean distance
from it to the reference, over many slices that both agree on, tells such a shift, as far as the prediction has none of
its own: let it be the mean over mirrored views, and look at a set whose labels are known to lie right beside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.evaluation.overlap import check_same_grid, dice

AGREEING_DICE = 0.85
"""Slices count where the outline of the left ventricle is overlapped better than this: the same structure is meant."""

_LEFT_VENTRICLE = (1, 2)
"""Blood and myocardium: the area inside the epicardium, which no decision on papillary muscles moves."""


@dataclass(frozen=True)
class LabelOffset:
    """Where the references of a set lie beside the predictions, on average, in pixels.

    Attributes
    ----------
    rows, columns
        Mean of reference minus prediction, along the arrays' rows and columns; NaN where no slice counts.
    rows_error, columns_error
        Standard errors of these means, with the slices of one patient taken for what they are, alike; NaN for fewer
        than two patients.
    slices, patients
        What was counted.
    """

    rows: float
    columns: float
    rows_error: float
    columns_error: float
    slices: int
    patients: int


def slice_offsets(predicted: NDArray[np.integer], reference: NDArray[np.integer]) -> NDArray[np.float64]:
    """Offset of the left ventricle's centroid in each slice where both sides agree better than `AGREEING_DICE`.

    Parameters
    ----------
    predicted, reference
        (slices, rows, columns) clinical labels.

    Returns
    -------
    ndarray
        (slices that count, 2): reference minus prediction along rows and columns, in pixels.

    Raises
    ------
    InputError
        When the shapes differ.
    """
    check_same_grid(predicted, reference)
    found = []
    for one, other in zip(np.isin(predicted, _LEFT_VENTRICLE), np.isin(reference, _LEFT_VENTRICLE), strict=True):
        if one.any() and other.any() and dice(one, other) > AGREEING_DICE:
            found.append(np.argwhere(other).mean(axis=0) - np.argwhere(one).mean(axis=0))
    return np.array(found, np.float64).reshape(-1, 2)


def mean_offset(by_patient: Sequence[NDArray[np.floating]]) -> LabelOffset:
    """Mean over all slices, with its standard error from the spread between patients.

    Parameters
    ----------
    by_patient
        (slices, 2) offsets of each patient, see `slice_offsets`; some may be empty.

    Notes
    -----
    The error is that of a mean over clusters (Cochran, Sampling Techniques, 1977, section 9A: the ratio estimator),
    ``sqrt(n / (n - 1) * sum((sum of a patient's deviations)^2)) / slices`` for n patients: slices of one heart err
    together, and counting them as independent would make the error too small.
    """
    groups = [np.asarray(group, np.float64) for group in by_patient if len(group)]
    slices, patients = sum(len(group) for group in groups), len(groups)
    if not slices:
        return LabelOffset(*(math.nan,) * 4, 0, 0)
    mean = np.concatenate(groups).mean(axis=0)
    error = np.full(2, math.nan)
    if patients > 1:
        together = np.array([(group - mean).sum(axis=0) for group in groups])
        error = np.sqrt(patients / (patients - 1) * (together**2).sum(axis=0)) / slices
    return LabelOffset(float(mean[0]), float(mean[1]), float(error[0]), float(error[1]), slices, patients)


def moved_back(reference: NDArray[np.bool_], offset: LabelOffset) -> NDArray[np.bool_]:
    """A mask (slices, rows, columns) moved against the offset, interpolated linearly and cut at one half."""
    values = reference.astype(np.float32)
    moved = ndimage.shift(values, (0.0, -offset.rows, -offset.columns), order=1, mode="grid-constant", prefilter=False)
    return np.asarray(moved > 0.5)


def dice_moved_back(
    predicted: NDArray[np.integer], reference: NDArray[np.integer], offset: LabelOffset, label: int
) -> float:
    """Dice of one structure of a volume, had the reference not lain beside the image; see `dice` and `moved_back`.

    Parameters
    ----------
    predicted, reference
        (slices, rows, columns) clinical labels.
    """
    return dice(predicted == label, moved_back(reference == label, offset))
