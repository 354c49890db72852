"""What each structure is made of where nothing more particular is known, and how readers contour it."""

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.structures import Structure as S
from CMRSimExtension.anatomy.structures import Tissue as T

_TISSUE: dict[S, T] = {
    S.OUTSIDE: T.AIR,
    S.LV_BLOOD: T.BLOOD_ARTERIAL,
    S.LV_MYOCARDIUM: T.MYOCARDIUM,
    S.RV_BLOOD: T.BLOOD_VENOUS,
    S.RV_MYOCARDIUM: T.MYOCARDIUM,
    S.LA_BLOOD: T.BLOOD_ARTERIAL,
    S.RA_BLOOD: T.BLOOD_VENOUS,
    S.LA_WALL: T.MYOCARDIUM,
    S.RA_WALL: T.MYOCARDIUM,
    S.LV_PAPILLARY: T.MYOCARDIUM,
    S.LV_TRABECULAE: T.MYOCARDIUM,
    S.RV_TRABECULAE: T.MYOCARDIUM,
    S.MODERATOR_BAND: T.MYOCARDIUM,
    S.MITRAL_VALVE: T.CONNECTIVE,
    S.AORTIC_VALVE: T.CONNECTIVE,
    S.TRICUSPID_VALVE: T.CONNECTIVE,
    S.PULMONARY_VALVE: T.CONNECTIVE,
    S.LV_OUTFLOW: T.BLOOD_ARTERIAL,
    S.RV_OUTFLOW: T.BLOOD_VENOUS,
    S.AORTIC_ROOT: T.BLOOD_ARTERIAL,
    S.AORTA: T.BLOOD_ARTERIAL,
    S.PULMONARY_ARTERY: T.BLOOD_VENOUS,
    S.PULMONARY_VEIN: T.BLOOD_ARTERIAL,
    S.SVC: T.BLOOD_VENOUS,
    S.IVC: T.BLOOD_VENOUS,
    S.CORONARY_VESSEL: T.BLOOD_ARTERIAL,
    S.VESSEL_WALL: T.CONNECTIVE,
    S.EPICARDIAL_FAT: T.FAT,
    S.PERICARDIUM: T.CONNECTIVE,
    S.PERICARDIAL_FLUID: T.FLUID,
    S.BODY_FAT: T.FAT,
    S.SKIN: T.SKIN,
    S.MUSCLE: T.MUSCLE,
    S.RIB: T.CORTICAL_BONE,
    S.RIB_MARROW: T.BONE_MARROW,
    S.STERNUM: T.BONE_MARROW,
    S.VERTEBRA: T.BONE_MARROW,
    S.INTERVERTEBRAL_DISC: T.CARTILAGE,
    S.SPINAL_CANAL: T.FLUID,
    S.CARTILAGE: T.CARTILAGE,
    S.LUNG_LEFT: T.LUNG,
    S.LUNG_RIGHT: T.LUNG,
    S.LUNG_VESSEL: T.BLOOD_ARTERIAL,  # as the veins; the arteries beside them are not told apart
    S.AIRWAY: T.AIR,
    S.LIVER: T.LIVER,
    S.LIVER_VESSEL: T.BLOOD_ARTERIAL,  # portal blood is well saturated and slow; it shines as the LV's does
    S.STOMACH_WALL: T.STOMACH_WALL,
    S.STOMACH_AIR: T.AIR,
    S.STOMACH_FLUID: T.FLUID,
    S.STOMACH_FOOD: T.FOOD,
    S.SPLEEN: T.SPLEEN,
    S.KIDNEY_CORTEX: T.KIDNEY_CORTEX,
    S.KIDNEY_MEDULLA: T.KIDNEY_MEDULLA,
    S.KIDNEY_PELVIS: T.FLUID,
    S.OESOPHAGUS: T.STOMACH_WALL,
    S.DIAPHRAGM: T.MUSCLE,
    S.BOWEL_WALL: T.STOMACH_WALL,
    S.BOWEL_CONTENTS: T.FOOD,
    S.BOWEL_AIR: T.AIR,
    S.VISCERAL_FAT: T.FAT,
    S.PANCREAS: T.PANCREAS,
    S.GALLBLADDER: T.FLUID,
    S.MEDIASTINAL_FAT: T.FAT,
    S.BREAST: T.BREAST,
    S.THYMUS: T.THYMUS,
    S.BRAIN: T.NERVE,
    S.THYROID: T.MUSCLE,
    S.LYMPH_NODE: T.MUSCLE,
    S.ADRENAL: T.PANCREAS,
    S.LESION: T.MUSCLE,
    S.BONE_CORTEX: T.CORTICAL_BONE,
    S.BONE_MARROW: T.BONE_MARROW,
    S.SPINAL_CORD: T.NERVE,
}


def _table(entries: dict[S, int]) -> NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    for structure, value in entries.items():
        table[int(structure)] = int(value)
    table.setflags(write=False)
    return table


TISSUE_OF_STRUCTURE = _table({s: int(t) for s, t in _TISSUE.items()})
"""(256,) uint8: index with structure numbers to get `Tissue` numbers."""

CLINICAL_OF_STRUCTURE = _table(
    {
        S.LV_BLOOD: 1,
        S.LV_PAPILLARY: 1,
        S.LV_TRABECULAE: 1,
        S.LV_OUTFLOW: 1,
        S.LV_MYOCARDIUM: 2,
        S.RV_BLOOD: 3,
        S.RV_TRABECULAE: 3,
        S.MODERATOR_BAND: 3,
        S.RV_OUTFLOW: 3,
    }
)
"""(256,) uint8: 1 LV blood pool, 2 LV myocardium, 3 RV blood pool as readers contour them, else 0. Papillary muscles
and trabeculae count as blood pool: one of the two ways that the SCMR guideline allows (Schulz-Menger et al., JCMR
2020;22:19), and that of ACDC's readers."""
