"""True motion for an image that was simulated."""

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Anatomy, Moment
from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.frame_times import frame_times


def true_displacement(anatomy: Anatomy, cine: Cine) -> NDArray[np.float32]:
    """(frames, slices, rows, columns, 3) RAS mm: rest minus present position, asked of the anatomy that was scanned.

    Parameters
    ----------
    anatomy
        The anatomy behind `cine`.
    cine
        Its image: grid and frame times say where and when.
    """
    times = frame_times(cine)
    phases = (times.times_ms / times.cycle_ms[:, None]) % 1.0
    points = cine.grid.points_mm()
    result = np.zeros((*cine.image.shape, 3), np.float32)
    for k in range(cine.grid.shape[0]):
        own = points[k].reshape(-1, 3).astype(np.float32)
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


def motion_source(cine: Cine) -> str:
    """Whether a simulated cine's motion is "true" or, for anatomies made of label images, "estimated"."""
    kind = cine.sidecar.get("anatomy", {}).get("kind", "parametric subject")
    return "true" if kind == "parametric subject" else "estimated"
