"""Everything that makes one torso different from another, as plain numbers."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import ndtri

from CMRSimExtension.errors import InputError
from CMRSimExtension.person import parse_sex

Sex = Literal["F", "M"]

# Median height (cm) and BMI (kg/m2) of children by age, rounded from the CDC 2000 growth charts (Kuczmarski et al.,
# Vital Health Stat 2002;11(246); the BMI at 1 year is assumed); boys and girls part company at puberty.
_AGES = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0)
_HEIGHTS = {
    "M": (75.0, 87.0, 102.0, 116.0, 128.0, 139.0, 149.0, 164.0, 173.5, 176.0, 176.5),
    "F": (74.0, 86.0, 101.0, 115.0, 128.0, 138.0, 151.0, 160.0, 162.5, 163.0, 163.3),
}
_BMIS = (17.0, 16.5, 15.6, 15.5, 15.9, 16.7, 17.9, 19.2, 20.5, 21.5, 22.5)
_ADULT_AGE = 18.0


@dataclass(frozen=True)
class TorsoParameters:
    """One torso. Lengths are in mm and belong to this subject (nothing is scaled again by body size).

    Attributes
    ----------
    sex, age_years, height_cm, weight_kg
        Of the person.
    chest_half_width_mm, chest_half_depth_mm
        Half axes of the thoracic cavity (inside the ribs) at heart level.
    chest_squareness
        Exponent of the cavity's superelliptic cross-section: 2 an ellipse, larger boxier.
    body_scale
        Skeletal size relative to a man of 176 cm.
    subcutaneous_fat_mm
        Mean thickness over the trunk.
    visceral_fat
        0 (organs touch) to 1 (organs float in fat).
    paracardial_fat
        Fat on the pericardium, over what is usual in people of this visceral fat.
    muscle_mm
        Thickness of the chest wall muscle outside the ribs, lateral.
    breast_mm
        Height of the breast above the fat around it; 0 for none.
    breast_glandular
        Share of glandular tissue in the breast.
    heart_left_mm
        Distance of the heart's centre from the midline, to the left.
    right_dome_mm, left_dome_mm
        Height of the tops of the diaphragm above the lowest point of the heart, end expiration.
    rib_spacing_mm, vertebra_mm
        Distances along the spine between ribs and between vertebrae.
    kyphosis_mm, scoliosis_mm
        Amplitudes of the bends of the spine.
    aorta_mm
        Diameter of the descending aorta.
    liver_span_mm, liver_left_mm
        Craniocaudal length of the right lobe; how far the left lobe reaches to the left of the midline.
    stomach_fill, stomach_air, stomach_food
        Filling (0 collapsed, 1 full) and the shares of air and solid food in the contents.
    spleen_mm, kidney_mm
        Lengths.
    bowel_gas
        Share of the bowel's content that is gas.
    lung_vessel_scale
        Factor on the calibre of the lung vessels.
    arms
        Whether the arms lie beside the body.
    diaphragm_excursion_mm, chest_expansion_mm
        Respiratory displacement, end expiration to end inspiration: of the diaphragm downwards, of the anterior chest
        wall forwards.
    """

    sex: Sex
    age_years: float
    height_cm: float
    weight_kg: float
    chest_half_width_mm: float = 132.0
    chest_half_depth_mm: float = 80.0
    chest_squareness: float = 2.4
    body_scale: float = 1.0
    subcutaneous_fat_mm: float = 12.0
    visceral_fat: float = 0.4
    muscle_mm: float = 14.0
    breast_mm: float = 0.0
    breast_glandular: float = 0.3
    heart_left_mm: float = 25.0
    right_dome_mm: float = 32.0
    left_dome_mm: float = 18.0
    rib_spacing_mm: float = 26.0
    vertebra_mm: float = 26.0
    kyphosis_mm: float = 8.0
    scoliosis_mm: float = 0.0
    aorta_mm: float = 24.0
    liver_span_mm: float = 150.0
    liver_left_mm: float = 65.0
    stomach_fill: float = 0.5
    stomach_air: float = 0.2
    stomach_food: float = 0.4
    spleen_mm: float = 105.0
    kidney_mm: float = 108.0
    bowel_gas: float = 0.25
    lung_vessel_scale: float = 1.0
    arms: bool = True
    diaphragm_excursion_mm: float = 14.0
    chest_expansion_mm: float = 4.0
    paracardial_fat: float = 1.0

    def __post_init__(self) -> None:
        if self.sex not in ("F", "M"):
            raise InputError(f"sex is {self.sex!r}; it must be 'F' or 'M'")
        for name, low, high in (
            ("age_years", 0.5, 110.0),
            ("height_cm", 60.0, 230.0),
            ("weight_kg", 5.0, 250.0),
            ("chest_half_width_mm", 40.0, 200.0),
            ("chest_half_depth_mm", 25.0, 140.0),
            ("chest_squareness", 1.8, 4.0),
            ("heart_left_mm", -40.0, 100.0),
            ("body_scale", 0.3, 1.4),
            ("subcutaneous_fat_mm", 1.0, 90.0),
            ("visceral_fat", 0.0, 1.0),
            ("paracardial_fat", 0.1, 6.0),
            ("muscle_mm", 2.0, 50.0),
            ("breast_mm", 0.0, 120.0),
            ("stomach_fill", 0.0, 1.0),
            ("stomach_air", 0.0, 1.0),
            ("stomach_food", 0.0, 1.0),
            ("bowel_gas", 0.0, 1.0),
            ("diaphragm_excursion_mm", 0.0, 40.0),
            ("chest_expansion_mm", 0.0, 20.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:  # also catches NaN
                raise InputError(f"{name} is {value}; it must lie between {low} and {high}")
        if not 10.0 <= self.bmi <= 70.0:
            raise InputError(
                f"height {self.height_cm} cm and weight {self.weight_kg} kg give a body mass index of {self.bmi:.1f}, "
                "outside 10 to 70 kg/m2; change one of them"
            )

    @property
    def bmi(self) -> float:
        """Body mass index in kg/m2."""
        return self.weight_kg / (self.height_cm / 100.0) ** 2

    @property
    def body_surface_area_m2(self) -> float:
        """Mosteller, N Engl J Med 1987;317:1098."""
        return math.sqrt(self.height_cm * self.weight_kg / 3600.0)

    @property
    def adult(self) -> bool:
        return self.age_years >= _ADULT_AGE

    def as_dict(self) -> dict[str, Any]:
        """Every value by name; ``TorsoParameters(**d)`` builds the same torso again."""
        return asdict(self)

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        *,
        sex: str | None = None,
        age_years: float | None = None,
        height_cm: float | None = None,
        weight_kg: float | None = None,
        chest_half_width_mm: float | None = None,
        chest_half_depth_mm: float | None = None,
        heart_left_mm: float | None = None,
    ) -> "TorsoParameters":
        """Draw a plausible torso; what is given is kept.

        Sources: adult height and BMI chosen for Europeans of 20 to 75 years (the older ones of UK Biobank are heavier:
        Fry et al., Am J Epidemiol 2017;186:1026); children as above; body fat from BMI, age and sex (Deurenberg et al.,
        Br J Nutr 1991;65:105); thoracic sizes after Bellemare et al., Am J Respir Crit Care Med 2003;168:305; liver
        span near 15.0 +- 1.5 cm in the midclavicular line (Patzak et al., J Clin Ultrasound 2014, doi
        10.1002/jcu.22151); spleen near 10.7 +- 1.6 cm (Hosey et al., Br J Sports Med 2006;40:251); kidney 11 cm
        (Emamian et al., AJR 1993;160:83); descending aorta (Wolak et al., JACC Cardiovasc Imaging 2008;1:200); quiet
        breathing 18 +- 3 mm in men, 16 +- 3 mm in women (Boussuges et al., Chest 2009;135:391), less at the end
        expiration hold that cines are acquired in; fat on the pericardium, whose volume spreads by about half of its
        mean (thoracic fat 177 +- 80 ml, of which 85 +- 38 ml within the pericardium: Cheng et al., JACC Cardiovasc
        Imaging 2010;3:352).
        """
        # Every draw happens whether or not it is used, so one given value does not change all the others.
        drawn_sex = "F" if rng.random() < 0.5 else "M"
        drawn_age = float(rng.uniform(20.0, 75.0))
        z = rng.standard_normal(24)
        u = rng.random(10)
        the_sex = parse_sex(sex if sex is not None else drawn_sex)
        age = float(drawn_age if age_years is None else age_years)
        if not 0.5 <= age <= 110.0:
            raise InputError(f"age_years is {age}; it must lie between 0.5 and 110")
        male = the_sex == "M"
        if age >= _ADULT_AGE:
            height = (176.5 if male else 163.3) + (6.8 if male else 6.3) * z[0] - 0.05 * max(age - 40.0, 0.0)
            bmi = math.exp(math.log(26.3 if male else 25.6) + (0.14 if male else 0.17) * z[1])
        else:
            height = float(np.interp(age, _AGES, _HEIGHTS[the_sex])) * (1.0 + 0.043 * z[0])
            bmi = float(np.interp(age, _AGES, _BMIS)) * math.exp(0.11 * z[1] + 0.02 * z[1] ** 2)
        height = float(height if height_cm is None else height_cm)
        if not 60.0 <= height <= 230.0:
            raise InputError(f"height_cm is {height}; it must lie between 60 and 230")
        weight = float(bmi * (height / 100.0) ** 2 if weight_kg is None else weight_kg)
        bmi = weight / (height / 100.0) ** 2

        grown = min(age / _ADULT_AGE, 1.0)
        adult = age >= _ADULT_AGE
        # Small children have relatively wide and deep chests: the exponent is below 1.
        scale = (height / 176.0) ** 0.92
        slope, per_year, of_men, offset = (1.20, 0.23, 10.8, -5.4) if age > 15.0 else (1.51, -0.70, 3.6, 1.4)
        fat_percent = float(np.clip(slope * bmi + per_year * age - of_men * male + offset + 3.0 * z[2], 6.0, 60.0))
        area = math.sqrt(height * weight / 3600.0)
        # Nine tenths of fat lie under the skin in lean women, less in men and with age, and the trunk carries about 1.5
        # times the mean thickness; density 0.92 g/ml.
        visceral_share = float(np.clip(0.10 + 0.08 * male + 0.0015 * max(age - 30.0, 0.0) + 0.02 * z[3], 0.04, 0.35))
        fat_mm = 1.35 * (1.0 - visceral_share) * fat_percent / 100.0 * weight / 0.92 / area
        heavy = math.log(max(bmi, 10.0) / 24.0)
        thorax = scale * (1.0 if male else 0.955)
        half_width = thorax * (133.0 + 8.0 * z[5] + 16.0 * heavy)
        half_depth = thorax * (82.0 + 7.0 * z[6] + 22.0 * heavy + 0.10 * max(age - 40.0, 0.0) * adult)
        heart_left = scale * (24.0 + 7.0 * z[11])
        breast = 0.0
        if not male and age > 11.0:
            breast = min((age - 11.0) / 5.0, 1.0) * float(np.clip(24.0 + 55.0 * heavy + 9.0 * z[4], 6.0, 70.0))
        elif male and fat_percent > 28.0:
            breast = 0.6 * (fat_percent - 28.0)
        return cls(
            sex=the_sex,
            age_years=age,
            height_cm=height,
            weight_kg=weight,
            chest_half_width_mm=half_width if chest_half_width_mm is None else float(chest_half_width_mm),
            chest_half_depth_mm=half_depth if chest_half_depth_mm is None else float(chest_half_depth_mm),
            chest_squareness=float(np.clip(2.45 + 0.20 * z[7], 2.05, 3.0)),
            body_scale=scale,
            subcutaneous_fat_mm=float(np.clip(fat_mm, 2.5, 80.0)),
            visceral_fat=float(np.clip(-0.04 + 2.1 * visceral_share * fat_percent / 30.0 + 0.07 * z[8], 0.02, 1.0)),
            muscle_mm=float(np.clip(scale * (15.5 if male else 11.0) * math.exp(0.15 * z[9] + 0.3 * heavy), 3.0, 40.0)),
            breast_mm=float(breast),
            breast_glandular=float(np.clip(0.45 - 0.005 * (age - 30.0) + 0.12 * z[10], 0.05, 0.8)),
            heart_left_mm=heart_left if heart_left_mm is None else float(heart_left_mm),
            right_dome_mm=scale * float(np.clip(50.0 + 11.0 * z[12] + 8.0 * heavy, 15.0, 80.0)),
            left_dome_mm=scale * float(np.clip(66.0 + 22.0 * z[13] + 6.0 * heavy, 5.0, 110.0)),
            rib_spacing_mm=scale * (27.0 + 1.2 * z[14]),
            vertebra_mm=scale * (26.0 + 1.0 * z[14]),
            kyphosis_mm=scale * float(np.clip(9.0 + 4.0 * z[15] + 0.1 * max(age - 50.0, 0.0), 0.0, 25.0)),
            scoliosis_mm=scale * 2.5 * z[16],
            aorta_mm=(scale**0.8) * ((24.5 if male else 22.0) + 1.8 * z[17] + 0.07 * max(age - 45.0, -25.0) * adult),
            liver_span_mm=scale * float(np.clip(152.0 + 14.0 * z[18] + 20.0 * heavy, 110.0, 210.0)),
            liver_left_mm=scale * float(np.clip(82.0 + 24.0 * z[19], 20.0, 130.0)),
            stomach_fill=float(u[0] ** 1.8),
            stomach_air=float(0.45 * u[1] ** 2.2),
            # In most cines the stomach holds a mash, in few clear fluid.
            stomach_food=float(np.clip(1.5 * u[2] + 0.15, 0.0, 1.0)),
            spleen_mm=(scale**0.8) * float(np.clip(108.0 + 13.0 * z[20], 75.0, 150.0)),
            kidney_mm=(scale**0.7) * float(np.clip((112.0 if male else 106.0) + 7.0 * z[21], 85.0, 135.0)),
            bowel_gas=float(0.05 + 0.4 * u[3] ** 1.5),
            lung_vessel_scale=float(np.clip(1.0 + 0.10 * z[22], 0.7, 1.35)) * (0.6 + 0.4 * grown),
            arms=bool(u[4] < 0.85),
            diaphragm_excursion_mm=float(scale * np.clip((15.0 if male else 13.5) + 2.5 * z[23], 8.0, 22.0)),
            chest_expansion_mm=float(scale * (2.0 + 4.0 * u[5])),
            paracardial_fat=float(np.exp(0.5 * ndtri(np.clip(u[6], 0.01, 0.99)))),
        )
