"""The left ventricle: nested radial shells around the long axis, and the closed-form incompressible map of its wall.

Heart coordinates in mm: z runs from the annulus plane (0 at end diastole) to the apex; angle 0 is lateral, 90 degrees
anterior, 180 septal. Capital letters are material (end-diastolic) coordinates. With the shells R_endo(Theta, Z) at end
diastole and r_endo(Theta, Z, e) at ejection e,

    z = apex - lambda (apex - Z),   theta = Theta + tau(Z),   r^2 - r_endo^2 = (R^2 - R_endo^2) / lambda

keeps volume exactly for any shells, because the Jacobian is triangular: (r dr / R dR) * 1 * lambda = 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from CMRSimExtension.anatomy.function import MYOCARDIAL_DENSITY_G_PER_ML
from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.errors import InputError

ANGLES = 64
LEVELS = 72
_THICKEST_LAYER = 0.58
"""Largest share of the cavity's cross-section that is trabeculated at end diastole."""
_NOT_REACHED = 0.005
"""Share by which mass or volume may miss what was asked for."""
_COMPACTED = 0.62
"""Share of muscle in the trabeculated layer at end systole, crypts of blood between its bundles included."""


@dataclass(frozen=True)
class Shells:
    """LV shells at one ejection, on a regular grid of material angle (ANGLES, periodic) and level (LEVELS).

    All are squared radii in mm^2, shape (LEVELS, ANGLES): the open cavity inside the trabeculated layer, the compact
    endocardium and the epicardium, now (small letters) and at end diastole (capitals).
    """

    cavity: NDArray[np.float64]
    endo: NDArray[np.float64]
    epi: NDArray[np.float64]
    rest_cavity: NDArray[np.float64]
    rest_endo: NDArray[np.float64]
    rest_epi: NDArray[np.float64]
    contour: NDArray[np.float64]
    """Squared radius of the border that a reader draws between blood pool and myocardium."""


def _profile(level: NDArray, power: float, waist: float, narrowing: float) -> NDArray:
    """Radius along the long axis over its largest: 1 at the waist, 0 at and beyond level 1."""
    below = np.clip((level - waist) / (1.0 - waist), 0.0, 1.0)
    above = np.clip((waist - level) / waist, 0.0, 1.0) if waist > 0 else np.zeros_like(level)
    return (1.0 - below**power) ** (1.0 / power) * (1.0 - narrowing * above**2)


