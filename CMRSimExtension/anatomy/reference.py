"""Published ranges of the heart in health and disease, and hearts drawn from them."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from CMRSimExtension.anatomy.heart.parameters import HeartParameters, WallPatch
from CMRSimExtension.errors import InputError

Pathology = Literal["normal", "dcm", "hcm", "minf", "rv", "dmd"]
PATHOLOGIES: tuple[str, ...] = get_args(Pathology)


@dataclass(frozen=True)
class Range:
    """Mean and standard deviation."""

    mean: float
    sd: float

    def at(self, z: float) -> float:
        """The value `z` standard deviations above the mean."""
        return self.mean + self.sd * z


@dataclass(frozen=True)
class GroupRanges:
    """Ranges of one group of people, indexed to body surface area (ml/m2, g/m2) where the name says so.

    `length_factor` is the length of the LV over the cube root of its EDV (mm per ml^(1/3)); `mass_growth` is by how
    much readers' LV mass grows from end diastole to end systole; `ventricles_correlation` is that of the two EDVs.
    `rv_stroke` is the natural logarithm of the RV's stroke volume over the LV's; with the RV's size it gives the RV's
    ejection fraction, which `rv_ef_percent` limits.
    """

    lv_edv_index: Range
    lv_ef_percent: Range
    lv_mass_index: Range
    rv_edv_index: Range
    rv_ef_percent: Range
    length_factor: Range
    shortening: Range
    profile_power: Range
    mass_growth: Range
    heart_rate: Range
    rv_stroke: Range = Range(0.0, 0.04)
    ventricles_correlation: float = 0.75


# Healthy adults: volumes near Petersen et al., J Cardiovasc Magn Reson 2017;19:18 (UK Biobank, 1.5 T, 800 people aged
# 45 to 74). Ejection fraction and mass are drawn 2 to 5 units above the paper's (see `PUBLISHED_ADULTS`), so that the
# strain of the wall's middle is physiological. Long-axis shortening: near Riffel et al., J Cardiovasc Magn Reson
# 2015;17:69 (17.1 +- 2.3 % in 234 healthy people), by sex as the longitudinal strain of Lim et al., Eur Radiol
# 2021;31:3962 (16.6 % in men, 17.4 % in women); the spread here is smaller.
# Length, profile and growth of mass: fitted to manual contours of short-axis cines (60 people of ACDC: Bernard et al.,
# IEEE Trans Med Imaging 2018;37:2514), as are the groups of patients but dmd.
_NORMAL_MEN = GroupRanges(
    Range(84, 13), Range(61, 4.5), Range(56, 8.0), Range(92, 15), Range(54, 5), Range(15.9, 0.8), Range(0.165, 0.012),
    Range(2.15, 0.2), Range(0.085, 0.02), Range(65, 10),
)  # fmt: skip
_NORMAL_WOMEN = GroupRanges(
    Range(75, 11), Range(63, 4.5), Range(47, 7.0), Range(79, 12), Range(57, 5), Range(15.9, 0.8), Range(0.170, 0.012),
    Range(2.15, 0.2), Range(0.085, 0.02), Range(68, 10),
)  # fmt: skip
# Children: volumes and mass near those of Buechel et al., J Cardiovasc Magn Reson 2009;11:19 at a body surface of 1.1
# m2, both sexes together (their indices grow with body surface); ejection fractions and spreads are assumed.
_NORMAL_CHILDREN = GroupRanges(
    Range(76, 11), Range(63, 4.5), Range(48, 8), Range(82, 13), Range(61, 5), Range(15.9, 0.8), Range(0.170, 0.012),
    Range(2.15, 0.2), Range(0.10, 0.02), Range(85, 12),
)  # fmt: skip
# What one ventricle ejects the other must, but for what leaks back through its own valve: the mitral valve of dilated,
# obstructed and infarcted hearts, the tricuspid valve where the right ventricle fails (by how much is assumed). In
# readers' volumes of ACDC the ratio scatters far more, by 0.15 of its logarithm in healthy people and 0.6 in patients.
_PATIENTS: dict[str, GroupRanges] = {
    "dcm": GroupRanges(
        Range(146, 20), Range(19, 6), Range(94, 14), Range(88, 32), Range(36, 11), Range(13.7, 0.6), Range(0.055, 0.02),
        Range(2.45, 0.2), Range(0.065, 0.02), Range(78, 12), rv_stroke=Range(-0.06, 0.10),
    ),
    "hcm": GroupRanges(
        Range(67, 16), Range(69, 7), Range(96, 24), Range(62, 17), Range(61, 7), Range(16.7, 1.2), Range(0.130, 0.025),
        Range(2.2, 0.3), Range(0.11, 0.025), Range(65, 10), rv_stroke=Range(-0.10, 0.08),
    ),
    "minf": GroupRanges(
        Range(92, 22), Range(33, 8), Range(64, 11), Range(63, 18), Range(54, 10), Range(13.6, 0.9), Range(0.080, 0.02),
        Range(2.4, 0.3), Range(0.12, 0.03), Range(70, 11), rv_stroke=Range(-0.03, 0.06),
    ),
    "rv": GroupRanges(
        Range(60, 20), Range(55, 8), Range(41, 10), Range(107, 25), Range(30, 13), Range(14.4, 0.9),
        Range(0.130, 0.025), Range(2.15, 0.25), Range(0.13, 0.03), Range(75, 12), rv_stroke=Range(0.12, 0.20),
        ventricles_correlation=0.1,
    ),
    # Duchenne: assumed; strain falls before the ejection fraction does, which is below 55 % in older patients (Hor et
    # al., J Am Coll Cardiol 2009;53:1204).
    "dmd": GroupRanges(
        Range(72, 14), Range(55, 8), Range(43, 9), Range(68, 13), Range(55, 7), Range(15.6, 0.8), Range(0.125, 0.025),
        Range(2.6, 0.3), Range(0.12, 0.03), Range(98, 14),
    ),
}  # fmt: skip

ADULT_YEARS = 17.0
"""Age from which hearts are drawn and judged as those of adults."""

PUBLISHED_ADULTS: dict[str, dict[str, Range]] = {
    "M": {
        "lv_edv_ml_per_m2": Range(85, 15), "lv_ef_percent": Range(58, 5), "lv_mass_g_per_m2": Range(53, 9),
        "rv_edv_ml_per_m2": Range(93, 17), "rv_ef_percent": Range(54, 6),
    },
    "F": {
        "lv_edv_ml_per_m2": Range(74, 12), "lv_ef_percent": Range(61, 5), "lv_mass_g_per_m2": Range(42, 7),
        "rv_edv_ml_per_m2": Range(77, 13), "rv_ef_percent": Range(58, 6),
    },
}  # fmt: skip
"""What healthy men and women of 45 to 74 years were found to have, papillary muscles counted as blood: Petersen et al.,
J Cardiovasc Magn Reson 2017;19:18."""

_RV_EF_SDS = 2.5
"""By how many SD of its group a right ventricle's ejection fraction may differ from the mean."""

