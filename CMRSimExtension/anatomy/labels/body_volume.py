"""A whole labelled body on a grid, every boundary smooth below the voxel size."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.anatomy.labels.signed_distance import FineAxes, fine_distance
from CMRSimExtension.anatomy.labels.volume import LabelVolume
from CMRSimExtension.anatomy.structures import Structure

_FAR_MM = 9.0
_SKIN_MM = 2.0


def build_body_volume(
    structures: NDArray[np.uint8],
    affine_ras: NDArray,
    spacing_kji_mm: tuple[float, float, float],
    *,
    skin: bool = True,
    cell_mm: float = 2.5,
) -> LabelVolume:
    """Shape-based interpolation of every structure; where two compete, the one deeper inside wins.

    Parameters
    ----------
    structures
        (slices, rows, columns) `Structure` numbers, which tell all there is (air is `Structure.OUTSIDE`).
    affine_ras
        (4, 4), (i, j, k, 1) to RAS mm.
    spacing_kji_mm
        Voxel distances.
    skin
        Whether the outer 2 mm of the body become skin.
    cell_mm
        Largest size of a fine cell.

    Returns
    -------
    Volume that goes on for ever beyond its ends.
    """
    factors = tuple(max(1, round(s / cell_mm)) for s in spacing_kji_mm)
    whole = FineAxes((0, 0, 0), structures.shape, (factors[0], factors[1], factors[2]))  # type: ignore[arg-type]
    best = np.full(whole.shape, _FAR_MM, dtype=np.float32)
    second = best.copy()
    label = np.zeros(whole.shape, dtype=np.uint8)
    air = best.copy()
    found = ndimage.find_objects(structures.astype(np.int32) + 1)
    for number, box in enumerate(found):
        if box is None:
            continue
        pads = [int(np.ceil(_FAR_MM / s)) for s in spacing_kji_mm]
        start = [max(0, b.start - p) for b, p in zip(box, pads, strict=True)]
        stop = [min(n, b.stop + p) for b, p, n in zip(box, pads, structures.shape, strict=True)]
        axes = FineAxes((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), whole.factors)
        ends = (box[0].start == 0, box[0].stop == structures.shape[0])
        cap = 0.5 * spacing_kji_mm[0]
        smooth = 0.5 * max(spacing_kji_mm[1:])
        distance = fine_distance(structures == number, axes, spacing_kji_mm, (cap, cap), smooth, ends)
        np.minimum(distance, _FAR_MM, out=distance)
        view = tuple(slice(a * f, b * f) for a, b, f in zip(start, stop, whole.factors, strict=True))
        wins = distance < best[view]
        second[view] = np.where(wins, best[view], np.minimum(second[view], distance))
        label[view] = np.where(wins, number, label[view])
        best[view] = np.where(wins, distance, best[view])
        if number == Structure.OUTSIDE:
            air[view] = distance
    margin = 0.5 * (second - best)
    if skin:
        soft = np.isin(label, [Structure.BODY_FAT, Structure.MUSCLE])
        margin = np.where(soft, np.minimum(margin, np.abs(air - _SKIN_MM)), margin)
        label[soft & (air < _SKIN_MM)] = Structure.SKIN
    return LabelVolume(label, margin, whole.affine(affine_ras), clamp=True)
