"""How far a heart has emptied at each phase of its cycle."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CardiacTiming:
    """Ejection e(phase): 0 at end diastole, 1 at end systole, continuous and periodic.

    Isovolumic contraction, ejection, isovolumic relaxation, rapid filling, diastasis and the atrial kick follow one
    another as in volume curves from cine MRI. Isovolumic phases last about 5 % of the cycle each. At higher heart
    rates (larger `systole_fraction`) diastasis shortens and then vanishes.

    Attributes
    ----------
    systole_fraction
        Share of the cycle from the R wave to end systole.
    filling_fraction
        Share of the stroke volume back in the ventricle before the atrial kick.
    """

    systole_fraction: float = 0.36
    filling_fraction: float = 0.75

    def ejection(self, phase: float) -> float:
        """Fraction of the stroke volume that has left at `phase` in [0, 1)."""
        start = 0.05
        end = self.systole_fraction
        relaxed = end + 0.06
        kick = 0.86
        filled = relaxed + 0.55 * (kick - relaxed)
        remaining = 1.0 - self.filling_fraction
        if phase < start:
            return 0.0
        if phase < end:
            u = (phase - start) / (end - start)
            return float(np.sin(0.5 * np.pi * u) ** 1.35 if u < 1 else 1.0)
        if phase < relaxed:
            return 1.0
        if phase < filled:
            u = (phase - relaxed) / (filled - relaxed)
            return float(1.0 - (1.0 - remaining) * u * u * (3.0 - 2.0 * u))
        if phase < kick:
            return remaining
        u = (phase - kick) / (1.0 - kick)
        return float(remaining * (1.0 - u * u * (3.0 - 2.0 * u)))

    def twist(self, phase: float) -> float:
        """Torsion as a share of its end-systolic value; untwisting runs ahead of filling (Notomi et al., Circulation
        2006;113:2524)."""
        end = self.systole_fraction
        if phase <= end:
            return self.ejection(phase)
        relaxed = end + 0.30 * (1.0 - end)
        if phase >= relaxed:
            return 0.0
        u = (phase - end) / (relaxed - end)
        return float(1.0 - u * u * (3.0 - 2.0 * u))

    @property
    def end_systole(self) -> float:
        """Phase of end systole, the middle of isovolumic relaxation's plateau."""
        return self.systole_fraction + 0.03
