"""A short-axis label stack of a heart of known shape, in ACDC's coarse voxels."""

import numpy as np

SPACING_MM = (9.0, 1.5, 1.5)
SHAPE = (11, 90, 96)
ACDC = {"lv": 3, "myo": 2, "rv": 1}
LENGTH_MM = 84.0
ENDO_MM, EPI_MM, ENDO_LENGTH_MM = 24.0, 33.0, 77.0


def affine(oblique: bool = True) -> np.ndarray:
    """Columns run from septum to lateral wall, rows from anterior to inferior, slices from apex to base."""
    from CMRSimExtension.anatomy.torso.placement import heart_axes

    out = np.eye(4)
    x, y, z = heart_axes(33.0, 50.0, 6.0)
    if oblique:
        out[:3, :3] = np.stack([x * SPACING_MM[2], -y * SPACING_MM[1], -z * SPACING_MM[0]], axis=1)
    else:
        out[:3, :3] = np.diag([SPACING_MM[2], SPACING_MM[1], SPACING_MM[0]])
    out[:3, 3] = (12.0, -31.0, 7.5)
    return out


def labels(rv: bool = True) -> np.ndarray:
    """(slices, rows, columns) with ACDC's numbers; slice 0 lies beyond the apex, the last one above the base."""
    k, j, i = np.indices(SHAPE).astype(float)
    # Heart millimetres: x towards the lateral wall, y anterior, z from base to apex.
    z = (9.5 - k) * SPACING_MM[0]
    x = (i - 55.0) * SPACING_MM[2]
    y = -(j - 45.0) * SPACING_MM[1]
    within = z > 0
    z = np.maximum(z, 0.0)
    endo = (
        within
        & (z < ENDO_LENGTH_MM)
        & (np.hypot(x, y) < ENDO_MM * np.sqrt(np.clip(1 - (z / ENDO_LENGTH_MM) ** 2.5, 0, 1)))
    )
    epi = within & (z < LENGTH_MM) & (np.hypot(x, y) < EPI_MM * np.sqrt(np.clip(1 - (z / LENGTH_MM) ** 2.5, 0, 1)))
    right = (
        within
        & (z < 66)
        & (np.hypot(x + 24, (y - 3) / 1.1) < 36 * np.sqrt(np.clip(1 - (z / 68) ** 2, 0, 1)))
        & (x < 0)
        & ~epi
    )
    out = np.zeros(SHAPE, np.uint8)
    if rv:
        out[right] = ACDC["rv"]
    out[epi] = ACDC["myo"]
    out[endo] = ACDC["lv"]
    return out
