"""Checks on label arrays and their affines, and the change from somebody's numbers to structures."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError

_SHEAR_TOLERANCE = 2e-3


def voxel_spacing_mm(affine_ras: NDArray[np.floating]) -> tuple[float, float, float]:
    """Distances between voxels along (slices, rows, columns).

    Raises
    ------
    InputError
        If the affine is not a finite 4 x 4 matrix, cannot be inverted, or is sheared.
    """
    affine = np.asarray(affine_ras, dtype=np.float64)
    if affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
        raise InputError(
            f"affine_ras must be a finite 4 x 4 matrix, got shape {affine.shape}: check the image's header"
        )
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() < 1e-6 or abs(np.linalg.det(affine[:3, :3])) < 1e-6 * lengths.prod():
        raise InputError(
            f"affine_ras cannot be inverted (voxel sizes {lengths.round(6).tolist()} mm, determinant "
            f"{np.linalg.det(affine[:3, :3]):g}): repair the image's header"
        )
    unit = affine[:3, :3] / lengths
    skew = np.abs(unit.T @ unit - np.eye(3)).max()
    if skew > _SHEAR_TOLERANCE:
        raise InputError(
            f"the image's axes are not perpendicular (cosine {skew:.3f}, at most {_SHEAR_TOLERANCE}): resample it to a "
            "regular grid first"
        )
    return float(lengths[2]), float(lengths[1]), float(lengths[0])


def structures_from(labels: NDArray, table: Mapping[int, Structure]) -> NDArray[np.uint8]:
    """`Structure` numbers of a label array of any shape.

    Raises
    ------
    InputError
        If the array has no voxels or no label but background, holds NaN, infinity, fractions or labels that `table`
        does not know, or has no LV blood or no LV myocardium.
    """
    array = np.asarray(labels)
    if array.size == 0:
        raise InputError(f"the label map has no voxels (shape {array.shape}); give one with at least one slice")
    if array.dtype.kind == "f":
        if not np.all(np.isfinite(array)):
            count = int(np.count_nonzero(~np.isfinite(array)))
            raise InputError(
                f"the label map holds {count} voxels that are NaN or infinite; labels must be whole numbers"
            )
        if np.any(array != np.rint(array)):
            raise InputError("the label map holds fractions; labels must be whole numbers: was it resampled linearly?")
    elif array.dtype.kind not in "iub":
        raise InputError(f"labels of type {array.dtype} cannot be used; give whole numbers")
    values, index = np.unique(array, return_inverse=True)
    numbers = [int(v) for v in values]
    known = {0: Structure.OUTSIDE, **table}
    unknown = [n for n in numbers if n not in known]
    if unknown:
        listed = ", ".join(f"{n}={s.name.lower()}" for n, s in sorted(table.items()))
        shown = ", ".join(map(str, unknown[:10])) + (" ..." if len(unknown) > 10 else "")
        raise InputError(
            f"labels {shown} are not in the label map ({listed}); add them with --labels-map number=structure"
        )
    if all(known[n] is Structure.OUTSIDE for n in numbers):
        raise InputError("the label map is empty: every voxel is background; give one with a labelled heart")
    out = np.array([int(known[n]) for n in numbers], dtype=np.uint8)[index].reshape(array.shape)
    present = {Structure(int(n)) for n in np.unique(out)}
    pools = {Structure.LV_BLOOD, Structure.LV_OUTFLOW, Structure.LV_PAPILLARY, Structure.LV_TRABECULAE}
    if not present & pools:
        raise InputError(_missing("LV blood pool", "lv", numbers))
    if Structure.LV_MYOCARDIUM not in present:
        raise InputError(_missing("LV myocardium", "myo", numbers))
    return out


def _missing(what: str, short: str, numbers: list[int]) -> str:
    return (
        f"no voxel of the label map is {what} (it holds the labels {', '.join(map(str, numbers))}); "
        f"say which label it is, for example --labels-map 3={short}"
    )
