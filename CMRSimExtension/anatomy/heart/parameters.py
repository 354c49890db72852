"""Everything that makes one heart different from another, as plain numbers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from CMRSimExtension.errors import InputError


@dataclass(frozen=True)
class WallPatch:
    """A region of the LV wall that differs from the rest, fading out as a Gaussian.

    Attributes
    ----------
    angle_deg
        Its centre around the long axis: 0 lateral, 90 anterior, 180 septal, 270 inferior.
    level
        Its centre along the long axis: 0 annulus plane, 1 apex.
    width_deg, width_level
        Gaussian SDs of its extent.
    thickness
        Factor on end-diastolic wall thickness at the centre (0.5: half as thick, 2: twice).
    contraction
        Factor on contraction at the centre (1 normal, 0 akinetic, below 0 dyskinetic).
    """

    angle_deg: float
    level: float
    width_deg: float
    width_level: float
    thickness: float = 1.0
    contraction: float = 1.0

    def __post_init__(self) -> None:
        for name, limits in _PATCH_LIMITS.items():
            _within(f"{name} of a patch of wall", getattr(self, name), limits)


_PATCH_LIMITS = {
    "angle_deg": (-720, 720, "0 is lateral, 90 anterior"),
    "level": (-0.5, 1.5, "it is a fraction of the LV's length"),
    "width_deg": (1, 3600, "it is an angle in degrees; 720 and more is all around"),
    "width_level": (0.01, 100, "it is a fraction of the LV's length; 9 and more is all of it"),
    "thickness": (0.05, 5, "it is a factor on wall thickness"),
    "contraction": (-2, 3, "it is a factor; 0 is akinetic, below it dyskinetic"),
}
_LIMITS = {
    "lv_edv_ml": (5, 800, "give the clinical LV end-diastolic volume in millilitres"),
    "lv_mass_g": (5, 700, "give the clinical LV mass in grams"),
    "rv_edv_ml": (5, 800, "give the RV end-diastolic volume in millilitres"),
    "lv_length_mm": (20, 160, "give the distance from the annulus plane to the endocardial apex"),
    "lv_profile_power": (1.2, 6, "2 is an ellipse"),
    "lv_waist": (0, 0.6, "it is a fraction of the LV's length"),
    "basal_narrowing": (-0.3, 0.5, "it is a fraction of the LV's radius"),
    "cross_section": (-0.3, 0.3, "they are fractions of the LV's radius"),
    "irregularity": (0, 4, "1 is a heart as uneven as others"),
    "septal_flattening": (-0.2, 0.6, "it is a fraction of the LV's radius"),
    "apical_thinning": (0.1, 2, "it is the apex's thickness over the mean one"),
    "bend_mm": (-40, 40, "it is an offset of the apex in millimetres"),
    "longitudinal_shortening": (0, 0.35, "it is a fraction of the end-diastolic length"),
    "torsion_deg": (-45, 45, "it is an angle in degrees; hearts twist by 5 to 20"),
    "basal_thickening": (-0.6, 0.6, "it is a fraction of the mean thickness"),
    "trabecular_mass_fraction": (0, 1, "it is a fraction of the compact mass"),
    "contour_share": (0, 1, "it is a share of the trabeculated layer"),
    "trabecular_muscle_fraction": (0.2, 0.6, "the layer is denser than that at end systole only"),
    "trabecular_coarseness": (0, 1, "it is a share of the trabeculae"),
    "papillary_radius_mm": (0, 15, "it is in millimetres; 3 to 6 is usual"),
    "papillary_angles_deg": (-360, 360, "0 is lateral, 90 anterior"),
    "papillary_levels": (-0.3, 1.3, "they are fractions of the LV's length"),
    "papillary_heads": (1, 6, "give the number of heads of each muscle"),
    "tricuspid_offset_mm": (0, 25, "it is in millimetres of the long axis; 1 to 9 is usual"),
    "rv_descent_mm": (0, 40, "it is in millimetres of the long axis"),
    "rv_wall_mm": (0.5, 15, "it is in millimetres; 2 to 5 is usual"),
    "rv_apex_level": (0.3, 1.05, "it is a fraction of the LV's length"),
    "rv_half_angle_deg": (25, 85, "it is half of the angle between the insertions"),
    "rv_triangularity": (-0.3, 0.3, "they are fractions of the RV's radius"),
    "rv_sag_deg": (-60, 60, "it is an angle in degrees; hearts lie at -22 to 10"),
    "rv_lean_deg": (-60, 60, "it is an angle in degrees; hearts lean by 6 to 34"),
    "rv_outflow_radius_mm": (3, 40, "it is in millimetres; 12 to 17 is usual"),
    "rv_outflow_labelled_mm": (0, 60, "it is a distance above the annulus in millimetres"),
    "rv_trabeculation": (0, 1, "0.12 to 0.68 is usual"),
    "aortic_radius_mm": (2, 30, "it is in millimetres; 9 to 14 is usual"),
    "notch_mm": (0, 60, "it is a depth in millimetres"),
    "notch_width_deg": (5, 90, "it is an angle in degrees"),
    "atrial_scale": (0.2, 4, "1 is of usual size"),
    "fat_mm": (0, 10, "0.4 to 5 is usual"),
    "pericardial_fluid_mm": (0, 15, "it is a mean thickness in millimetres"),
    "heart_rate_bpm": (25, 220, "give beats per minute"),
    "systole_fraction": (0.15, 0.65, "it is a share of the cycle"),
    "filling_fraction": (0.1, 1, "it is a share of the stroke volume"),
}
"""Smallest and largest value of each parameter, or of each of its elements, and what it is."""


@dataclass(frozen=True)
class HeartParameters:
    """One heart. Volumes are the clinical ones (papillary muscles and trabeculae count as blood), at ED unless named.

    Attributes
    ----------
    lv_edv_ml, lv_esv_ml, rv_edv_ml, rv_esv_ml
        Clinical volumes.
    lv_mass_g
        Clinical LV mass at end diastole, within the contours that readers draw; muscle goes on for a millimetre beyond
        them (`left_side.EPICARDIAL_RIM_MM`).
    lv_length_mm
        Annulus plane to endocardial apex.
    lv_profile_power
        Exponent of the long-axis profile: 2 an ellipse, larger blunter (more spherical).
    lv_waist
        Level (fraction of the length) at which the LV is widest.
    basal_narrowing
        Loss of radius from the waist to the annulus plane, as a fraction.
    cross_section
        Cosine and sine amplitudes of the 2nd and 3rd harmonics of the endocardial radius (c2, s2, c3, s3).
    irregularity
        Strength of the smooth random unevenness of the endocardium (1 is 3.5 % of its radius), of wall thickness (19 %)
        and of the trabeculated layer (45 %, in folds).
    septal_flattening
        Fraction by which the septum is pressed in at end diastole (RV overload).
    apical_thinning
        Thickness of the apical tip over mean thickness.
    bend_mm
        Sideways offset (x, y) of the apex from a straight long axis.
    longitudinal_shortening
        1 - length at ES / length at ED.
    torsion_deg
        Twist of the apex against the base at ES, counter-clockwise seen from the apex.
    basal_thickening
        How much thicker than the mean the wall is at the base, falling evenly to as much thinner at the apex.
    trabecular_mass_fraction
        Trabecular muscle over compact LV mass.
    contour_share
        Share of the compacted trabeculated layer that readers leave outside the pool at ES (at ED all of it is inside);
        clinical mass grows by this share of the trabecular muscle.
    trabecular_muscle_fraction
        Share of muscle in the trabeculated layer at ED.
    trabecular_coarseness
        How much of the LV's trabeculated layer is in bundles wide enough to be seen (0 to 1); the rest is finer than
        voxels.
    papillary_radius_mm, papillary_angles_deg, papillary_levels, papillary_heads
        Of the anterolateral and the posteromedial papillary muscle: radius, angle, (from, to) levels, heads each.
    tricuspid_offset_mm
        By how much nearer to the apex the tricuspid annulus lies than the mitral one at end diastole.
    rv_descent_mm
        By how much more than the mitral annulus the tricuspid annulus descends until ES, in material levels.
    rv_wall_mm
        RV free wall thickness.
    rv_apex_level, rv_half_angle_deg, rv_triangularity, rv_sag_deg, rv_lean_deg
        Where the RV ends (fraction of LV length), half of the angle between the insertions at mid level, third
        harmonic of its outline (cosine, sine), rotation of the RV around the LV axis, and by how much its long axis
        leans away from the septum, so that the inferior part is the deeper one.
    rv_outflow_radius_mm, rv_outflow_labelled_mm, rv_trabeculation
        Radius of the outflow tract; how far above the tricuspid annulus readers count it as RV; scale of the RV's
        trabeculae: at end diastole 0.8 of it is the share of muscle in the trabeculated layer at the base, 0.55 of it
        at the apex, and a quarter of it in the bands that cross the chamber.
    aortic_radius_mm, notch_mm, notch_width_deg
        Radius of the aortic annulus; how deep and how wide the wall gives way to the outflow tract at the base.
    atrial_scale
        Factor on the size of both atria.
    fat_mm
        Scale of the epicardial fat: pads of about twice it, next to none between them, two thirds of it in the groove.
    pericardial_fluid_mm
        Mean thickness of the pericardial fluid, which pools beside the inferolateral wall.
    heart_rate_bpm, systole_fraction
        Heart rate, and share of the cycle from the R wave to end systole.
    filling_fraction
        Share of the stroke volume that has come back before the atrial kick.
    patches
        Regions of abnormal wall.
    seed
        Seed of everything irregular: walls, trabeculae, papillary heads, atria, fat and its vessels, pericardium.
    """

    lv_edv_ml: float = 140.0
    lv_esv_ml: float = 52.0
    lv_mass_g: float = 100.0
    rv_edv_ml: float = 155.0
    rv_esv_ml: float = 68.0
    lv_length_mm: float = 84.0
    lv_profile_power: float = 2.15
    lv_waist: float = 0.18
    basal_narrowing: float = 0.06
    cross_section: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    irregularity: float = 1.0
    septal_flattening: float = 0.03
    apical_thinning: float = 0.55
    bend_mm: tuple[float, float] = (0.0, 0.0)
    longitudinal_shortening: float = 0.16
    torsion_deg: float = 11.0
    basal_thickening: float = 0.18
    trabecular_mass_fraction: float = 0.26
    contour_share: float = 0.27
    trabecular_muscle_fraction: float = 0.4
    trabecular_coarseness: float = 0.4
    papillary_radius_mm: tuple[float, float] = (4.2, 4.4)
    papillary_angles_deg: tuple[float, float] = (42.0, -80.0)
    papillary_levels: tuple[tuple[float, float], tuple[float, float]] = ((0.30, 0.78), (0.32, 0.80))
    papillary_heads: tuple[int, int] = (1, 2)
    tricuspid_offset_mm: float = 5.0
    rv_descent_mm: float = 6.5
    rv_wall_mm: float = 2.8
    rv_apex_level: float = 0.94
    rv_half_angle_deg: float = 58.0
    rv_triangularity: tuple[float, float] = (-0.02, -0.04)
    rv_sag_deg: float = -8.0
    rv_lean_deg: float = 20.0
    rv_outflow_radius_mm: float = 14.0
    rv_outflow_labelled_mm: float = 0.0
    rv_trabeculation: float = 0.35
    aortic_radius_mm: float = 11.5
    notch_mm: float = 10.0
    notch_width_deg: float = 34.0
    atrial_scale: float = 1.0
    fat_mm: float = 1.4
    pericardial_fluid_mm: float = 0.5
    heart_rate_bpm: float = 66.0
    systole_fraction: float = 0.36
    filling_fraction: float = 0.75
    patches: tuple[WallPatch, ...] = field(default=())
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("papillary_radius_mm", "papillary_angles_deg", "papillary_levels", "papillary_heads"):
            if (_shape(getattr(self, name)) or ())[:1] != (2,):
                raise InputError(f"{name} is {getattr(self, name)}; give one for each of the two papillary muscles")
        for name, limits in _LIMITS.items():
            given, shape = getattr(self, name), np.shape(getattr(type(self), name))
            if _shape(given) != shape:
                wanted = f"{' x '.join(map(str, shape))} numbers" if shape else "one number"
                raise InputError(f"{name} is {given}; give {wanted}: {limits[2]}")
            for value in _leaves(given):
                _within(name, value, limits)
        if not all(isinstance(patch, WallPatch) for patch in _leaves(self.patches)):
            raise InputError(f"patches are {self.patches}; give WallPatch objects")
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise InputError(f"seed is {self.seed}; give a whole number, 0 or above")
        for start, end in self.papillary_levels:
            if not start < end:
                raise InputError(f"papillary_levels run from {start:g} to {end:g}; the first lies nearer the base")
        if not all(isinstance(heads, int | np.integer) for heads in self.papillary_heads):
            raise InputError(f"papillary_heads is {self.papillary_heads}; give whole numbers")
        for name, edv, esv in (
            ("LV", self.lv_edv_ml, self.lv_esv_ml),
            ("RV", self.rv_edv_ml, self.rv_esv_ml),
        ):
            if not isinstance(esv, _NUMBER):
                raise InputError(f"{name} ESV is {esv!r}; give one number, in millilitres")
            if not esv < edv:
                raise InputError(f"{name} ESV {esv:g} ml is not below its EDV {edv:g} ml: lower it or raise the EDV")
            if not esv > 0.05 * edv:
                raise InputError(
                    f"{name} ESV {esv:g} ml leaves under 5 % of its EDV {edv:g} ml: raise it, no heart empties so"
                )

    @property
    def base_scale(self) -> float:
        """Size of what lies above the valve plane relative to an adult's: small hearts have short great vessels."""
        return min(1.0, self.lv_length_mm / 80.0)

    @property
    def cycle_ms(self) -> float:
        """R-R interval in ms."""
        return 60000.0 / self.heart_rate_bpm


_NUMBER = int | float | np.integer | np.floating


def _leaves(value: Any) -> list[Any]:
    """What a nest of tuples, lists and arrays holds, each as it was given."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return [leaf for part in value for leaf in _leaves(part)] if isinstance(value, tuple | list) else [value]


def _shape(value: Any) -> tuple[int, ...] | None:
    """Of numbers and regular nests of them; None for what NumPy makes no array of."""
    try:
        return np.shape(value)
    except ValueError:
        return None


def _within(name: str, value: Any, limits: tuple[float, float, str]) -> None:
    low, high, meaning = limits
    if not isinstance(value, _NUMBER) or isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; it must be a number between {low:g} and {high:g}: {meaning}")
    # NaN lies between no two numbers.
    if not low <= value <= high:
        raise InputError(f"{name} is {value}; it must lie between {low:g} and {high:g}: {meaning}")
