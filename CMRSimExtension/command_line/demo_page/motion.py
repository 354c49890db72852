"""The strain curve of the demo, from the true displacement."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine


@dataclass(frozen=True)
class StrainCurves:
    """Mean engineering strain (change of length over length at end diastole) of the LV wall, one value a frame.

    Attributes
    ----------
    radial, circumferential, longitudinal
        (frames,) in percent.
    """

    radial: NDArray[np.float64]
    circumferential: NDArray[np.float64]
    longitudinal: NDArray[np.float64]


def wall_strain(cine: Cine) -> StrainCurves:
    """Strain of the middle layer of the LV wall over the middle half of a short-axis stack.

    The displacement field u maps a voxel's centre x to its place at end diastole, X = x + u(x), so the deformation
    gradient is F = (I + du/dx)^-1, and a fibre of direction n at end diastole changes its length by |F n| - 1.

    Raises
    ------
    InputError
        The cine lacks labels or displacement, or has fewer than three slices.
    """
    if cine.labels is None or cine.displacement_mm is None or cine.image.shape[1] < 3:
        raise InputError("strain needs labels, true displacement and at least three slices; ask for the truth 'motion'")
    slices = cine.image.shape[1]
    chosen = range(max(1, slices // 4), min(slices - 1, slices - slices // 4))
    to_index = np.linalg.inv(cine.grid.affine_ras[:3, :3])
    axis = cine.grid.affine_ras[:3, 2] / np.linalg.norm(cine.grid.affine_ras[:3, 2])
    points = cine.grid.points_mm()
    means = []
    for frame in range(cine.image.shape[0]):
        u = cine.displacement_mm[frame].astype(np.float64)
        # Derivatives along column, row and slice index, then to mm: du/dx = du/d(index) d(index)/dx.
        by_index = np.stack([np.gradient(u, axis=a) for a in (2, 1, 0)], axis=-1)
        values = []
        for s in chosen:
            wall = cine.labels[frame, s] == 2
            middle = ndimage.distance_transform_edt(wall)
            middle = wall & (middle >= 0.6 * middle.max())
            pool = cine.labels[frame, s] == 1
            if not middle.any() or not pool.any():
                continue
            gradient = np.linalg.inv(np.eye(3) + by_index[s][middle] @ to_index)
            rest = points[s][middle] + u[s][middle]
            centre = (points[s][wall | pool] + u[s][wall | pool]).mean(axis=0)
            radial = rest - centre
            radial -= (radial @ axis)[:, None] * axis
            radial /= np.linalg.norm(radial, axis=1, keepdims=True)
            around = np.cross(axis, radial)
            along = np.broadcast_to(axis, radial.shape)
            lengths = [np.linalg.norm(np.einsum("nij,nj->ni", gradient, n), axis=1) for n in (radial, around, along)]
            values.append([100.0 * (np.median(length) - 1.0) for length in lengths])
        means.append(np.mean(values, axis=0) if values else np.full(3, np.nan))
    radial_, around_, along_ = np.array(means).T
    return StrainCurves(radial_, around_, along_)