_EDV_INDEX = (15.0, 350.0)
"""ml/m2: from the smallest hypoplastic to the largest dilated left ventricles."""


def ranges_for(pathology: str, sex: str, age_years: float) -> GroupRanges:
    """Ranges of a group.

    Raises
    ------
    InputError
        If the pathology is unknown.
    """
    if pathology not in PATHOLOGIES:
        raise InputError(f"pathology is {pathology!r}; choose one of {', '.join(PATHOLOGIES)}")
    if pathology != "normal":
        return _PATIENTS[pathology]
    if age_years < ADULT_YEARS:
        return _NORMAL_CHILDREN
    return _NORMAL_MEN if sex == "M" else _NORMAL_WOMEN


def draw_heart(
    rng: np.random.Generator,
    *,
    sex: str,
    age_years: float,
    body_surface_area_m2: float,
    pathology: str = "normal",
    lv_edv_ml: float | None = None,
    lv_esv_ml: float | None = None,
    lv_mass_g: float | None = None,
) -> HeartParameters:
    """Draw a heart for a body; what is given is kept.

    Volumes, mass and function are correlated: big hearts of a group are heavy and belong to big right ventricles
    (r = 0.7 to 0.75, assumed), dilated ones eject less, and both ventricles eject the same but for what leaks back.
    Where the right ventricle fails (group rv) its size says little of the left one's, which it may exceed several times
    over, as in ACDC.

    Raises
    ------
    InputError
        For an unknown pathology, or when the values given contradict each other.
    """
    group = ranges_for(pathology, sex, age_years)
    # Every draw happens whether or not it is used, so one given value does not change all the others.
    z = np.clip(rng.standard_normal(48), -2.2, 2.2)
    u = rng.random(32)
    area = body_surface_area_m2
    edv = max(group.lv_edv_index.at(z[0]), 25.0) * area if lv_edv_ml is None else float(lv_edv_ml)
    if not _EDV_INDEX[0] <= edv / area <= _EDV_INDEX[1]:
        raise InputError(
            f"the LV end-diastolic volume is {edv:g} ml, which is {edv / area:.0f} ml/m2 of a body of {area:.2f} m2; "
            f"human hearts have {_EDV_INDEX[0]:g} to {_EDV_INDEX[1]:g} ml/m2: change the volume or the body"
        )
    drawn_ef = group.lv_ef_percent.at(-0.25 * z[0] + 0.97 * z[1])
    ef = float(np.clip(drawn_ef, 8.0, 84.0))
    if lv_esv_ml is None:
        esv = edv * (1.0 - ef / 100.0)
    else:
        esv = float(lv_esv_ml)
        ef = 100.0 * (1.0 - esv / edv)
    mass = max(group.lv_mass_index.at(0.7 * z[0] + 0.71 * z[2]), 18.0) * area if lv_mass_g is None else float(lv_mass_g)
    joint = group.ventricles_correlation
    drawn_rv_edv = max(group.rv_edv_index.at(joint * z[0] + (1.0 - joint**2) ** 0.5 * z[3]), 28.0) * area
    rv_edv, rv_ef = _right_ventricle(group, drawn_rv_edv, (edv - esv) * float(np.exp(group.rv_stroke.at(z[4]))))
    # Shortening goes with ejection: an asked-for EF far from the group's brings its own.
    shortening = group.shortening.at(0.4 * z[1] + 0.9 * z[5]) * np.clip(ef / max(drawn_ef, 5.0), 0.4, 1.25)
    size = (edv / 140.0) ** (1.0 / 3.0)
    heart_rate = float(np.clip(group.heart_rate.at(z[6]), 42.0, 150.0))
    systole_ms = 330.0 - 0.9 * (heart_rate - 65.0)
    heart = HeartParameters(
        lv_edv_ml=edv,
        lv_esv_ml=esv,
        lv_mass_g=mass,
        rv_edv_ml=rv_edv,
        rv_esv_ml=rv_edv * (1.0 - rv_ef / 100.0),
        lv_length_mm=float(max(group.length_factor.at(z[7]), 12.0) * edv ** (1.0 / 3.0)),
        lv_profile_power=float(np.clip(group.profile_power.at(z[8]), 1.9, 4.0)),
        lv_waist=float(np.clip(0.20 + 0.06 * z[9], 0.05, 0.4)),
        basal_narrowing=float(np.clip(0.04 + 0.035 * z[10], 0.0, 0.2)),
        cross_section=(0.035 * z[11], 0.035 * z[12], 0.015 * z[13], 0.015 * z[14]),
        septal_flattening=float(np.clip(0.03 + 0.02 * z[15], 0.0, 0.1)),
        apical_thinning=float(np.clip(0.55 + 0.12 * z[16], 0.3, 0.9)),
        bend_mm=(3.0 * size * z[17], 3.0 * size * z[18]),
        longitudinal_shortening=float(np.clip(shortening, 0.01, 0.26)),
        torsion_deg=float(np.clip(11.0 + 3.0 * z[19], 1.0, 22.0) * np.clip(ef / 60.0, 0.1, 1.2)),
        basal_thickening=float(np.clip(0.18 + 0.06 * z[45], 0.0, 0.35)),
        trabecular_mass_fraction=float(np.clip(group.mass_growth.at(z[20]) / 0.35, 0.06, 0.45)),
        trabecular_muscle_fraction=float(np.clip(0.40 + 0.05 * z[21], 0.3, 0.55)),
        trabecular_coarseness=float(0.08 + 0.5 * u[4] ** 1.5),
        papillary_radius_mm=(
            float(np.clip(4.6 + 0.7 * z[22], 2.6, 6.6)) * (mass / 100.0) ** (1 / 3),
            float(np.clip(5.0 + 0.7 * z[23], 2.8, 7.0)) * (mass / 100.0) ** (1 / 3),
        ),
        papillary_angles_deg=(40.0 + 14.0 * z[24], -82.0 + 14.0 * z[25]),
        papillary_levels=(
            (0.22 + 0.05 * z[26], 0.80 + 0.05 * z[27]),
            (0.24 + 0.05 * z[28], 0.82 + 0.05 * z[29]),
        ),
        papillary_heads=(1 + int(u[0] < 0.55) + int(u[0] < 0.12), 1 + int(u[1] < 0.75) + int(u[1] < 0.2)),
        rv_wall_mm=float(np.clip(2.6 + 0.4 * z[30], 1.6, 4.0)) * (size if age_years < 17 else 1.0),
        rv_apex_level=float(np.clip(0.91 + 0.07 * z[31], 0.74, 1.02)),
        rv_half_angle_deg=float(np.clip(59.0 + 6.0 * z[32], 43.0, 74.0)),
        rv_triangularity=(-0.02 + 0.03 * z[33], -0.04 + 0.03 * z[34]),
        rv_sag_deg=float(-6.0 + 8.0 * z[35]),
        rv_lean_deg=float(20.0 + 14.0 * (u[2] + u[3] - 1.0)),
        rv_outflow_radius_mm=float(np.clip(13.5 + 1.3 * z[36], 9.0, 18.0)) * size,
        rv_outflow_labelled_mm=float(np.clip(-4.0 + 4.0 * z[46], 0.0, 10.0)) * size,
        tricuspid_offset_mm=float(1.0 + 8.0 * u[5]) * size,
        rv_descent_mm=float(np.clip(7.0 + 3.0 * z[47], 1.0, 16.0) * np.clip(rv_ef / 55.0, 0.2, 1.2)) * size,
        rv_trabeculation=float(np.clip(0.41 + 0.11 * z[37], 0.12, 0.68)),
        aortic_radius_mm=float(np.clip(11.4 + 1.0 * z[38], 8.0, 15.0)) * (size if age_years < 17 else 1.0),
        notch_mm=float(np.clip(9.0 + 3.5 * z[39], 2.0, 18.0)) * size,
        notch_width_deg=float(np.clip(33.0 + 6.0 * z[40], 18.0, 50.0)),
        atrial_scale=float(np.clip(1.0 + 0.09 * z[41], 0.75, 1.4)) * size,
        fat_mm=float(np.clip(1.7 * np.exp(0.6 * z[42]), 0.4, 5.0)) * (0.5 if age_years < 17 else 1.0),
        pericardial_fluid_mm=float(np.clip(0.3 + 0.4 * z[43], 0.0, 2.0)),
        heart_rate_bpm=heart_rate,
        systole_fraction=float(np.clip(systole_ms * heart_rate / 60000.0, 0.25, 0.52)),
        filling_fraction=float(np.clip(0.78 - 0.004 * (age_years - 40.0) + 0.05 * z[44], 0.45, 0.92)),
        seed=int(rng.integers(0, 512)),
    )
    return _with_pathology(heart, pathology, rng)