class LeftVentricle:
    """Shells and motion of one LV.

    Reaches the clinical EDV, ESV and mass of its parameters by construction: the volume integrals below are those of
    the same tables that later decide what a point belongs to.

    Attributes
    ----------
    apex_mm
        z of the fixed epicardial apex.
    mass_g
        Clinical mass that the tables hold.

    Raises
    ------
    InputError
        Where mass and volumes asked for do not go together: no wall this thin or thick, no contraction this strong.
    """

    def __init__(self, parameters: HeartParameters) -> None:
        p = self.parameters = parameters
        self.angles = np.arange(ANGLES) * (2 * np.pi / ANGLES)
        radius_guess = np.sqrt(p.lv_edv_ml * 1000 / (np.pi * p.lv_length_mm * 0.75))
        mean_wall = self._wall_guess(radius_guess)
        self.endo_length_mm = p.lv_length_mm
        self.apex_mm = p.lv_length_mm + max(2.5, p.apical_thinning * mean_wall)
        self.levels_mm = np.linspace(0.0, self.apex_mm, LEVELS)
        step = self.levels_mm[1]
        weight = np.full(LEVELS, step)
        weight[[0, -1]] *= 0.5
        self._cell = 0.5 * weight[:, None] * (2 * np.pi / ANGLES) / 1000.0  # ml per mm^2 of squared radius

        level = self.levels_mm / self.endo_length_mm
        rng = np.random.default_rng(p.seed)
        self._uneven = [
            p.irregularity * share * self._smooth_noise(rng, along, around)
            for share, along, around in ((0.035, 7.0, 4.5), (0.19, 9.0, 7.0), (0.45, 6.0, 2.4))
        ]
        shape = _profile(level, p.lv_profile_power, p.lv_waist, p.basal_narrowing)[:, None] * self._outline()[None, :]
        shape = shape * (1.0 + self._uneven[0])
        scale = np.sqrt(p.lv_edv_ml / np.sum(shape**2 * self._cell))
        self.rest_endo = (scale * shape) ** 2
        self._amplitude = scale
        thickness, contraction = self._patches(level)
        self.contraction = contraction
        self.rest_epi = self._epicardium(thickness, mean_wall)
        wall_ml = float(np.sum((self.rest_epi - self.rest_endo) * self.wall_exists() * self._cell))
        self.mass_g = wall_ml * MYOCARDIAL_DENSITY_G_PER_ML
        if abs(self.mass_g / p.lv_mass_g - 1.0) > _NOT_REACHED:
            bound, cure = ("least", "raise lv_mass_g") if self.mass_g > p.lv_mass_g else ("most", "lower lv_mass_g")
            raise InputError(
                f"lv_mass_g is {p.lv_mass_g:g}; around an EDV of {p.lv_edv_ml:g} ml {self.mass_g:.1f} g is the "
                f"{bound}: {cure}, or change the EDV"
            )
        self._layer = self._trabeculated_layer(level)
        self._solve_contraction()

    def _wall_guess(self, radius: float) -> float:
        volume = self.parameters.lv_mass_g / MYOCARDIAL_DENSITY_G_PER_ML * 1000
        outer = np.sqrt(radius**2 + volume / (np.pi * 0.8 * self.parameters.lv_length_mm))
        return float(np.clip(outer - radius, 2.0, 40.0))

    @staticmethod
    def _smooth_noise(rng: np.random.Generator, along: float, around: float) -> NDArray:
        """Random field (LEVELS, ANGLES) of SD 1, smoothed by Gaussians of these SDs in cells of the tables."""
        field = gaussian_filter(rng.standard_normal((LEVELS, ANGLES)), (along, around), mode=("nearest", "wrap"))
        field /= field.std()
        # At the apex every angle meets.
        return np.asarray(field * np.clip((1.0 - np.linspace(0.0, 1.0, LEVELS)) / 0.3, 0.0, 1.0)[:, None])

    def _outline(self) -> NDArray:
        p = self.parameters
        c2, s2, c3, s3 = p.cross_section
        a = self.angles
        septal = np.exp(-0.5 * ((a - np.pi) / 0.7) ** 2)
        return (
            1.0
            + c2 * np.cos(2 * a)
            + s2 * np.sin(2 * a)
            + c3 * np.cos(3 * a)
            + s3 * np.sin(3 * a)
            - p.septal_flattening * septal
        )

    def _patches(self, level: NDArray) -> tuple[NDArray, NDArray]:
        """Factors on wall thickness and on contraction, (LEVELS, ANGLES) each."""
        thickness = np.ones((LEVELS, ANGLES))
        contraction = np.ones((LEVELS, ANGLES))
        for patch in self.parameters.patches:
            turn = (self.angles - np.deg2rad(patch.angle_deg) + np.pi) % (2 * np.pi) - np.pi
            angular = np.exp(-0.5 * (turn / np.deg2rad(patch.width_deg)) ** 2)
            along = np.exp(-0.5 * ((level - patch.level) / patch.width_level) ** 2)
            # At the apex every angle meets, so a patch there covers all of them alike.
            inward = np.clip((level - 0.75) / 0.25, 0.0, 1.0)[:, None]
            extent = along[:, None] * (angular[None, :] * (1 - inward) + angular.mean() * inward)
            thickness *= 1.0 + (patch.thickness - 1.0) * extent
            contraction *= 1.0 + (patch.contraction - 1.0) * extent
        return thickness, contraction

    def _epicardium(self, regional: NDArray, mean_wall: float) -> NDArray:
        """Squared epicardial radius that gives the mass asked for."""
        p = self.parameters
        wanted = p.lv_mass_g / MYOCARDIAL_DENSITY_G_PER_ML
        level = self.levels_mm / self.apex_mm
        profile = _profile(level, p.lv_profile_power, p.lv_waist, p.basal_narrowing)[:, None] * self._outline()[None, :]
        profile = profile * (1.0 + self._uneven[0])
        regional = regional * np.maximum(1.0 + self._uneven[1], 0.3)
        # The wall ends in a rounded edge at the annulus.
        regional = regional * (1.0 - 0.55 * np.clip(1.0 - self.levels_mm / 9.0, 0.0, 1.0) ** 2)[:, None]
        endo = np.sqrt(self.rest_endo)
        wall = self.wall_exists()
        regional = regional * (1.0 + p.basal_thickening * (1.0 - 2.0 * np.clip(level, 0.0, 1.0)))[:, None]

        def epi_squared(thickness: float) -> NDArray:
            outer = (self._amplitude + thickness) * profile
            return (endo + np.maximum(outer - endo, 0.0) * regional) ** 2

        low, high = 0.5, 60.0
        for _ in range(50):
            middle = 0.5 * (low + high)
            volume = np.sum((epi_squared(middle) - self.rest_endo) * wall * self._cell)
            low, high = (middle, high) if volume < wanted else (low, middle)
        self.mean_wall_mm = 0.5 * (low + high)
        return epi_squared(self.mean_wall_mm)

    def notch_mm(self, angle: NDArray) -> NDArray:
        """Level down to which the wall gives way to the outflow tract, per material angle (rad)."""
        p = self.parameters
        turn = (angle - np.deg2rad(150.0) + np.pi) % (2 * np.pi) - np.pi
        return p.notch_mm * np.exp(-0.5 * (turn / np.deg2rad(p.notch_width_deg)) ** 4)

    def wall_exists(self) -> NDArray:
        """(LEVELS, ANGLES): share of each cell of the shells' grid that has a wall, 0 within the outflow notch."""
        depth = self.levels_mm[:, None] - self.notch_mm(self.angles)[None, :]
        return np.clip(depth / self.levels_mm[1] + 0.5, 0.0, 1.0)

    def _trabeculated_layer(self, level: NDArray) -> NDArray:
        """Share of the end-diastolic cavity's cross-section that is trabeculated, (LEVELS, ANGLES)."""
        p = self.parameters
        muscle = p.trabecular_mass_fraction * p.lv_mass_g / MYOCARDIAL_DENSITY_G_PER_ML
        # Trabeculae thicken towards the apex and gather on the free wall: the septum is smooth but near the apex.
        depth = np.clip(level, 0, 1)[:, None]
        septal = np.exp(-0.5 * ((self.angles - np.pi) / 0.9) ** 2)[None, :]
        share = (0.5 + 1.0 * depth**1.2) * (1.0 - 0.65 * (1.0 - depth**3) * septal) * np.exp(self._uneven[2])
        wanted = muscle / p.trabecular_muscle_fraction
        low, high = 0.0, 3.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            volume = np.sum(np.minimum(middle * share, _THICKEST_LAYER) * self.rest_endo * self._cell)
            low, high = (middle, high) if volume < wanted else (low, middle)
        return np.minimum(high * share, _THICKEST_LAYER)

    def stretch(self, ejection: float) -> float:
        """Length of the LV over its end-diastolic length."""
        return 1.0 - self.parameters.longitudinal_shortening * ejection

    def muscle_share(self, ejection: float) -> float:
        """Share of muscle in the trabeculated layer."""
        start = self.parameters.trabecular_muscle_fraction
        return start / (1.0 - (1.0 - start / _COMPACTED) * ejection)

    def volume_ml(self, ejection: float) -> float:
        """Clinical LV volume at `ejection`, of the shells as they are then."""
        return self._contoured_ml(ejection, float(np.interp(ejection, self._ejections, self._contractions)))

    def _contoured_ml(self, ejection: float, c: float) -> float:
        return float(np.sum(self._squared_radii(ejection, c)[2] * self._cell)) * self.stretch(ejection)

    def _squared_radii(self, ejection: float, c: float) -> tuple[NDArray, NDArray, NDArray]:
        stretch = self.stretch(ejection)
        factor = np.clip(1.0 - c * self.contraction, 0.02, None)
        endo = self.rest_endo * factor**2
        kept = self.parameters.trabecular_muscle_fraction / self.muscle_share(ejection)
        layer = self._layer * self.rest_endo * kept / stretch
        # Where the walls meet at the apex nothing is left of the cavity.
        cavity = np.maximum(endo - layer, 0.02 * endo)
        return cavity, endo, endo - ejection * self.parameters.contour_share * (endo - cavity)

    def _solve_contraction(self) -> None:
        """Contraction c for each ejection such that the clinical volume is the one asked for."""
        p = self.parameters
        self._ejections = np.linspace(0.0, 1.0, 11)
        found = [0.0]
        for ejection in self._ejections[1:]:
            wanted = p.lv_edv_ml - float(ejection) * (p.lv_edv_ml - p.lv_esv_ml)
            low, high = -0.2, 0.95
            for _ in range(30):
                middle = 0.5 * (low + high)
                volume = self._contoured_ml(float(ejection), middle)
                low, high = (middle, high) if volume > wanted else (low, middle)
            found.append(0.5 * (low + high))
            reached = self._contoured_ml(float(ejection), found[-1])
            if abs(reached / wanted - 1.0) > _NOT_REACHED:
                raise InputError(
                    f"lv_esv_ml is {p.lv_esv_ml:g}; from an EDV of {p.lv_edv_ml:g} ml with a shortening of "
                    f"{p.longitudinal_shortening:g} this heart cannot contract so far (it would hold {reached:.1f} "
                    f"ml where {wanted:.1f} are wanted): bring ESV and EDV closer together"
                )
        self._contractions = np.array(found)

    def shells(self, ejection: float) -> Shells:
        """Shells at `ejection` in [0, 1]."""
        c = float(np.interp(ejection, self._ejections, self._contractions))
        cavity, endo, contour = self._squared_radii(ejection, c)
        rest_cavity = self.rest_endo * (1.0 - self._layer)
        epi = endo + (self.rest_epi - self.rest_endo) / self.stretch(ejection)
        return Shells(cavity, endo, epi, rest_cavity, self.rest_endo, self.rest_epi, contour)

    def twist_rad(self, level_mm: NDArray, share: float) -> NDArray:
        """Rotation (rad, counter-clockwise seen from the apex) at material level Z for a `share` of full torsion.

        The base turns clockwise by about a third of the difference: 4.1 of 11.2 degrees in Weiner et al., Circ
        Cardiovasc Imaging 2010;3:672.
        """
        full = np.deg2rad(self.parameters.torsion_deg) * share
        return full * (np.clip(level_mm / self.apex_mm, 0.0, 1.0) - 0.33)

    def centre_mm(self, level_mm: NDArray) -> NDArray:
        """(n, 2) x and y of the LV's axis at material levels: straight at the base, bent towards the apex."""
        share = np.clip(level_mm / self.apex_mm, 0.0, 1.0) ** 2
        return share[:, None] * np.asarray(self.parameters.bend_mm)

    def mid_wall_strain(self, ejection: float) -> tuple[float, float, float]:
        """Mean engineering strains (circumferential, longitudinal, radial) of the mid-wall at mid level.

        Circumferential: ratio of mid-wall perimeters; longitudinal: stretch - 1; radial follows from incompressibility.
        """
        now = self.shells(ejection)
        rows = slice(int(0.33 * LEVELS), int(0.67 * LEVELS))
        rest_mid = 0.5 * (np.sqrt(now.rest_endo) + np.sqrt(now.rest_epi))[rows]
        stretch = self.stretch(ejection)
        mid = np.sqrt(now.endo[rows] + (rest_mid**2 - now.rest_endo[rows]) / stretch)
        circumferential = float(np.mean(mid / rest_mid))
        return circumferential - 1.0, stretch - 1.0, 1.0 / (circumferential * stretch) - 1.0
