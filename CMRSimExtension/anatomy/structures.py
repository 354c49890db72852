"""What a point of the body can belong to, what it can be made of, and the numbers both have in every file.

A *structure* is an anatomical part (a papillary muscle of the LV); a *tissue* is what it shines like (myocardium).
Structure numbers 1 to 3 are the three clinical labels of every label file this project writes; the numbers of the
others never change once published.
"""

from enum import IntEnum


class Tissue(IntEnum):
    """What a point shines like; indexes the tissue table (`CMRSimExtension.anatomy.tissues`)."""

    AIR = 0
    MYOCARDIUM = 1
    BLOOD_ARTERIAL = 2
    BLOOD_VENOUS = 3
    FAT = 4
    MUSCLE = 5
    LUNG = 6
    LIVER = 7
    SPLEEN = 8
    KIDNEY_CORTEX = 9
    KIDNEY_MEDULLA = 10
    PANCREAS = 11
    BONE_MARROW = 12
    CORTICAL_BONE = 13
    CARTILAGE = 14
    SKIN = 15
    STOMACH_WALL = 16
    FLUID = 17
    """Stomach and bowel contents, bile, pericardial fluid, cerebrospinal fluid: long T1 and T2."""
    FOOD = 18
    CONNECTIVE = 19
    """Vessel wall, valve, pericardium, diaphragm tendon: short T2."""
    NERVE = 20
    BREAST = 21
    THYMUS = 22


class Structure(IntEnum):
    """What a point belongs to. 1 to 3 are the clinical labels; the rest follow with fixed numbers."""

    OUTSIDE = 0
    LV_BLOOD = 1
    LV_MYOCARDIUM = 2
    RV_BLOOD = 3
    RV_MYOCARDIUM = 4
    LA_BLOOD = 5
    RA_BLOOD = 6
    LA_WALL = 7
    RA_WALL = 8
    LV_PAPILLARY = 9
    LV_TRABECULAE = 10
    RV_TRABECULAE = 11
    MODERATOR_BAND = 12
    MITRAL_VALVE = 13
    AORTIC_VALVE = 14
    TRICUSPID_VALVE = 15
    PULMONARY_VALVE = 16
    LV_OUTFLOW = 17
    RV_OUTFLOW = 18
    AORTIC_ROOT = 19
    AORTA = 20
    PULMONARY_ARTERY = 21
    PULMONARY_VEIN = 22
    SVC = 23
    IVC = 24
    CORONARY_VESSEL = 25
    VESSEL_WALL = 26
    EPICARDIAL_FAT = 27
    PERICARDIUM = 28
    PERICARDIAL_FLUID = 29
    BODY_FAT = 30
    SKIN = 31
    MUSCLE = 32
    RIB = 33
    RIB_MARROW = 34
    STERNUM = 35
    VERTEBRA = 36
    INTERVERTEBRAL_DISC = 37
    SPINAL_CANAL = 38
    CARTILAGE = 39
    LUNG_LEFT = 40
    LUNG_RIGHT = 41
    LUNG_VESSEL = 42
    AIRWAY = 43
    LIVER = 44
    LIVER_VESSEL = 45
    STOMACH_WALL = 46
    STOMACH_AIR = 47
    STOMACH_FLUID = 48
    STOMACH_FOOD = 49
    SPLEEN = 50
    KIDNEY_CORTEX = 51
    KIDNEY_MEDULLA = 52
    KIDNEY_PELVIS = 53
    OESOPHAGUS = 54
    DIAPHRAGM = 55
    BOWEL_WALL = 56
    BOWEL_CONTENTS = 57
    BOWEL_AIR = 58
    VISCERAL_FAT = 59
    PANCREAS = 60
    GALLBLADDER = 61
    MEDIASTINAL_FAT = 62
    BREAST = 63
    THYMUS = 64
    BRAIN = 65
    THYROID = 66
    LYMPH_NODE = 67
    ADRENAL = 68
    LESION = 69
    BONE_CORTEX = 70
    """Cortex of vertebrae, sternum and arm; that of the ribs is `RIB`."""
    BONE_MARROW = 71
    """Marrow of the arm bones; those of ribs and spine have structures of their own."""
    SPINAL_CORD = 72
