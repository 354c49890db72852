"""Smooth fields on image grids: evaluated on a coarse lattice and interpolated, which is as good and far faster."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid


def on_grid(
    field: Callable[[NDArray[np.floating]], NDArray[Any]], grid: ImageGrid, lattice_mm: float = 12.0
) -> NDArray[Any]:
    """Values of a smooth `field` at every voxel centre of `grid`.

    Parameters
    ----------
    field
        Takes points (n, 3) in RAS mm, gives (n,) or (n, channels) values, real or complex.
    lattice_mm
        In-plane distance of the points where `field` is evaluated; cubic splines fill in.

    Returns
    -------
    array
        (slices, rows, columns) or (slices, rows, columns, channels), of the field's precision.
    """
    if not lattice_mm > 0:
        raise InputError(f"lattice_mm is {lattice_mm}; it must be above 0")
    slices, rows, columns = grid.shape
    return at_indices(field, grid, np.arange(rows), np.arange(columns), lattice_mm)


def at_indices(
    field: Callable[[NDArray[np.floating]], NDArray[Any]],
    grid: ImageGrid,
    row_indices: NDArray[Any],
    column_indices: NDArray[Any],
    lattice_mm: float = 12.0,
) -> NDArray[Any]:
    """As `on_grid`, at chosen rows and columns of every slice, whole or fractional.

    Returns
    -------
    array
        (slices, row indices, column indices) or the same with channels last.
    """
    slices, rows, columns = grid.shape
    dx, dy, _ = grid.spacing_mm

    def nodes(count: int, spacing: float) -> NDArray[np.float64]:
        return np.linspace(0.0, max(count - 1, 1), max(4, int(np.ceil((count - 1) * spacing / lattice_mm)) + 1))

    at_rows, at_columns = nodes(rows, dy), nodes(columns, dx)
    k, j, i = np.meshgrid(np.arange(slices), at_rows, at_columns, indexing="ij")
    index = np.stack([i, j, k], axis=-1).reshape(-1, 3)
    points: NDArray[Any] = index @ grid.affine_ras[:3, :3].T + grid.affine_ras[:3, 3]
    values: NDArray[Any] = np.asarray(field(points))
    coarse: Any = values.reshape(slices, len(at_rows), len(at_columns), *values.shape[1:])
    # A spline through unit vectors is its interpolation matrix; two small matrix products then do every slice.
    precision: Any = np.float32 if values.dtype in (np.float32, np.complex64) else np.float64
    down = CubicSpline(at_rows, np.eye(len(at_rows)))(row_indices).astype(precision)
    across = CubicSpline(at_columns, np.eye(len(at_columns)))(column_indices).astype(precision)
    return np.asarray(np.einsum("jr,srq...,iq->sji...", down, coarse, across, optimize=True))
