"""Checks on label arrays and their affines, and the change from somebody's numbers to structures."""

from collections.abc import Mapping, Sequence

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
            f"labels {shown} are not in the label map ({listed}); add them to it, as number=structure"
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
        f"say in the label map which label it is, for example 3={short}"
    )


def choose_frames(
    structures: NDArray[np.uint8], phases: Sequence[float] | None
) -> tuple[list[NDArray[np.uint8]], tuple[float, ...]]:
    """The labelled frames of a series and their cardiac phases.

    Parameters
    ----------
    structures
        (frames, slices, rows, columns) `Structure` numbers.
    phases
        Cardiac phase of each frame, or None: even, or 0 and 0.35 (a typical end systole) for two labelled frames.

    Raises
    ------
    InputError
        If there are not as many phases as frames, they do not rise from 0 to below 1, or a labelled frame lacks the LV.
    """
    count = len(structures)
    given = [k / count for k in range(count)] if phases is None else [float(p) for p in phases]
    if len(given) != count:
        raise InputError(f"{len(given)} frame phases for {count} frames; give one for each")
    if given[0] != 0.0 or given[-1] >= 1.0 or any(b <= a for a, b in zip(given, given[1:], strict=False)):
        raise InputError(
            f"frame phases {', '.join(f'{p:g}' for p in given)} must rise from 0 (end diastole) to below 1"
        )
    labelled = [f for f in range(count) if np.any(structures[f] != Structure.OUTSIDE)]
    for f in labelled:
        for part in (Structure.LV_BLOOD, Structure.LV_MYOCARDIUM):
            if not np.any(structures[f] == part):
                name = part.name.lower().replace("_", " ")
                raise InputError(f"frame {f} is labelled but has no {name}; label it, or empty the frame")
    frames = [structures[f] for f in labelled]
    chosen = [given[f] for f in labelled]
    if len(frames) == 2:
        if np.sum(frames[1] == Structure.LV_BLOOD) > np.sum(frames[0] == Structure.LV_BLOOD):
            frames.reverse()
        apart = chosen[1] - chosen[0]
        return frames, (0.0, 0.35 if phases is None and count == 2 else apart)
    if len(frames) > 2 and chosen[0] != 0.0:
        raise InputError("the first frame of a series is end diastole and must be labelled")
    return frames, tuple(chosen)
