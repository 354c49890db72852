"""The static field's inhomogeneity: what bends it in a chest, and what the shim leaves.

It is a sum of dipoles where air meets tissue near the heart, of solid harmonics up to third order from the body's
outline, and of the first-order shim that takes mean and slope out over the heart. A static field outside its sources
satisfies Laplace's equation; this one does so nearly, not everywhere: dipoles are softened at their surface (within
about two radii), and the solid harmonics level off away from the heart. Magnitudes follow Reeder SB et al., Magn Reson
Med 1998;39:988-998 (70 Hz peak to peak over the heart at 1.5 T, steepest at the posterior veins) and Noeske R et al.,
Magn Reson Med 2000;44:978-982.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch
from CMRSimExtension.physics.bloch import GAMMA_BAR_HZ_PER_T
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.smooth_field import on_grid

HZ_PER_PPM_PER_T = GAMMA_BAR_HZ_PER_T * 1e-6
"""Proton frequency: hertz in a part per million at one tesla."""
_AIR_TISSUE_PPM = 9.4
"""Volume susceptibility of air minus that of tissue (Schenck JF, Med Phys 1996;23:815-850): 0.36 + 9.05 ppm."""
_SHIM_RADIUS_MM = 55.0


@dataclass(frozen=True)
class OffResonanceField:
    """Static off-resonance of water in Hz.

    Attributes
    ----------
    field_t
        Main field strength; it points along +z (superior), as in any horizontal-bore scanner.
    centre_mm
        (3,) RAS: centre of the heart and of the shim volume.
    dipoles_mm, radii_mm
        (n, 3) RAS and (n,): air-filled spheres that stand for lung edges, stomach and bowel gas.
    filling
        (n,) share of each sphere's susceptibility difference (lung is not all air), signed.
    harmonics_ppm
        (7,) second- and third-order solid harmonics, in ppm at 100 mm from the centre.
    shim_ppm
        (4,) constant and slopes per 100 mm that the shim adds.
    centre_frequency_hz
        What the frequency adjustment missed.
    """

    field_t: float
    centre_mm: NDArray[np.float64]
    dipoles_mm: NDArray[np.float64]
    radii_mm: NDArray[np.float64]
    filling: NDArray[np.float64]
    harmonics_ppm: NDArray[np.float64]
    shim_ppm: NDArray[np.float64]
    centre_frequency_hz: float = 0.0

    def __post_init__(self) -> None:
        for name in ("centre_mm", "dipoles_mm", "radii_mm", "filling", "harmonics_ppm", "shim_ppm"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if not np.all(np.isfinite(value)):
                raise InputError(f"{name} holds values that are not finite")
            object.__setattr__(self, name, value)
        if not len(self.dipoles_mm) == len(self.radii_mm) == len(self.filling):
            raise InputError("dipoles_mm, radii_mm and filling must be of the same length")
        if self.harmonics_ppm.shape != (7,) or self.shim_ppm.shape != (4,):
            raise InputError("harmonics_ppm needs 7 values and shim_ppm 4")

    @classmethod
    def draw(
        cls, rng: np.random.Generator, heart: HeartFrame, field_t: float, *, amount: float = 1.0
    ) -> "OffResonanceField":
        """The field of one subject, shimmed over the heart.

        Parameters
        ----------
        amount
            Factor on all inhomogeneity; 0 is a perfect magnet.
        """
        length = heart.lv_length_mm
        # In heart coordinates (x lateral, y anterior, z to the apex): the lung beside the inferolateral wall and the
        # posterior vein, the lung over the anterior wall, and the gas in stomach and colon under the apex.
        sites = np.array(
            [
                [55.0, -35.0, 0.45 * length],
                [60.0, 20.0, 0.70 * length],
                [-15.0, 75.0, 0.50 * length],
                [20.0, -85.0, 1.10 * length],
            ]
        )
        sites = sites + rng.normal(0.0, 8.0, size=sites.shape)
        radii = np.array([22.0, 25.0, 25.0, 30.0]) * rng.uniform(0.8, 1.2, size=4)
        filling = np.array([0.55, 0.5, 0.5, 1.0]) * rng.uniform(0.5, 1.2, size=4)
        second, third = rng.normal(0.0, 0.7, size=3), rng.normal(0.0, 0.4, size=4)
        residual = rng.normal(0.0, [0.0, 0.12, 0.12, 0.12])
        frequency = rng.normal(0.0, 0.10) * HZ_PER_PPM_PER_T * field_t
        unshimmed = cls(
            float(field_t),
            heart.origin_mm + 0.45 * length * heart.axes[2],
            np.asarray(heart.to_ras(sites), dtype=np.float64),
            radii,
            filling * amount,
            np.concatenate([second, third]) * amount,
            np.zeros(4),
        )
        shim = unshimmed._shim()
        return cls(
            unshimmed.field_t,
            unshimmed.centre_mm,
            unshimmed.dipoles_mm,
            unshimmed.radii_mm,
            unshimmed.filling,
            unshimmed.harmonics_ppm,
            shim + residual * amount,
            float(frequency) * amount,
        )

    def at(self, points_mm: Any) -> Any:
        """(n,) off-resonance of water in Hz at points (n, 3) in RAS mm: float32, or of the precision of tensors."""
        points = points_mm if is_torch(points_mm) else np.asarray(points_mm, dtype=np.float64)
        frequency = self._ppm(points) * (HZ_PER_PPM_PER_T * self.field_t) + self.centre_frequency_hz
        return frequency if is_torch(frequency) else frequency.astype(np.float32)

    def on(self, grid: ImageGrid) -> NDArray[np.float32]:
        """(slices, rows, columns) off-resonance of water in Hz at the voxel centres."""
        return np.asarray(on_grid(self.at, grid, lattice_mm=6.5), dtype=np.float32)

    def _ppm(self, points: Any) -> Any:
        xp = array_namespace(points)
        total = xp.zeros_like(points[:, 0])
        for site, radius, filling in zip(self.dipoles_mm, self.radii_mm.tolist(), self.filling.tolist(), strict=True):
            away = points - beside(site, points)
            r2 = xp.sum(away**2, axis=-1)
            # Outside a sphere (chi/3)(R/r)^3 (3 cos^2 - 1); inside it the field is uniform, and blending the r^2 keeps
            # the map smooth across the surface, where real lungs have no sharp edge either.
            smooth2 = xp.clip(r2, 1e-9, None) + radius**2 * xp.exp(-r2 / radius**2)
            dipole = (3 * away[:, 2] ** 2 - r2) / smooth2 * (radius**2 / smooth2) ** 1.5
            total = total + _AIR_TISSUE_PPM / 3 * filling * dipole
        x, y, z = xp.matrix_transpose((points - beside(self.centre_mm, points)) / 100.0)
        # Beyond 150 mm the expansion about the heart no longer holds; it levels off instead of growing without bound.
        reach = 1.0 / (1.0 + (x**2 + y**2 + z**2) / 1.5**2)
        solid = (
            x * x - y * y, z * z - 0.5 * (x * x + y * y), x * z,
            x * (x * x - 3 * y * y), z * (x * x - y * y), x * (4 * z * z - x * x - y * y), y * z * x,
        )  # fmt: skip
        for coefficient, value in zip(self.harmonics_ppm, solid, strict=True):
            total = total + float(coefficient) * value * reach
        constant, *slopes = (float(value) for value in self.shim_ppm)
        return total + constant + slopes[0] * x + slopes[1] * y + slopes[2] * z

    def _shim(self) -> NDArray[np.float64]:
        """Constant and slopes that cancel the field's own over the heart, by least squares on a ball of points."""
        axis = np.linspace(-1.0, 1.0, 9)
        ball = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        ball = ball[np.sum(ball**2, axis=-1) <= 1.0] * _SHIM_RADIUS_MM
        design = np.column_stack([np.ones(len(ball)), ball / 100.0])
        solution, *_ = np.linalg.lstsq(design, self._ppm(ball + self.centre_mm), rcond=None)
        return np.asarray(-solution, dtype=np.float64)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` is its inverse."""
        arrays = ("centre_mm", "dipoles_mm", "radii_mm", "filling", "harmonics_ppm", "shim_ppm")
        record: dict[str, Any] = {name: getattr(self, name).tolist() for name in arrays}
        return record | {"field_t": self.field_t, "centre_frequency_hz": self.centre_frequency_hz}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "OffResonanceField":
        """The field of a record."""
        return cls(**record)
