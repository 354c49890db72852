"""Why blood loses its tags: it is stirred, and it is replaced.

Tagged blood within a chamber is mixed (its modulation dies out, its mean stays), and blood from outside the imaged
slice, which no readout pulse has touched, takes its place (its signal rises: inflow enhancement, the grey to bright
cavities of real tagged cines).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.tagging.readout import TagReadout


@dataclass(frozen=True)
class BloodFlow:
    """Mixing and inflow of the blood in a slice.

    Attributes
    ----------
    mixing_ms
        Time in which stirring reduces the tag modulation of blood to 1/e. Tags in the chambers of tagged cines are gone
        within a frame or two (of 25 to 40 ms).
    through_plane_mm_s
        Net speed at which new blood crosses the slice; 0 lets none in. Blood that swings to and fro brings little that
        is new, so this is far below its momentary speed of 50 to 150 mm/s; 5 makes the cavities of a gradient-echo
        series about 1.4 times as bright as muscle, as those of tagged cines are.
    slice_thickness_mm
        Of the imaged slice.
    """

    mixing_ms: float = 30.0
    through_plane_mm_s: float = 5.0
    slice_thickness_mm: float = 8.0

    def __post_init__(self) -> None:
        if not self.mixing_ms > 0:
            raise InputError(f"mixing_ms is {self.mixing_ms}; it must be above 0 (infinity keeps the blood's tags)")
        if self.through_plane_mm_s < 0:
            raise InputError(f"through_plane_mm_s is {self.through_plane_mm_s}; it must be 0 or more")
        if not self.slice_thickness_mm > 0:
            raise InputError(f"slice_thickness_mm is {self.slice_thickness_mm}; it must be above 0")

    def modulation(
        self, modulation: NDArray[np.floating], mean: float, time_ms: NDArray[np.floating] | float
    ) -> NDArray[np.floating]:
        """The tag modulation left in stirred blood: it relaxes to its spatial mean with `mixing_ms`."""
        return mean + (modulation - mean) * np.exp(-np.asarray(time_ms, dtype=np.float64) / self.mixing_ms)

    def evolution(
        self,
        readout: TagReadout,
        mean_modulation: float,
        time_ms: NDArray[np.floating] | float,
        t1_ms: NDArray[np.floating] | float,
        t2_ms: NDArray[np.floating] | float | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(retained, recovered) of blood, as `TagReadout.evolution`, with inflow.

        In every TR the fraction w = speed TR / thickness of the slice's blood is replaced by blood that was tagged (the
        preparation is not slice-selective; its mean is `mean_modulation`) and then recovered freely,
        ``1 - (1 - mean) exp(-t/T1)``. To the readout's own decay per TR, ``keep``, this adds the factor (1 - w):

            M_(k+1) = (1 - w) (keep M_k + grow) + w (1 - q E1^(k+1)),   q = 1 - mean,

        whose solution is A + B E1^k + (M_0 - A - B) ((1 - w) keep)^k. A flip-angle ramp counts here with its mean
        angle (the exact train matters for the tagged muscle, not for the blood).
        """
        readout = TagReadout(
            readout.kind, _mean_flip_deg(readout), readout.repetition_time_ms, readout.echo_time_ms
        )
        replaced = self.replaced_per_pulse(readout)
        k = np.asarray(time_ms, dtype=np.float64) / readout.repetition_time_ms
        keep, _ = readout.evolution(readout.repetition_time_ms, t1_ms, t2_ms)
        grow = readout.steady_state(t1_ms, t2_ms) * (1.0 - keep)
        e1 = np.exp(-readout.repetition_time_ms / np.asarray(t1_ms, dtype=np.float64))
        decay = (1.0 - replaced) * keep
        level = ((1.0 - replaced) * grow + replaced) / (1.0 - decay)
        transient = -replaced * (1.0 - mean_modulation) * e1 / (e1 - decay)
        retained = decay**k
        return retained, level * (1.0 - retained) + transient * (e1**k - retained)

    def replaced_per_pulse(self, readout: TagReadout) -> float:
        """Fraction of the slice's blood that is new at each readout pulse, at most 1."""
        return min(self.through_plane_mm_s * 1e-3 * readout.repetition_time_ms / self.slice_thickness_mm, 1.0)

    def before_tagging(
        self,
        readout: TagReadout,
        t1_ms: NDArray[np.floating] | float,
        t2_ms: NDArray[np.floating] | float | None = None,
    ) -> NDArray[np.float64]:
        """M / M0 of blood at the R wave, at the end of a heartbeat of readout with inflow of recovered blood."""
        _, recovered = self.evolution(readout, 1.0, 1e6, t1_ms, t2_ms)
        return recovered


def _mean_flip_deg(readout: TagReadout) -> float:
    return float(readout.flips_deg(max(readout.ramp_pulses, 1)).mean())
