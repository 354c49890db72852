"""What labelled short-axis volumes measure: sizes, thicknesses and intensity ratios, one row per volume.

Made for laying simulated populations beside real ones.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.function import MYOCARDIAL_DENSITY_G_PER_ML
from CMRSimExtension.errors import InputError

LEVELS = {"bas": 0.2, "mid": 0.5, "api": 0.8}
"""Slice levels as a share of the way from the most basal to the most apical slice with myocardium."""


@dataclass(frozen=True)
class CineStatistics:
    """One row; NaN where a structure is missing.

    Attributes
    ----------
    lv, rv
        Volumes, ml.
    my
        LV mass, g.
    bas_D, mid_D, api_D
        Diameter of a circle with the LV pool's area, mm.
    bas_T, mid_T, api_T
        Mean wall thickness: radius of the circle with pool and wall's area less that of the pool's, mm.
    bas_R, mid_R, api_R
        Area of the RV over that of the LV pool.
    mid_bm
        Median intensity of LV blood over that of myocardium, at mid level.
    mid_rl
        Median intensity of RV blood over that of LV blood, at mid level.
    cvm, cvl
        SD over mean of intensity in the myocardium and in the LV pool, at mid level.
    """

    lv: float
    rv: float
    my: float
    bas_D: float
    mid_D: float
    api_D: float
    bas_T: float
    mid_T: float
    api_T: float
    bas_R: float
    mid_R: float
    api_R: float
    mid_bm: float
    mid_rl: float
    cvm: float
    cvl: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def measure(
    image: NDArray[np.floating], labels: NDArray[np.integer], spacing_mm: tuple[float, float, float]
) -> CineStatistics:
    """Measure one labelled volume.

    Parameters
    ----------
    image, labels
        (slices, rows, columns), slice 0 the most basal; labels 1 LV blood, 2 LV myocardium, 3 RV blood.
    spacing_mm
        Between columns, rows and slices.

    Raises
    ------
    InputError
        If the shapes differ or no slice holds myocardium.
    """
    if image.shape != labels.shape:
        raise InputError(f"image {image.shape} and labels {labels.shape} must have the same shape")
    with_wall = np.flatnonzero((labels == 2).any(axis=(1, 2)))
    if not len(with_wall):
        raise InputError("no slice holds LV myocardium (label 2): nothing to measure")
    pixel = spacing_mm[0] * spacing_mm[1]
    voxel_ml = pixel * spacing_mm[2] / 1000.0
    values: dict[str, float] = {
        "lv": float((labels == 1).sum() * voxel_ml),
        "rv": float((labels == 3).sum() * voxel_ml),
        "my": float((labels == 2).sum() * voxel_ml * MYOCARDIAL_DENSITY_G_PER_ML),
    }
    for name, share in LEVELS.items():
        k = int(np.rint(with_wall[0] + share * (with_wall[-1] - with_wall[0])))
        pool, wall, right = ((labels[k] == number).sum() * pixel for number in (1, 2, 3))
        values[f"{name}_D"] = float(2 * np.sqrt(pool / np.pi))
        values[f"{name}_T"] = float(np.sqrt((pool + wall) / np.pi) - np.sqrt(pool / np.pi))
        values[f"{name}_R"] = float(right / pool) if pool else float("nan")
        if name == "mid":
            blood, muscle, venous = (image[k][labels[k] == number].astype(float) for number in (1, 2, 3))
            nan = float("nan")
            ready = len(blood) > 4 and len(muscle) > 4
            values["mid_bm"] = float(np.median(blood) / np.median(muscle)) if ready else nan
            values["mid_rl"] = float(np.median(venous) / np.median(blood)) if ready and len(venous) > 4 else nan
            values["cvm"] = float(muscle.std() / muscle.mean()) if ready else nan
            values["cvl"] = float(blood.std() / blood.mean()) if ready else nan
    return CineStatistics(**values)


def mean_and_sd(rows: list[CineStatistics]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each column over `rows`, missing values left out."""
    columns = {name: np.array([getattr(row, name) for row in rows]) for name in CineStatistics.__dataclass_fields__}
    return {name: (float(np.nanmean(c)), float(np.nanstd(c))) for name, c in columns.items()}
