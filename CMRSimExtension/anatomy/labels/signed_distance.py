"""Smooth surfaces from label voxels: signed distances in the slices, interpolated between them.

Shape-based interpolation (Raya & Udupa, IEEE TMI 1990;9:32): between two slices 8 to 10 mm apart the signed distance
to the contour is interpolated, not the label, so that walls run smoothly from slice to slice. Where a structure ends,
its last contour is closed by a dome. Distances are negative inside, in mm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FAR_MM = 1000.0
"""Signed distance where a structure is nowhere near."""


@dataclass(frozen=True)
class FineAxes:
    """A finer grid laid over part of a label array.

    Attributes
    ----------
    start, stop
        (k, j, i) range of native voxels that it covers; it may reach beyond the array on either side.
    factors
        Fine cells per native voxel along k, j, i.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    factors: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Fine cells along k, j, i."""
        k, j, i = ((b - a) * f for a, b, f in zip(self.start, self.stop, self.factors, strict=True))
        return k, j, i

    def native(self, axis: int) -> NDArray[np.float64]:
        """Native index of every fine cell's centre along `axis`."""
        start, factor, count = self.start[axis], self.factors[axis], self.shape[axis]
        return start - 0.5 + (np.arange(count) + 0.5) / factor

    def affine(self, affine_ras: NDArray) -> NDArray[np.float64]:
        """(4, 4): fine (i, j, k, 1) to the mm that `affine_ras` maps native (i, j, k, 1) to."""
        step = np.eye(4)
        for column, axis in enumerate((2, 1, 0)):
            step[column, column] = 1.0 / self.factors[axis]
            step[column, 3] = self.start[axis] - 0.5 + 0.5 / self.factors[axis]
        return np.asarray(affine_ras, dtype=np.float64) @ step


def crop(array: NDArray, axes: FineAxes) -> NDArray:
    """The native voxels that `axes` covers, with zeros where it reaches beyond the array."""
    out = np.zeros(tuple(b - a for a, b in zip(axes.start, axes.stop, strict=True)), dtype=array.dtype)
    source, target = [], []
    for start, stop, size in zip(axes.start, axes.stop, array.shape, strict=True):
        low, high = max(start, 0), min(stop, size)
        source.append(slice(low, max(high, low)))
        target.append(slice(low - start, max(high, low) - start))
    out[tuple(target)] = array[tuple(source)]
    return out


def slice_distances(
    mask: NDArray[np.bool_], spacing_ji_mm: tuple[float, float], smooth_mm: float
) -> NDArray[np.float32]:
    """Signed distance to the contour within each slice.

    Parameters
    ----------
    mask
        (slices, rows, columns).
    spacing_ji_mm
        Distance between rows and between columns.
    smooth_mm
        SD of the Gaussian that takes the voxel steps out of the contour.

    Returns
    -------
    (slices, rows, columns) float32; NaN throughout a slice without the structure.
    """
    half = 0.5 * float(np.mean(spacing_ji_mm))
    out = np.full(mask.shape, np.nan, dtype=np.float32)
    for index, one in enumerate(mask):
        if not one.any():
            continue
        if one.all():
            out[index] = -FAR_MM
            continue
        outside = ndimage.distance_transform_edt(~one, sampling=spacing_ji_mm)
        inside = ndimage.distance_transform_edt(one, sampling=spacing_ji_mm)
        signed = np.where(one, half - inside, outside - half)
        sigma = (smooth_mm / spacing_ji_mm[0], smooth_mm / spacing_ji_mm[1])
        smooth = ndimage.gaussian_filter(signed, sigma, mode="nearest")
        out[index] = smooth + _offset_that_keeps_the_area(smooth, one)
    return out


def _offset_that_keeps_the_area(smooth: NDArray, mask: NDArray) -> float:
    """Smoothing pulls convex contours in a little; this constant, at most 1 mm, gives them their area back."""
    inside = int(np.count_nonzero(mask))
    flat = np.partition(smooth, (inside - 1, min(inside, smooth.size - 1)), axis=None)
    level = 0.5 * (flat[inside - 1] + flat[min(inside, smooth.size - 1)])
    return float(-np.clip(level, -1.0, 1.0))


def _dome(beyond: float, height: float, depth: float) -> float:
    """What to add to the last contour's distances at `beyond` mm past it, so that it closes as a rounded cone.

    Exponent 2 would be a half ellipsoid; ventricles are more pointed than that.
    """
    u = min(max(beyond / height, 0.0), 1.0)
    return float(depth * (1.0 - (1.0 - u**1.6) ** (1 / 1.6)) + max(beyond - height, 0.0))


