"""Tags drawn onto the frames of a cine, slice by slice, in the plane of the image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.structures import Tissue
from CMRSimExtension.anatomy.tissues import TissueValues
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.tagging.contrast import TissueMap
from CMRSimExtension.tagging.pattern import TaggedAcquisition, TagPattern

Images = NDArray[np.float32]

# A pixel sees tags through its area: 2 x 2 points stand for it, a quarter pixel off its centre.
_SUB_PIXELS = tuple((dy, dx) for dy in (-0.25, 0.25) for dx in (-0.25, 0.25))


@dataclass(frozen=True)
class PlanarPattern:
    """A tag pattern seen on the pixels of one slice.

    Attributes
    ----------
    phase_rad
        (trains, rows, columns) phase of the pixels' own positions.
    wave_rad_per_px
        (trains, 2) change of phase per row and per column.
    """

    phase_rad: Images
    wave_rad_per_px: NDArray[np.float64]

    @classmethod
    def on_slice(cls, pattern: TagPattern, grid: ImageGrid, index: int) -> "PlanarPattern":
        """The pattern on slice `index` of `grid`."""
        affine = grid.affine_ras
        rows, columns = grid.shape[1:]
        wave = (2 * np.pi / pattern.spacing_mm) * pattern.directions_ras
        per_pixel = wave @ affine[:3, [1, 0]]
        corner = wave @ (affine[:3, 3] + index * affine[:3, 2] - pattern.origin_mm)
        # Whole turns do not matter, and without them single precision is ample.
        corner = np.remainder(corner, 2 * np.pi)
        y, x = np.arange(rows)[:, None], np.arange(columns)
        phase = np.stack([c + p[0] * y + p[1] * x for c, p in zip(corner, per_pixel, strict=True)])
        return cls(phase.astype(np.float32), per_pixel)

    def phases(self, to_rest_px: Images | None) -> list[Images]:
        """Phase of each train at the rest position of every pixel, (rows, columns) each."""
        if to_rest_px is None:
            return list(self.phase_rad)
        return [
            phase + np.float32(wave[0]) * to_rest_px[0] + np.float32(wave[1]) * to_rest_px[1]
            for phase, wave in zip(self.phase_rad, self.wave_rad_per_px, strict=True)
        ]

    def sub_pixel_phases(self, to_rest_px: Images | None) -> list[list[Images]]:
        """The same at each of the points that stand for a pixel."""
        phases = self.phases(to_rest_px)
        gradients = [_gradient(phase) for phase in phases]
        return [
            [p + np.float32(dy) * g[0] + np.float32(dx) * g[1] for p, g in zip(phases, gradients, strict=True)]
            for dy, dx in _SUB_PIXELS
        ]


@dataclass(frozen=True)
class TissueStates:
    """What one frame of one slice needs of the magnetisation: signal = gain x modulation + offset."""

    muscle: tuple[float, float]
    blood: tuple[float, float]


def tissue_states(acquisition: TaggedAcquisition, tissues: TissueValues, time_ms: float) -> TissueStates:
    """Signal of muscle and of blood at `time_ms` over M0, with proton density, flip angle and T2* decay."""
    states = []
    for tissue, is_blood in ((Tissue.MYOCARDIUM, False), (Tissue.BLOOD_ARTERIAL, True)):
        t1, t2 = float(tissues.t1_ms[tissue]), float(tissues.t2_ms[tissue])
        gain, offset = acquisition.evolution(time_ms, t1, t2, blood=is_blood)
        # A balanced readout refocuses what T2* dephases.
        decay = t2 if acquisition.readout.kind == "bssfp" else float(tissues.t2_star_ms[tissue])
        signal = acquisition.readout.transverse(np.ones(1), time_ms, decay)[0] * tissues.proton_density[tissue]
        states.append((float(gain * signal), float(offset * signal)))
    return TissueStates(states[0], states[1])


def render(
    acquisition: TaggedAcquisition,
    pattern: PlanarPattern,
    states: TissueStates,
    tissue: TissueMap,
    time_ms: float,
    to_rest_px: Images | None,
) -> Images:
    """(rows, columns) magnitude of one tagged slice; `tissue` and `to_rest_px` (2, rows, columns) are of that slice."""
    mean = np.float32(acquisition.pattern.mean_modulation)
    kept = np.float32(acquisition.flow.modulation(np.ones(1), 0.0, time_ms)[0])
    muscle_gain, muscle_offset = (np.float32(v) for v in states.muscle)
    blood_gain, blood_offset = (np.float32(v) for v in states.blood)
    muscle = (1 - tissue.blood) * muscle_gain
    blood = tissue.blood * blood_gain
    # Signal is linear in the modulation, whatever the mixture: average the modulation over the pixel's points first.
    modulation = np.zeros_like(tissue.amplitude)
    for phases in pattern.sub_pixel_phases(to_rest_px):
        modulation += acquisition.pattern.modulation_of(phases)
    modulation /= np.float32(len(_SUB_PIXELS))
    signal = (muscle + blood * kept) * modulation
    signal += blood * (mean * (1 - kept)) + (1 - tissue.blood) * muscle_offset + tissue.blood * blood_offset
    signal *= tissue.amplitude
    return np.abs(signal)


def _gradient(values: Images) -> tuple[Images, Images]:
    down, right = np.empty_like(values), np.empty_like(values)
    down[1:-1] = 0.5 * (values[2:] - values[:-2])
    down[0], down[-1] = values[1] - values[0], values[-1] - values[-2]
    right[:, 1:-1] = 0.5 * (values[:, 2:] - values[:, :-2])
    right[:, 0], right[:, -1] = values[:, 1] - values[:, 0], values[:, -1] - values[:, -2]
    return down, right
