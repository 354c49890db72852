"""How the torso moves with breathing: a closed-form map from where tissue is to where it was at end expiration."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError


@dataclass(frozen=True)
class Breathing:
    """Respiratory motion in torso coordinates (mm; x right, y anterior, z superior).

    The chest and abdomen widen forwards from the fixed back (y only), and what lies inside the trunk slides downwards
    (z only), fully at the diaphragm, less towards the lung apex and the pelvis, not at all at the wall and the spine.
    The heart and the tendon beneath it follow with about 0.6 of the domes' way (Wang et al., Magn Reson Med
    1995;33:713), all of the heart by nearly the same amount.

    Attributes
    ----------
    excursion_mm, expansion_mm
        Downward way of the diaphragm and forward way of the anterior wall at end inspiration.
    half_width_mm, half_depth_mm
        Of the trunk's cavity.
    back_mm
        y of the back, which does not move.
    spine_mm
        (x, y) of the vertebral column and the half axes (x, y) of what stays with it.
    heart_mm
        (x, y) of the heart's centre and the radius of its column.
    heights_mm
        z of pelvis, lower end of full motion, top of the heart (upper end of full motion), lung apex; ascending.
    """

    excursion_mm: float
    expansion_mm: float
    half_width_mm: float
    half_depth_mm: float
    back_mm: float
    spine_mm: tuple[float, float, float, float]
    heart_mm: tuple[float, float, float]
    heights_mm: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        pelvis, lower, upper, apex = self.heights_mm
        if not pelvis < lower < upper < apex:
            raise InputError(f"heights_mm {self.heights_mm} must ascend")
        # The steepest slope of the smoothstep is 1.5 over its length; at 1 the map would fold.
        steepest = 1.5 * self.excursion_mm / min(lower - pelvis, apex - upper)
        if steepest >= 0.9:
            raise InputError(
                f"diaphragm_excursion_mm {self.excursion_mm} folds a torso of this size; keep it below "
                f"{0.6 * min(lower - pelvis, apex - upper):.0f} mm"
            )

    @staticmethod
    def depth_of_breath(phase: float) -> float:
        """0 at end expiration (phase 0), 1 at phase 0.5: sin^4, which dwells at end expiration.

        Lujan et al., Med Phys 1999;26:715, with n = 2.
        """
        return math.sin(math.pi * phase) ** 4

    def rest(self, points: NDArray[np.floating], phase: float) -> NDArray[np.floating]:
        """(n, 3) positions at end expiration of what lies at `points` (n, 3) at respiratory `phase`."""
        breath = self.depth_of_breath(phase)
        out = np.array(points, copy=True)
        if breath == 0.0:
            return out
        stretch = self._stretch(breath)
        out[:, 1] = self.back_mm + (out[:, 1] - self.back_mm) / stretch
        out[:, 2] += breath * self.excursion_mm * self._across(out[:, 0], out[:, 1]) * self._along(out[:, 2])
        return out

    def current(self, rest: NDArray[np.floating], phase: float) -> NDArray[np.float64]:
        """Inverse of `rest` to 1e-9 mm, by Newton's method in z."""
        breath = self.depth_of_breath(phase)
        out = np.array(rest, dtype=np.float64)
        if breath == 0.0:
            return out
        way = breath * self.excursion_mm * self._across(out[:, 0], out[:, 1])
        target = out[:, 2].copy()
        z = target - way
        for _ in range(60):
            error = z + way * self._along(z) - target
            z -= error / (1.0 + way * self._slope(z))
            if error.size == 0 or np.abs(error).max() < 1e-10:
                break
        out[:, 2] = z
        out[:, 1] = self.back_mm + (out[:, 1] - self.back_mm) * self._stretch(breath)
        return out

    def _stretch(self, breath: float) -> float:
        return 1.0 + breath * self.expansion_mm / (self.half_depth_mm - self.back_mm)

    def _across(self, x: NDArray, y: NDArray) -> NDArray:
        """1 amid the trunk, 0 at its wall and at the spine; y at end expiration."""
        u = (x * (1.0 / self.half_width_mm)) ** 2 + (y * (1.0 / self.half_depth_mm)) ** 2
        u *= u
        inside = np.maximum(1.0 - u * u, 0.0) ** 2
        cx, cy, rx, ry = self.spine_mm
        near = ((x - cx) / (1.65 * rx)) ** 2 + ((y - cy) / (1.65 * ry)) ** 2
        heart = ((x - self.heart_mm[0]) ** 2 + (y - self.heart_mm[1]) ** 2) / self.heart_mm[2] ** 2
        return inside * (1.0 - np.exp(-near * near)) * (1.0 - 0.33 * np.exp(-heart * heart))

    def _along(self, z: NDArray) -> NDArray:
        pelvis, lower, upper, apex = self.heights_mm
        below = np.clip((z - pelvis) / (lower - pelvis), 0.0, 1.0)
        above = np.clip((apex - z) / (apex - upper), 0.0, 1.0)
        return below * below * (3.0 - 2.0 * below) * (above * above * (3.0 - 2.0 * above))

    def _slope(self, z: NDArray) -> NDArray:
        pelvis, lower, upper, apex = self.heights_mm
        below = np.clip((z - pelvis) / (lower - pelvis), 0.0, 1.0)
        above = np.clip((apex - z) / (apex - upper), 0.0, 1.0)
        # The two ramps do not overlap, so where one has a slope the other is 1.
        return 6.0 * below * (1.0 - below) / (lower - pelvis) - 6.0 * above * (1.0 - above) / (apex - upper)
