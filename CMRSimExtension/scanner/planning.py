"""Planning: from where the heart lies to where the slices lie, as a radiographer does it.

Planes and how they show the heart (row index downwards, column index to the right, as images are displayed):

- ``sax``: short-axis stack, slice 0 the most basal; RV on the left, anterior wall at the top.
- ``2ch``: apex on the left, anterior wall at the top.
- ``3ch``: apex on the left, the septal side with the aortic valve at the top.
- ``4ch``: apex at the top, RV on the left.
- ``axial``: patient's right on the left, anterior at the top, slice 0 the most cranial.
- ``whole_heart``: as ``axial``, isotropic voxels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.protocol import Protocol

PLANES = ("sax", "2ch", "3ch", "4ch", "axial", "whole_heart")

_BASE_MARGIN_MM = 8.0
_AXIAL_ABOVE_MM, _AXIAL_BELOW_MM = 60.0, 70.0
"""An axial stack covers this much above and below the middle of the LV: from the great vessels to under the apex."""


def plan(
    heart: HeartFrame,
    protocol: Protocol,
    plane: str = "sax",
    *,
    slices: int | None = None,
    centre_offset_mm: Sequence[float] = (0.0, 0.0, 0.0),
    in_plane_rotation_deg: float = 0.0,
    tilt_deg: Sequence[float] = (0.0, 0.0),
    base_margin_mm: float | None = None,
) -> ImageGrid:
    """The slices of a plane.

    Parameters
    ----------
    heart
        Where the heart lies (RAS).
    protocol
        Field of view, matrix, slice thickness and gap.
    plane
        One of `PLANES`.
    slices
        How many; None takes the protocol's number, or where that is None too: a stack that covers the heart (``sax``,
        ``axial``, ``whole_heart``), one slice otherwise.
    centre_offset_mm
        Shift of the field of view along (columns, rows, slices).
    in_plane_rotation_deg
        Turns the field of view about the slice normal; positive turns the column direction towards the row direction,
        so that the heart turns anticlockwise in the displayed image.
    tilt_deg
        Tilts the plane about its column direction, then about its row direction: an imperfectly planned plane.
    base_margin_mm
        How far above the mitral annulus plane (away from the apex) the centre of the first short-axis slice lies. None
        takes 8 mm, or, where too few slices are asked for to reach the apex from there, puts their middle in the middle
        of the LV.

    Returns
    -------
    ImageGrid
        Slice spacing is thickness plus gap; RAS.

    Raises
    ------
    InputError
        For an unknown plane, fewer than one slice, or a ``whole_heart`` whose voxels are not isotropic within 2 %.
    """
    if plane not in PLANES:
        raise InputError(f"plane is {plane!r}; choose from {', '.join(PLANES)}")
    count = protocol.slices if slices is None else slices
    if count is not None and count < 1:
        raise InputError(f"slices is {count}; at least 1 is needed")
    dy, dx = protocol.pixel_mm
    step = protocol.slice_spacing_mm
    x, y, z = heart.axes
    middle = heart.origin_mm + 0.5 * heart.lv_length_mm * z
    if plane == "sax":
        columns, rows, normal = x, -y, z
        margin = _BASE_MARGIN_MM if base_margin_mm is None else base_margin_mm
        needed = int(np.ceil((heart.lv_length_mm + margin - 0.5 * step) / step)) + 1
        count = count or needed
        if base_margin_mm is None and count < needed - 1:
            margin = 0.5 * ((count - 1) * step - heart.lv_length_mm)
        # Half-way to the RV, so that the whole heart stays in view when the field of view is small.
        towards_rv = heart.rv_centre_mm - heart.origin_mm
        towards_rv = towards_rv - (towards_rv @ z) * z
        centre = heart.origin_mm + 0.4 * towards_rv + ((count - 1) * step / 2 - margin) * z
    elif plane in ("axial", "whole_heart"):
        if plane == "whole_heart" and max(dx, dy, step) > 1.02 * min(dx, dy, step):
            raise InputError(
                f"a whole-heart volume needs isotropic voxels, these are {dx:.2f} x {dy:.2f} x {step:.2f} mm; choose "
                "the protocol whole_heart_1.5t, or a matrix and slice thickness that make them equal"
            )
        columns, rows, normal = np.array([-1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, -1.0])
        # Radiological display: the patient's right (+x in RAS) lies on the image's left.
        count = count or int(np.ceil((_AXIAL_ABOVE_MM + _AXIAL_BELOW_MM) / step))
        centre = middle + 0.5 * (_AXIAL_BELOW_MM - _AXIAL_ABOVE_MM) * normal
    else:
        columns, rows, normal = _long_axis(heart, plane)
        count = count or 1
        centre = middle
    directions = _turned(np.stack([columns, rows, normal]), in_plane_rotation_deg, tilt_deg)
    columns, rows, normal = directions
    centre = centre + np.asarray(centre_offset_mm, dtype=np.float64) @ directions
    shape = (count, *protocol.matrix)
    affine = np.eye(4)
    affine[:3, :3] = (directions * np.array([dx, dy, step])[:, None]).T
    half = (np.array([shape[2], shape[1], shape[0]]) - 1) / 2
    affine[:3, 3] = centre - affine[:3, :3] @ half
    return ImageGrid(affine, shape, protocol.slice_thickness_mm)


def finer_grid(grid: ImageGrid, factor: int | tuple[int, int], through_plane_offset_mm: float = 0.0) -> ImageGrid:
    """The same field of view with `factor` (rows, columns) times as many points in plane, to sample an object finely.

    Parameters
    ----------
    through_plane_offset_mm
        Moves the slices along their normal, for the sub-slices of a slice profile.
    """
    down, across = (factor, factor) if isinstance(factor, int) else factor
    if down < 1 or across < 1:
        raise InputError(f"factor is {factor}; it must be at least 1")
    affine = np.array(grid.affine_ras)
    column, row, normal = affine[:3, 0], affine[:3, 1], slice_normal(grid)
    # The corner of the field of view stays: the first centre moves by half the difference of the pixels.
    affine[:3, 3] += 0.5 * (1 / across - 1) * column + 0.5 * (1 / down - 1) * row + through_plane_offset_mm * normal
    affine[:3, 0] = column / across
    affine[:3, 1] = row / down
    slices, rows, columns = grid.shape
    return ImageGrid(affine, (slices, rows * down, columns * across), grid.slice_thickness_mm)


def slice_normal(grid: ImageGrid) -> NDArray[np.float64]:
    """(3,) unit normal of the slices in RAS, towards higher slice indices."""
    normal = np.cross(grid.affine_ras[:3, 0], grid.affine_ras[:3, 1])
    normal = normal / np.linalg.norm(normal)
    return np.asarray(normal if normal @ grid.affine_ras[:3, 2] > 0 else -normal, dtype=np.float64)


def _long_axis(heart: HeartFrame, plane: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Column, row and slice directions of a plane through the LV long axis."""
    x, y, z = heart.axes
    if plane == "2ch":
        return -z, -y, x
    target = heart.rv_centre_mm if plane == "4ch" else heart.aortic_valve_mm
    across = np.asarray(target, dtype=np.float64) - heart.origin_mm
    across = across - (across @ z) * z
    length = float(np.linalg.norm(across))
    if length < 1.0:
        name = "rv_centre_mm" if plane == "4ch" else "aortic_valve_mm"
        raise InputError(
            f"{name} lies {length:.2f} mm from the LV long axis, so it fixes no {plane} plane; move it away"
        )
    across = across / length
    if plane == "4ch":
        columns, rows = -across, -z
    else:
        columns, rows = -z, -across
    return columns, rows, np.cross(columns, rows)


def _turned(directions: NDArray[np.float64], rotation_deg: float, tilt_deg: Sequence[float]) -> NDArray[np.float64]:
    """Rows of `directions` (columns, rows, normal) turned in plane, then tilted."""

    def rotated(first: NDArray[np.float64], second: NDArray[np.float64], degrees: float) -> tuple[NDArray, NDArray]:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return c * first + s * second, c * second - s * first

    columns, rows, normal = directions
    columns, rows = rotated(columns, rows, rotation_deg)
    rows, normal = rotated(rows, normal, tilt_deg[0])
    normal, columns = rotated(normal, columns, tilt_deg[1])
    return np.stack([columns, rows, normal])
