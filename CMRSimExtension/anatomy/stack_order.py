"""Which end of a stack of short-axis labels is the base."""

import numpy as np
from numpy.typing import NDArray


def begins_at_apex(labels: NDArray[np.integer]) -> bool:
    """Whether slice 0 is apical, as the left ventricle's outline narrows towards the apex.

    Parameters
    ----------
    labels
        (slices, rows, columns) clinical labels, or (frames, slices, rows, columns) of one heart: its fullest frame
        decides for all, since a heart at end systole may be widest anywhere. An apical aneurysm wider than the base
        misleads this.

    Returns
    -------
    bool
        False also where fewer than two slices show the left ventricle.
    """
    if labels.ndim == 4:
        labels = labels[int(np.argmax((labels == 1).sum(axis=(1, 2, 3))))]
    area = np.isin(labels, (1, 2)).sum(axis=(1, 2))
    shown = area[area > 0]
    half = len(shown) // 2
    return bool(half and shown[:half].mean() < shown[-half:].mean())


def basal_third(labels: NDArray[np.integer], apex_first: bool) -> NDArray[np.intp]:
    """Indices of the basal third of the slices (slices, rows, columns) with muscle, the most basal one first."""
    shown = np.flatnonzero((labels == 2).any(axis=(1, 2)))
    if apex_first:
        shown = shown[::-1]
    return shown[: max(1, round(len(shown) / 3))]
