"""True motion for an image that was simulated, and whose motion an image's tags follow."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from CMRSimExtension.anatomy.material import Anatomy, Moment
from CMRSimExtension.anatomy.xcat_vectors import XCAT_MOTION
from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.frame_times import frame_times

PARAMETRIC = "parametric subject"
"""Kind of the one anatomy that its record alone makes again, motion and all."""

_SAME_MM = 1e-3
"""Positions further apart than a header's rounding are other positions."""


def true_displacement(anatomy: Anatomy, cine: Cine, slice_shifts_mm: ArrayLike | None = None) -> NDArray[np.float32]:
    """(frames, slices, rows, columns, 3) RAS mm: rest minus present position, asked of the anatomy that was scanned.

    Parameters
    ----------
    anatomy
        The anatomy behind `cine`.
    cine
        Its image: grid and frame times say where and when.
    slice_shifts_mm
        (slices, 3) RAS: how far the body lay from its place at each slice; None for nowhere.

    Raises
    ------
    InputError
        The anatomy gives no rest positions, or there is not one shift for each slice.
    """
    slices = cine.grid.shape[0]
    shifts = np.zeros((slices, 3)) if slice_shifts_mm is None else np.asarray(slice_shifts_mm, dtype=np.float64)
    if shifts.shape != (slices, 3):
        raise InputError(f"slice_shifts_mm has the shape {shifts.shape}; (slices, 3) = {(slices, 3)} is needed")
    times = frame_times(cine)
    phases = (times.times_ms / times.cycle_ms[:, None]) % 1.0
    points = cine.grid.points_mm()
    result = np.zeros((*cine.image.shape, 3), np.float32)
    for k in range(slices):
        own = (points[k].reshape(-1, 3) - shifts[k]).astype(np.float32)
        moving = np.flatnonzero(anatomy.may_move(own))
        if not len(moving):
            continue
        part = own[moving]
        for frame in range(len(cine.image)):
            rest = anatomy.sample(part, Moment(float(phases[k, frame]))).rest_mm
            if rest is None:
                raise InputError("the anatomy gives no rest positions, so its motion is not known")
            result[frame, k].reshape(-1, 3)[moving] = rest - part
    return result


def simulation_of(cine: Cine) -> dict[str, Any] | None:
    """The sidecar that describes the parametric subject in a cine, or in the one that it was tagged from.

    None where there is none, where the tags follow estimated motion, and where the cine lies elsewhere than it was
    scanned.
    """
    record = _scan_record(cine)
    if record is not cine.sidecar and motion_source(cine) != "true":
        return None
    scanned = np.array(_part(_part(record, "simulation"), "grid").get("affine_ras"))
    if _part(record, "anatomy").get("kind") != PARAMETRIC or scanned.shape != (4, 4):
        return None
    return record if np.allclose(scanned, cine.grid.affine_ras, atol=_SAME_MM) else None


def scanned_plane(cine: Cine) -> str | None:
    """The plane that a cine, or the one that it was tagged from, was simulated in; None where no plane was named."""
    scan = _part(_scan_record(cine), "simulation")
    plane = scan.get("plane")
    return None if plane is None or scan.get("grid_given") else str(plane)


def _scan_record(cine: Cine) -> dict[str, Any]:
    """The sidecar of a cine, or of the one that it was tagged from."""
    record = cine.sidecar
    return _part(record, "source") if "tagging" in record and "anatomy" not in record else record


def motion_source(cine: Cine) -> str:
    """Whether a cine's motion is "true" or, for anatomies made of label images and for tagged real cines, "estimated".

    Static tags say "none".
    """
    source = _part(_part(cine.sidecar, "tagging"), "motion").get("source")
    if source is not None:
        return str(source)
    anatomy = _part(cine.sidecar, "anatomy")
    known = anatomy.get("kind", PARAMETRIC) == PARAMETRIC or anatomy.get("motion") == XCAT_MOTION
    return "true" if known else "estimated"


def _part(record: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of a sidecar; empty where it is missing or, in a damaged file, something else."""
    part = record.get(name)
    return part if isinstance(part, dict) else {}