def _right_ventricle(group: GroupRanges, edv_ml: float, stroke_ml: float) -> tuple[float, float]:
    """EDV, ml, and ejection fraction, %, of a right ventricle that ejects `stroke_ml`.

    It keeps the size drawn for it, `edv_ml`, where that leaves it an ejection fraction of its group, and otherwise
    grows or shrinks towards what does, within limits that only a hardly beating heart meets.
    """
    usual = group.rv_ef_percent
    stroke = max(stroke_ml, 0.0)
    ejection = np.clip(stroke / edv_ml, 0.01 * usual.at(-_RV_EF_SDS), 0.01 * usual.at(_RV_EF_SDS))
    resized = np.clip(stroke / max(float(ejection), 0.08), 0.5 * edv_ml, 2.0 * edv_ml)
    size = max(float(resized), stroke / 0.78)
    return size, 100.0 * stroke / size


def _with_pathology(heart: HeartParameters, pathology: str, rng: np.random.Generator) -> HeartParameters:
    """Regional changes that make the disease."""
    if pathology == "hcm":
        form = rng.choice(["septal", "apical", "concentric"], p=[0.6, 0.2, 0.2])
        boost = float(rng.uniform(1.4, 2.1))
        if form == "septal":
            patch = WallPatch(rng.uniform(130, 190), rng.uniform(0.2, 0.55), rng.uniform(35, 60), 0.3, boost, 0.75)
            return replace(heart, patches=(patch,))
        if form == "apical":
            patch = WallPatch(180.0, 0.95, 90.0, rng.uniform(0.18, 0.3), boost, 0.9)
            return replace(heart, patches=(patch,), apical_thinning=float(rng.uniform(0.9, 1.4)))
        return heart
    if pathology == "minf":
        # Territories of the left anterior descending, right and circumflex arteries (AHA model, Cerqueira et al. 2002).
        angle, level = [(115.0, 0.75), (245.0, 0.4), (330.0, 0.45)][int(rng.choice(3, p=[0.55, 0.3, 0.15]))]
        patch = WallPatch(
            angle + float(rng.normal(0, 15)), level + float(rng.normal(0, 0.1)), float(rng.uniform(35, 70)),
            float(rng.uniform(0.18, 0.32)), float(rng.uniform(0.55, 0.9)), float(rng.uniform(-0.3, 0.25)),
        )  # fmt: skip
        return replace(heart, patches=(patch,))
    if pathology == "rv":
        return replace(
            heart,
            septal_flattening=float(rng.uniform(0.03, 0.16)),
            rv_wall_mm=heart.rv_wall_mm * float(rng.uniform(1.0, 1.9)),
            rv_half_angle_deg=min(heart.rv_half_angle_deg + 6.0, 74.0),
            # Failing right ventricles reach to the apex, and often form it.
            rv_apex_level=min(heart.rv_apex_level + float(rng.uniform(0.0, 0.1)), 1.04),
        )
    if pathology == "dmd":
        # Fibrosis starts in the inferolateral wall.
        patch = WallPatch(315.0, 0.4, 45.0, 0.3, float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.2, 0.9)))
        return replace(heart, patches=(patch,))
    if pathology == "dcm":
        return replace(heart, lv_waist=heart.lv_waist + 0.06, basal_narrowing=heart.basal_narrowing + 0.02)
    return heart
