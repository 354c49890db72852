"""The tagging preparation: what a train of RF pulses and gradient blips makes of the longitudinal magnetisation.

Spatial modulation of magnetisation (SPAMM; Axel and Dougherty, Radiology 1989;171:841 and 172:349) plays a few RF
pulses about one axis with a gradient blip between each pair. Between two sub-pulses a spin at rest position x turns by
``phi = 2 pi x / spacing`` about z; at the end a spoiler destroys what is transverse. What is left is longitudinal and
periodic in x: the tag. Binomial weights (1-2-1, 1-3-3-1 ...) make the dark lines narrower.

The trains last 1 to 2 ms, so relaxation and off-resonance during them are left out (they are 0.2 % of T1).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.bloch import GAMMA_BAR_HZ_PER_T

TRAINS: dict[str, tuple[int, ...]] = {
    "1-1": (1, 1),
    "1-2-1": (1, 2, 1),
    "1-3-3-1": (1, 3, 3, 1),
    "1-4-6-4-1": (1, 4, 6, 4, 1),
}
"""Relative flip angles of the sub-pulses, by the train's name."""

MAX_TOTAL_FLIP_DEG = 180.0


@dataclass(frozen=True)
class TagTrain:
    """One train of sub-pulses.

    Attributes
    ----------
    name
        A key of `TRAINS`.
    total_flip_deg
        Sum of the sub-pulses' flip angles, in (0, 180] degrees: the flip angle in the middle of a dark line.

    Raises
    ------
    InputError
        The name is unknown, or the flip angle out of range.
    """

    name: str = "1-3-3-1"
    total_flip_deg: float = 90.0

    def __post_init__(self) -> None:
        if self.name not in TRAINS:
            raise InputError(f"tagging train '{self.name}' is not known; choose one of {', '.join(TRAINS)}")
        if not 0.0 < self.total_flip_deg <= MAX_TOTAL_FLIP_DEG:
            raise InputError(
                f"total tagging flip angle is {self.total_flip_deg} degrees; it must lie above 0 and at most at "
                f"{MAX_TOTAL_FLIP_DEG:g} (90 makes fully dark lines)"
            )

    @property
    def sub_flips_deg(self) -> NDArray[np.float64]:
        """(pulses,) flip angle of every sub-pulse in degrees; 1-3-3-1 at 90: 11.25, 33.75, 33.75, 11.25."""
        weights = np.asarray(TRAINS[self.name], dtype=np.float64)
        return self.total_flip_deg * weights / weights.sum()

    def rotated(self, phase_rad: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Longitudinal magnetisation by exact rotation matrices, before it was 1 everywhere.

        Parameters
        ----------
        phase_rad
            Precession between two sub-pulses, any shape.

        Returns
        -------
        NDArray
            Mz / Mz before, same shape. Two 1-1 pulses of flip angle a each give cos^2 a - sin^2 a cos phi.
        """
        phase = np.asarray(phase_rad, dtype=np.float64)
        cos_phase, sin_phase = np.cos(phase), np.sin(phase)
        mx, my, mz = np.zeros_like(phase), np.zeros_like(phase), np.ones_like(phase)
        for number, flip in enumerate(np.deg2rad(self.sub_flips_deg)):
            if number:
                mx, my = cos_phase * mx - sin_phase * my, sin_phase * mx + cos_phase * my
            mx, mz = np.cos(flip) * mx + np.sin(flip) * mz, np.cos(flip) * mz - np.sin(flip) * mx
        return mz

    @cached_property
    def harmonics(self) -> NDArray[np.float64]:
        """(pulses,) cosine series of the profile, ``Mz(phi) = sum_n harmonics[n] cos(n phi)``.

        Exact: each rotation about z adds one order, so a train of N sub-pulses has none above N - 1, and the sampling
        theorem gives them all from 2 N samples.
        """
        orders = len(TRAINS[self.name])
        samples = 2 * orders
        spectrum = np.fft.rfft(self.rotated(2 * np.pi * np.arange(samples) / samples)).real / samples
        series = 2.0 * spectrum[:orders]
        series[0] /= 2.0
        return series

    @cached_property
    def polynomial(self) -> NDArray[np.float64]:
        """(pulses,) the same profile as a polynomial in cos(phi), lowest order first; the fastest to evaluate."""
        return np.asarray(np.polynomial.chebyshev.cheb2poly(self.harmonics), dtype=np.float64)

    def profile(self, phase_rad: NDArray[np.floating]) -> NDArray[np.floating]:
        """Mz / Mz before as `rotated` gives it, in the precision of `phase_rad`, at a tenth of its cost."""
        cosine = np.cos(phase_rad)
        result = np.full_like(cosine, self.polynomial[-1])
        for coefficient in self.polynomial[-2::-1]:
            result *= cosine
            result += cosine.dtype.type(coefficient)
        return result

    @cached_property
    def line_width(self) -> float:
        """Width of a dark line over the tag spacing: where Mz lies below halfway between its minimum and maximum.

        At 90 degrees in total: 1-1 0.500, 1-2-1 0.364, 1-3-3-1 0.299, 1-4-6-4-1 0.260.
        """
        phase = np.linspace(0.0, np.pi, 20001)
        mz = self.rotated(phase)
        half = 0.5 * (mz.min() + mz.max())
        below = np.flatnonzero((mz[:-1] < half) != (mz[1:] < half))
        # The profile of every train up to 180 degrees rises once between the line's middle and the middle of the gap.
        first = below[0]
        crossing = phase[first] + (half - mz[first]) / (mz[first + 1] - mz[first]) * (phase[1] - phase[0])
        return float(crossing / np.pi)


def gradient_area_mt_ms_per_m(spacing_mm: float) -> float:
    """Gradient area between two sub-pulses, in mT ms / m, that makes tags `spacing_mm` apart: 1 / (gamma-bar spacing).

    7 mm take 3.355 mT ms / m.
    """
    if not spacing_mm > 0:
        raise InputError(f"tag spacing is {spacing_mm} mm; it must be above 0")
    # T s / m is 1e6 mT ms / m.
    return 1e6 / (GAMMA_BAR_HZ_PER_T * spacing_mm * 1e-3)