def _beyond(last: NDArray, past_mm: float, cap_mm: float, depth: float, is_open: bool) -> NDArray:
    """Signed distances `past_mm` past the last contour."""
    if is_open:
        return last
    if cap_mm < 0:
        return np.maximum(last, past_mm + cap_mm)
    return last + _dome(past_mm, cap_mm, depth)


def through_plane(
    distances: NDArray[np.float32],
    at: NDArray[np.float64],
    spacing_mm: float,
    cap_mm: tuple[float, float],
    open_ends: tuple[bool, bool] = (False, False),
) -> NDArray[np.float32]:
    """Interpolate `slice_distances` between slices, and close both ends.

    Parameters
    ----------
    distances
        (slices, rows, columns), NaN throughout slices without the structure.
    at
        (m,) slice positions asked for, in slices.
    spacing_mm
        Distance between slices.
    cap_mm
        Height of the dome above the last contour, at the low and the high end; negative for a flat cut at that height.
    open_ends
        Ends at which the last contour goes on unchanged instead (the structure leaves the field of view).

    Returns
    -------
    (m, rows, columns) float32. Within the structure a Catmull-Rom spline through the slices, so C1 smooth.
    """
    present = np.flatnonzero(~np.isnan(distances[:, 0, 0]))
    out = np.full((len(at), *distances.shape[1:]), FAR_MM, dtype=np.float32)
    if present.size == 0:
        return out
    stack = distances[present]
    depth = [max(0.0, -float(stack[end].min())) for end in (0, -1)]
    for row, position in enumerate(at):
        if position <= present[0]:
            out[row] = _beyond(stack[0], float((present[0] - position) * spacing_mm), cap_mm[0], depth[0], open_ends[0])
        elif position >= present[-1]:
            past = float((position - present[-1]) * spacing_mm)
            out[row] = _beyond(stack[-1], past, cap_mm[1], depth[1], open_ends[1])
        else:
            low = int(np.searchsorted(present, position, side="right")) - 1
            out[row] = _catmull_rom(stack, low, float((position - present[low]) / (present[low + 1] - present[low])))
    return out


def _catmull_rom(stack: NDArray, low: int, t: float) -> NDArray:
    last = len(stack) - 1
    before, after = stack[max(low - 1, 0)], stack[min(low + 2, last)]
    a, b = stack[low], stack[low + 1]
    slope_a, slope_b = 0.5 * (b - before), 0.5 * (after - a)
    if low == 0:
        slope_a = b - a
    if low + 1 == last:
        slope_b = b - a
    t2, t3 = t * t, t * t * t
    return (2 * t3 - 3 * t2 + 1) * a + (t3 - 2 * t2 + t) * slope_a + (3 * t2 - 2 * t3) * b + (t3 - t2) * slope_b


def refine_in_plane(distances: NDArray[np.float32], factors_ji: tuple[int, int]) -> NDArray[np.float32]:
    """Cubic interpolation of every slice onto the fine grid (cell edges kept)."""
    if factors_ji == (1, 1):
        return distances
    out = [ndimage.zoom(one, factors_ji, order=3, mode="nearest", grid_mode=True) for one in distances]
    return np.asarray(out, dtype=np.float32)


def fine_distance(
    mask: NDArray[np.bool_],
    axes: FineAxes,
    spacing_kji_mm: tuple[float, float, float],
    cap_mm: tuple[float, float],
    smooth_mm: float,
    open_ends: tuple[bool, bool] = (False, False),
) -> NDArray[np.float32]:
    """Signed distance to `mask` (whole native array) on the fine grid; see `slice_distances` and `through_plane`."""
    native = slice_distances(crop(mask, axes), spacing_kji_mm[1:], smooth_mm)
    fine_k = axes.native(0) - axes.start[0]
    coarse = through_plane(native, fine_k, spacing_kji_mm[0], cap_mm, open_ends)
    if spacing_kji_mm[0] <= 3.0:
        # Thin slices show the voxel steps through-plane too, which the slice-wise smoothing cannot see.
        coarse = ndimage.gaussian_filter1d(
            coarse, smooth_mm * axes.factors[0] / spacing_kji_mm[0], axis=0, mode="nearest"
        )
    return refine_in_plane(coarse, (axes.factors[1], axes.factors[2]))
