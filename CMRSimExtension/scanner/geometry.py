"""Where the voxels of an image lie: the one geometry value that the whole library passes around."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError


@dataclass(frozen=True)
class ImageGrid:
    """A stack of parallel, evenly spaced slices.

    Image arrays are ordered ``(frames, slices, rows, columns)``; `affine_ras` maps ``(column, row, slice, 1)`` to RAS
    millimetres (as NIfTI orders its axes), at voxel centres.

    Attributes
    ----------
    affine_ras
        (4, 4) float64.
    shape
        (slices, rows, columns).
    slice_thickness_mm
        Thickness of what one slice sees; the distance between slices is the third column of the affine, and the two
        differ where there are gaps or overlaps.
    """

    affine_ras: NDArray[np.float64]
    shape: tuple[int, int, int]
    slice_thickness_mm: float

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine_ras, dtype=np.float64)
        if affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
            raise InputError(f"affine_ras must be a finite 4 x 4 matrix, got shape {affine.shape}")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise InputError("affine_ras cannot be inverted: two of its axes are parallel or one has no length")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"shape must be (slices, rows, columns), each at least 1, got {self.shape}")
        if not self.slice_thickness_mm > 0:
            raise InputError(f"slice_thickness_mm is {self.slice_thickness_mm}; it must be above 0")
        affine.setflags(write=False)
        object.__setattr__(self, "affine_ras", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distances between voxel centres along columns' index (x), rows' index (y) and slices (z)."""
        dx, dy, dz = np.linalg.norm(self.affine_ras[:3, :3], axis=0)
        return float(dx), float(dy), float(dz)

    def points_mm(self) -> NDArray[np.float64]:
        """(slices, rows, columns, 3) RAS positions of the voxel centres."""
        k, j, i = np.indices(self.shape, dtype=np.float64)
        return np.stack([i, j, k], axis=-1) @ self.affine_ras[:3, :3].T + self.affine_ras[:3, 3]
