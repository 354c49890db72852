"""Tags on simulated anatomies: true motion for an image that was simulated, and the tags' part in a simulation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Anatomy, Material, Moment
from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.tissues import TissueValues
from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.frame_times import frame_times
from CMRSimExtension.tagging.pattern import TaggedAcquisition

_BLOOD = np.zeros(256, dtype=bool)
_BLOOD[[Tissue.BLOOD_ARTERIAL, Tissue.BLOOD_VENOUS]] = True


@dataclass(frozen=True)
class TagModulation:
    """What a tagging preparation makes of the signal of points: the `modulation` of a simulated slice.

    The signal given must be that of the acquisition's own readout in its steady state (a protocol with the same
    sequence, flip angle, TR and TE); this multiplies it by `TaggedAcquisition.factor`, tissue by tissue.

    Attributes
    ----------
    acquisition
        Pattern, readout, flow.
    tissues
        T1 and T2 of the scan.
    """

    acquisition: TaggedAcquisition
    tissues: TissueValues

    def __call__(self, material: Material, signal: NDArray[np.complex64], time_ms: float) -> NDArray[np.complex64]:
        """Signal (n,) of points at `time_ms` after the R wave.

        Raises
        ------
        InputError
            The material carries no rest positions.
        """
        if material.rest_mm is None:
            raise InputError("tags need the rest position of every point; sample the anatomy with rest=True")
        # Relaxation enters by tissue alone: gain and offset are two short tables, not arrays over points.
        pattern, flow, numbers = self.acquisition.pattern, self.acquisition.flow, len(Tissue)
        gain, offset = np.empty(numbers, np.float32), np.empty(numbers, np.float32)
        for blood in (False, True):
            here = _BLOOD[:numbers] == blood
            t1, t2 = self.tissues.t1_ms[here], self.tissues.t2_ms[here]
            steady = self.acquisition.readout.steady_state(t1, t2)
            parts = self.acquisition.evolution(time_ms, t1, t2, blood=blood)
            gain[here], offset[here] = parts[0] / steady, parts[1] / steady
        modulation = pattern.modulation(material.rest_mm.astype(np.float32, copy=False))
        stirred = _BLOOD[material.tissue]
        if stirred.any():
            modulation[stirred] = flow.modulation(modulation[stirred], pattern.mean_modulation, time_ms)
        return signal * (gain[material.tissue] * modulation + offset[material.tissue])


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
