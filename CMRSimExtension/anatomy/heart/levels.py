"""The long-axis map of the whole heart, and what depends on the level along the long axis alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FADE_MM = 58.0
"""Above an adult's annulus plane its descent fades out linearly over this distance: the atrial roof stays put."""


@dataclass(frozen=True)
class LongAxis:
    """z(Z): the apex stays, the base descends, the atrial roof stays; piecewise linear, so exactly invertible.

    Attributes
    ----------
    apex_mm
        Level of the fixed apex.
    stretch
        dz/dZ of the ventricles.
    fade_mm
        Height above the annulus plane over which its descent fades out.
    """

    apex_mm: float
    stretch: float
    fade_mm: float = FADE_MM

    @property
    def descent_mm(self) -> float:
        """How far the annulus plane has moved towards the apex."""
        return self.apex_mm * (1.0 - self.stretch)

    @property
    def atrial_stretch(self) -> float:
        """dz/dZ between the annulus plane and the atrial roof."""
        return 1.0 + self.descent_mm / self.fade_mm

    def forward(self, level_mm: NDArray) -> NDArray:
        """Present z of material level Z."""
        descent = self.descent_mm
        return level_mm + np.where(
            level_mm >= 0,
            (1.0 - self.stretch) * np.maximum(self.apex_mm - level_mm, 0.0),
            descent * np.maximum(1.0 + level_mm / self.fade_mm, 0.0),
        )

    def inverse(self, z_mm: NDArray) -> NDArray:
        """Material level Z of present z."""
        descent = self.descent_mm
        if descent == 0.0:
            return z_mm
        ventricular = self.apex_mm - (self.apex_mm - z_mm) / self.stretch
        atrial = (z_mm - descent) / self.atrial_stretch
        inside = np.where(z_mm >= descent, ventricular, atrial)
        return np.where((z_mm > self.apex_mm) | (z_mm < -self.fade_mm), z_mm, inside)


@dataclass(frozen=True)
class LevelTable:
    """Columns of numbers on an even grid of levels, looked up linearly.

    Attributes
    ----------
    start_mm, step_mm
        Of the grid of levels.
    rows
        (levels, columns).
    """

    start_mm: float
    step_mm: float
    rows: NDArray

    def __call__(self, level_mm: NDArray) -> NDArray:
        """(n, columns) at levels (n,); clamped at both ends."""
        place = np.clip((level_mm - self.start_mm) / self.step_mm, 0.0, len(self.rows) - 1.001)
        below = place.astype(np.int32)
        share = (place - below)[:, None].astype(self.rows.dtype)
        low = self.rows.take(below, axis=0)
        return low + share * (self.rows.take(below + 1, axis=0) - low)

    @property
    def levels_mm(self) -> NDArray:
        """The grid."""
        return self.start_mm + self.step_mm * np.arange(len(self.rows))
