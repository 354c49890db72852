"""Green-Lagrange strain from displacement fields.

With X the rest and y the present position, F = dy/dX is the deformation gradient and E = (F^T F - I) / 2 the
Green-Lagrange strain; along a unit vector e of the rest state, e.E.e = (stretch^2 - 1) / 2.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.scanner.geometry import ImageGrid

_MIN_NEIGHBOURS = 3
_WORST_CONDITION = 1e4


def masked_gradient(
    values: NDArray[np.floating], mask: NDArray[np.bool_], grid: ImageGrid, *, reach_px: int = 1, through: bool = True
) -> NDArray[np.float64]:
    """Spatial gradient of a vector field by least squares over the neighbours within a mask.

    Blood slides along the wall, so what lies outside the myocardium must not enter its strain: differences are taken
    to neighbours in the mask alone.

    Parameters
    ----------
    values
        (slices, rows, columns, 3), RAS mm.
    mask
        (slices, rows, columns).
    grid
        Geometry.
    reach_px
        Neighbours up to so many pixels away in the plane.
    through
        Take neighbours in the slices above and below as well. Otherwise the gradient is that within the plane, and 0
        across it.

    Returns
    -------
    NDArray
        (n, 3, 3) for the n voxels of the mask, in C order: d values_i / d x_j, RAS; NaN where neighbours do not
        determine it.
    """
    place = np.argwhere(mask)
    number = np.full(mask.shape, -1, dtype=np.intp)
    number[mask] = np.arange(len(place))
    own = np.asarray(values[mask], dtype=np.float64)
    axes = grid.affine_ras[:3, :3]
    normal = np.zeros((len(place), 3, 3))
    right = np.zeros((len(place), 3, 3))
    count = np.zeros(len(place), dtype=np.intp)
    side = range(-reach_px, reach_px + 1)
    for dz, dy, dx in product((-1, 0, 1) if through else (0,), side, side):
        if (dz, dy, dx) == (0, 0, 0):
            continue
        there = place + (dz, dy, dx)
        inside = np.all((there >= 0) & (there < mask.shape), axis=1)
        index = np.full(len(place), -1, dtype=np.intp)
        index[inside] = number[tuple(there[inside].T)]
        found = np.flatnonzero(index >= 0)
        step = axes @ np.array([dx, dy, dz], dtype=np.float64)
        # Weights fall with distance, so that thick slices do not outweigh the plane.
        weight = 1.0 / (step @ step)
        normal[found] += weight * np.outer(step, step)
        right[found] += weight * (own[index[found]] - own[found])[:, :, None] * step
        count[found] += 1
    if not through:
        across = np.cross(axes[:, 0], axes[:, 1])
        across /= np.linalg.norm(across)
        # A zero gradient across the plane makes the 3 x 3 system solvable and leaves the plane's alone.
        normal += np.outer(across, across)
    result = np.full((len(place), 3, 3), np.nan)
    good = count >= _MIN_NEIGHBOURS
    good[good] = np.linalg.cond(normal[good]) < _WORST_CONDITION
    result[good] = np.linalg.solve(normal[good], np.swapaxes(right[good], 1, 2)).swapaxes(1, 2)
    return result


def strain_from_rest_gradient(gradient: NDArray[np.floating], plane: NDArray[np.floating] | None = None) -> NDArray:
    """E (n, 3, 3) from the gradient of *rest minus present* position at present positions: F = (I + gradient)^-1.

    Parameters
    ----------
    gradient
        (n, 3, 3).
    plane
        (2, 3) unit vectors of the image plane where only motion within it is known: E is then that of the plane.
    """
    if plane is not None:
        flat = plane @ gradient @ plane.T
        return np.asarray(plane.T @ _green_lagrange(_inverse(np.eye(2) + flat)) @ plane)
    return _green_lagrange(_inverse(np.eye(3) + gradient))


def strain_from_track_gradient(gradient: NDArray[np.floating], plane: NDArray[np.floating]) -> NDArray[np.float64]:
    """E (n, 3, 3) of the plane from the gradient of *present minus rest* at rest positions: F = I + gradient."""
    return np.asarray(plane.T @ _green_lagrange(np.eye(2) + plane @ gradient @ plane.T) @ plane)


def plane_of(grid: ImageGrid) -> NDArray[np.float64]:
    """(2, 3) orthonormal vectors of the image plane, RAS."""
    right = grid.affine_ras[:3, 0] / np.linalg.norm(grid.affine_ras[:3, 0])
    down = grid.affine_ras[:3, 1] - (grid.affine_ras[:3, 1] @ right) * right
    return np.stack([right, down / np.linalg.norm(down)])


def _green_lagrange(deformation: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (np.swapaxes(deformation, -1, -2) @ deformation - np.eye(deformation.shape[-1])))


def _inverse(matrices: NDArray[np.floating]) -> NDArray[np.float64]:
    result = np.full(matrices.shape, np.nan)
    # What folds is no deformation of tissue.
    good = np.isfinite(matrices).all(axis=(-1, -2))
    good[good] = np.linalg.det(matrices[good]) > 0.05
    result[good] = np.linalg.inv(matrices[good])
    return result
