"""XCAT's organs: how its log and parameter files spell them, their usual numbers, and what they are here."""

import re

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.composition import TISSUE_OF_STRUCTURE
from CMRSimExtension.anatomy.structures import Structure as S
from CMRSimExtension.anatomy.structures import Tissue as T

# name: (usual number, structure, other spellings)
_ORGANS: dict[str, tuple[int, S, tuple[str, ...]]] = {
    "myolv": (1, S.LV_MYOCARDIUM, ("hrt_myolv",)),
    "myorv": (2, S.RV_MYOCARDIUM, ("hrt_myorv",)),
    "myola": (3, S.LA_WALL, ("hrt_myola",)),
    "myora": (4, S.RA_WALL, ("hrt_myora",)),
    "bldpllv": (5, S.LV_BLOOD, ("hrt_bldpllv",)),
    "bldplrv": (6, S.RV_BLOOD, ("hrt_bldplrv",)),
    "bldplla": (7, S.LA_BLOOD, ("hrt_bldplla",)),
    "bldplra": (8, S.RA_BLOOD, ("hrt_bldplra",)),
    "body": (9, S.BODY_FAT, ()),
    "muscle": (10, S.MUSCLE, ()),
    "brain": (11, S.BRAIN, ()),
    "sinus": (12, S.AIRWAY, ()),
    "liver": (13, S.LIVER, ()),
    "gall_bladder": (14, S.GALLBLADDER, ()),
    "r_lung": (15, S.LUNG_RIGHT, ()),
    "l_lung": (16, S.LUNG_LEFT, ()),
    "esophagus": (17, S.OESOPHAGUS, ()),
    "esophagus_contents": (18, S.OESOPHAGUS, ("esophagus_cont",)),
    "laryngopharynx": (19, S.AIRWAY, ("larynx",)),
    "st_wall": (20, S.STOMACH_WALL, ()),
    "st_cnts": (21, S.STOMACH_FOOD, ()),
    "pancreas": (22, S.PANCREAS, ()),
    "r_kidney_cortex": (23, S.KIDNEY_CORTEX, ()),
    "r_kidney_medulla": (24, S.KIDNEY_MEDULLA, ()),
    "l_kidney_cortex": (25, S.KIDNEY_CORTEX, ()),
    "l_kidney_medulla": (26, S.KIDNEY_MEDULLA, ()),
    "adrenal": (27, S.ADRENAL, ()),
    "r_renal_pelvis": (28, S.KIDNEY_PELVIS, ()),
    "l_renal_pelvis": (29, S.KIDNEY_PELVIS, ()),
    "spleen": (30, S.SPLEEN, ()),
    "rib": (31, S.RIB, ()),
    "cortical_bone": (32, S.RIB, ()),
    "spine": (33, S.VERTEBRA, ()),
    "spinal_cord": (34, S.SPINAL_CANAL, ()),
    "bone_marrow": (35, S.RIB_MARROW, ()),
    "art": (36, S.AORTA, ("artery",)),
    "vein": (37, S.IVC, ()),
    "bladder": (38, S.KIDNEY_PELVIS, ()),
    "prostate": (39, S.MUSCLE, ()),
    "asc_large_intest": (40, S.BOWEL_WALL, ("asc_li",)),
    "trans_large_intest": (41, S.BOWEL_WALL, ("trans_li",)),
    "desc_large_intest": (42, S.BOWEL_WALL, ("desc_li",)),
    "small_intest": (43, S.BOWEL_WALL, ("sm_intest",)),
    "rectum": (44, S.BOWEL_WALL, ()),
    "sem": (45, S.KIDNEY_PELVIS, ("sem_vess",)),
    "vas_def": (46, S.MUSCLE, ()),
    "test": (47, S.MUSCLE, ()),
    "epididymus": (48, S.MUSCLE, ()),
    "ejac_duct": (49, S.MUSCLE, ()),
    "pericardium": (50, S.PERICARDIUM, ()),
    "cartilage": (51, S.CARTILAGE, ()),
    "intest_air": (52, S.BOWEL_AIR, ()),
    "ureter": (53, S.KIDNEY_PELVIS, ()),
    "urethra": (54, S.KIDNEY_PELVIS, ()),
    "lymph": (55, S.LYMPH_NODE, ()),
    "lymph_abnormal": (56, S.LYMPH_NODE, ()),
    "trach_bronch": (57, S.VESSEL_WALL, ()),
    "airway": (58, S.AIRWAY, ()),
    "uterus": (59, S.MUSCLE, ()),
    "vagina": (60, S.MUSCLE, ()),
    "r_ovary": (61, S.MUSCLE, ()),
    "l_ovary": (62, S.MUSCLE, ()),
    "fallopian_tubes": (63, S.MUSCLE, ()),
    "parathyroid": (64, S.THYROID, ()),
    "thyroid": (65, S.THYROID, ()),
    "thymus": (66, S.THYMUS, ()),
    "salivary": (67, S.THYROID, ()),
    "pituitary": (68, S.BRAIN, ()),
    "eye": (69, S.KIDNEY_PELVIS, ()),
    "lens": (70, S.BRAIN, ()),
    "lesn": (71, S.LESION, ("lesion",)),
    "r_breast": (-1, S.BREAST, ("rbreast",)),
    "l_breast": (-1, S.BREAST, ("lbreast",)),
}

ORGAN_STRUCTURES: dict[str, S] = {name: structure for name, (_, structure, _) in _ORGANS.items()}
"""Organ by its name here -> structure. Urine, seminal fluid and the eye have no structure of their own: the renal
pelvis, which is fluid, stands for them; soft pelvic organs count as muscle."""

USUAL_NUMBERS: dict[str, int] = {name: number for name, (number, _, _) in _ORGANS.items() if number > 0}
"""Activity that XCAT's example gives each organ."""

_SPELLINGS = {other: name for name, (_, _, others) in _ORGANS.items() for other in others}

HEART_ORGANS = ("myolv", "myorv", "bldpllv", "bldplrv")
"""Organs whose activity no other organ may share: the heart could not be told from it."""


def organ_named(spelling: str) -> str | None:
    """The organ that a line of a log (``right lung_activity``) or ``.par`` (``r_lung_activity``) speaks of, or None."""
    match = re.fullmatch(r"(.+?)_(?:act|activity)", spelling.strip().lower())
    if not match:
        return None
    name = re.sub(r"[\s_]+", "_", match[1])
    name = re.sub(r"^right_", "r_", re.sub(r"^left_", "l_", name))
    name = _SPELLINGS.get(name, name)
    return name if name in _ORGANS else None


def xcat_tissues() -> NDArray[np.uint8]:
    """(256,) tissue of each structure as XCAT means it.

    XCAT's spine is the vertebrae's cortical shell (its marrow is an organ of its own), its cord fills the canal, and
    its pericardium is a layer of about 3 mm, most of which is fat in a patient.
    """
    table = TISSUE_OF_STRUCTURE.copy()
    table[S.VERTEBRA] = T.CORTICAL_BONE
    table[S.SPINAL_CANAL] = T.NERVE
    table[S.PERICARDIUM] = T.FAT
    return table
