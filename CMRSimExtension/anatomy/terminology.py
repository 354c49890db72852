"""What each structure is called, coloured and coded wherever somebody else's software reads our labels.

The codes are SNOMED CT as DICOM uses it (PS3.16 context groups 7150, 7151, 7165 and 7166), so a segment is understood
by 3D Slicer's terminology, by DICOM SEG readers and by reports. Colours are those of 3D Slicer's *General Anatomy*
list where it has one; where two structures would share a colour they are set apart, because a reader tells segments by
it. Where no code of a structure's own exists, it gets the code of what it is part of or made of: a true statement,
only less precise.
"""

from dataclasses import dataclass
from typing import Any

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError

CONTEXT_NAME = "CMRSimExtension - cardiac MR structures"
"""Name of our terminology context in 3D Slicer."""

SCHEMA = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/segment-context-schema.json#"


@dataclass(frozen=True)
class Code:
    """A coded concept: scheme, value and meaning, as in DICOM (0008,0100), (0008,0102), (0008,0104)."""

    value: str
    meaning: str
    scheme: str = "SCT"


ANATOMICAL_STRUCTURE = Code("123037004", "Anatomical Structure")
TISSUE = Code("85756007", "Tissue")
BODY_SUBSTANCE = Code("91720002", "Body Substance")
MORPHOLOGICALLY_ALTERED = Code("49755003", "Morphologically Altered Structure")
LEFT = Code("7771000", "Left")
RIGHT = Code("24028007", "Right")


@dataclass(frozen=True)
class Term:
    """How one structure appears in segmentations, colour tables and DICOM SEG.

    Attributes
    ----------
    segment_id
        Fixed identifier of its segment in every file; never changes.
    name
        What a reader sees.
    rgb
        Display colour, 0 to 255.
    category, type_code
        DICOM Segmented Property Category and Type.
    modifier
        Laterality, or None.
    """

    structure: Structure
    segment_id: str
    name: str
    rgb: tuple[int, int, int]
    category: Code
    type_code: Code
    modifier: Code | None = None

    def slicer_entry(self) -> str:
        """The segment's ``TerminologyEntry`` tag as 3D Slicer serialises it: context~category~type~modifier~..."""

        def triplet(code: Code | None) -> str:
            return "^^" if code is None else f"{code.scheme}^{code.value}^{code.meaning}"

        parts = [CONTEXT_NAME, triplet(self.category), triplet(self.type_code), triplet(self.modifier)]
        return "~".join([*parts, "", "^^", "^^"])


_ANATOMY, _TISSUE, _SUBSTANCE = ANATOMICAL_STRUCTURE, TISSUE, BODY_SUBSTANCE
_MUSCLE = Code("71616004", "Muscle")
_TRABECULAE = Code("118755002", "Trabeculae carnae")
_BODY_FAT = Code("248300009", "Body fat")
_CARTILAGE = Code("309312004", "Cartilage")
_LUNG = Code("39607008", "Lung")
_LIVER = Code("10200004", "Liver")
_STOMACH = Code("69695003", "Stomach")
_KIDNEY = Code("64033007", "Kidney")
_FLUID = Code("32457005", "Body fluid")
_FLUID_SPACE = Code("280371009", "Brain cerebrospinal fluid pathway")
_GAS = Code("74947009", "Gas")
_BONE = Code("272673000", "Bone")
_VESSEL = Code("59820001", "Blood vessel")
_BOWEL = Code("14742008", "Large intestine")

# Structure: (name, colour, category, type, modifier)
_TABLE: dict[Structure, tuple[str, tuple[int, int, int], Code, Code, Code | None]] = {
    # 3D Slicer's General Anatomy list gives these three a reddish brown each. Here they differ in lightness too, so
    # that they are told apart without red and green, and yellow stands out from every grey.
    Structure.LV_BLOOD: ("LV blood pool", (224, 56, 60), _ANATOMY, Code("87878005", "Left ventricle"), None),
    Structure.LV_MYOCARDIUM: ("LV myocardium", (224, 236, 30), _ANATOMY, Code("49848007", "LV myocardium"), None),
    Structure.RV_BLOOD: ("RV blood pool", (40, 100, 236), _ANATOMY, Code("53085002", "Right ventricle"), None),
    Structure.RV_MYOCARDIUM: ("RV myocardium", (196, 121, 79), _ANATOMY, Code("74281007", "Myocardium"), RIGHT),
    Structure.LA_BLOOD: ("Left atrium", (203, 108, 81), _ANATOMY, Code("82471001", "Left atrium"), None),
    Structure.RA_BLOOD: ("Right atrium", (210, 115, 89), _ANATOMY, Code("73829009", "Right atrium"), None),
    Structure.LA_WALL: ("Left atrial wall", (212, 141, 120), _ANATOMY, Code("82471001", "Left atrium"), None),
    Structure.RA_WALL: ("Right atrial wall", (219, 150, 130), _ANATOMY, Code("73829009", "Right atrium"), None),
    Structure.LV_PAPILLARY: ("LV papillary muscles", (170, 60, 70), _TISSUE, _MUSCLE, LEFT),
    Structure.LV_TRABECULAE: ("LV trabeculae", (190, 90, 100), _ANATOMY, _TRABECULAE, LEFT),
    Structure.RV_TRABECULAE: ("RV trabeculae", (200, 105, 90), _ANATOMY, _TRABECULAE, RIGHT),
    Structure.MODERATOR_BAND: ("Moderator band", (160, 80, 60), _ANATOMY, _TRABECULAE, RIGHT),
    Structure.MITRAL_VALVE: ("Mitral valve", (159, 63, 27), _ANATOMY, Code("91134007", "Mitral Valve"), None),
    Structure.AORTIC_VALVE: ("Aortic valve", (218, 123, 97), _ANATOMY, Code("34202007", "Aortic Valve"), None),
    Structure.TRICUSPID_VALVE: ("Tricuspid valve", (166, 70, 38), _ANATOMY, Code("46030003", "Tricuspid Valve"), None),
    Structure.PULMONARY_VALVE: (
        "Pulmonary valve", (225, 130, 104), _ANATOMY, Code("39057004", "Pulmonary valve"), None),
    Structure.LV_OUTFLOW: (
        "LV outflow tract", (176, 74, 34), _ANATOMY, Code("13418002", "Left ventricle outflow tract"), None),
    Structure.RV_OUTFLOW: (
        "RV outflow tract", (120, 110, 170), _ANATOMY, Code("44627009", "Right ventricle outflow tract"), None),
    Structure.AORTIC_ROOT: ("Aortic root", (232, 112, 90), _ANATOMY, Code("54247002", "Ascending aorta"), None),
    Structure.AORTA: ("Aorta", (224, 97, 76), _ANATOMY, Code("15825003", "Aorta"), None),
    Structure.PULMONARY_ARTERY: (
        "Pulmonary artery", (0, 122, 171), _ANATOMY, Code("81040000", "Pulmonary artery"), None),
    Structure.PULMONARY_VEIN: ("Pulmonary veins", (186, 77, 64), _ANATOMY, Code("122972007", "Pulmonary vein"), None),
    Structure.SVC: ("Superior vena cava", (0, 151, 206), _ANATOMY, Code("48345005", "Superior vena cava"), None),
    Structure.IVC: ("Inferior vena cava", (20, 131, 190), _ANATOMY, Code("64131007", "Inferior vena cava"), None),
    Structure.CORONARY_VESSEL: (
        "Coronary vessels", (216, 101, 79), _ANATOMY, Code("41801008", "Coronary artery"), None),
    Structure.VESSEL_WALL: ("Vessel wall", (200, 140, 120), _TISSUE, _VESSEL, None),
    Structure.EPICARDIAL_FAT: ("Epicardial fat", (240, 210, 100), _TISSUE, _BODY_FAT, None),
    Structure.PERICARDIUM: ("Pericardium", (255, 244, 209), _ANATOMY, Code("76848001", "Pericardium"), None),
    Structure.PERICARDIAL_FLUID: (
        "Pericardial fluid", (184, 122, 154), _ANATOMY, Code("25489000", "Pericardial cavity"), None),
    Structure.BODY_FAT: ("Subcutaneous fat", (230, 220, 70), _TISSUE, _BODY_FAT, None),
    Structure.SKIN: ("Skin", (177, 122, 101), _TISSUE, Code("39937001", "Skin"), None),
    Structure.MUSCLE: ("Muscle", (192, 104, 88), _TISSUE, _MUSCLE, None),
    Structure.RIB: ("Ribs", (253, 232, 158), _ANATOMY, Code("113197003", "Rib"), None),
    Structure.RIB_MARROW: ("Rib marrow", (228, 190, 130), _TISSUE, _BONE, None),
    Structure.STERNUM: ("Sternum", (244, 217, 154), _ANATOMY, Code("56873002", "Sternum"), None),
    Structure.VERTEBRA: ("Vertebrae", (255, 255, 207), _ANATOMY, Code("51282000", "Vertebra"), None),
    Structure.INTERVERTEBRAL_DISC: ("Intervertebral discs", (130, 195, 215), _TISSUE, _CARTILAGE, None),
    Structure.SPINAL_CANAL: ("Spinal canal", (244, 214, 49), _ANATOMY, _FLUID_SPACE, None),
    Structure.CARTILAGE: ("Cartilage", (111, 184, 210), _TISSUE, _CARTILAGE, None),
    Structure.LUNG_LEFT: ("Left lung", (197, 165, 145), _ANATOMY, _LUNG, LEFT),
    Structure.LUNG_RIGHT: ("Right lung", (187, 155, 135), _ANATOMY, _LUNG, RIGHT),
    Structure.LUNG_VESSEL: ("Lung vessels", (150, 98, 83), _TISSUE, _VESSEL, None),
    Structure.AIRWAY: ("Airways", (182, 228, 255), _ANATOMY, Code("89187006", "Airway structure"), None),
    Structure.LIVER: ("Liver", (221, 130, 101), _ANATOMY, _LIVER, None),
    Structure.LIVER_VESSEL: ("Liver vessels", (80, 123, 190), _ANATOMY, Code("8993003", "Hepatic vein"), None),
    Structure.STOMACH_WALL: ("Stomach wall", (216, 132, 105), _ANATOMY, _STOMACH, None),
    Structure.STOMACH_AIR: ("Stomach air", (218, 255, 255), _SUBSTANCE, _GAS, None),
    Structure.STOMACH_FLUID: ("Stomach fluid", (170, 250, 250), _SUBSTANCE, _FLUID, None),
    Structure.STOMACH_FOOD: ("Stomach contents", (150, 160, 110), _ANATOMY, _STOMACH, None),
    Structure.SPLEEN: ("Spleen", (157, 108, 162), _ANATOMY, Code("78961009", "Spleen"), None),
    Structure.KIDNEY_CORTEX: ("Kidney cortex", (185, 102, 83), _ANATOMY, _KIDNEY, None),
    Structure.KIDNEY_MEDULLA: ("Kidney medulla", (155, 72, 63), _ANATOMY, _KIDNEY, None),
    Structure.KIDNEY_PELVIS: ("Renal pelvis", (222, 198, 101), _ANATOMY, Code("25990002", "Renal pelvis"), None),
    Structure.OESOPHAGUS: ("Oesophagus", (211, 171, 143), _ANATOMY, Code("32849002", "Esophagus"), None),
    Structure.DIAPHRAGM: ("Diaphragm", (188, 95, 76), _ANATOMY, Code("5798000", "Diaphragm"), None),
    Structure.BOWEL_WALL: ("Bowel wall", (205, 167, 142), _ANATOMY, _BOWEL, None),
    Structure.BOWEL_CONTENTS: ("Bowel contents", (165, 127, 102), _ANATOMY, _BOWEL, None),
    Structure.BOWEL_AIR: ("Bowel air", (208, 245, 245), _SUBSTANCE, _GAS, None),
    Structure.VISCERAL_FAT: ("Visceral fat", (220, 205, 85), _TISSUE, _BODY_FAT, None),
    Structure.PANCREAS: ("Pancreas", (249, 180, 111), _ANATOMY, Code("15776009", "Pancreas"), None),
    Structure.GALLBLADDER: ("Gallbladder", (139, 150, 98), _ANATOMY, Code("28231008", "Gallbladder"), None),
    Structure.MEDIASTINAL_FAT: ("Mediastinal fat", (235, 225, 130), _TISSUE, _BODY_FAT, None),
    Structure.BREAST: ("Breast", (232, 190, 172), _ANATOMY, Code("76752008", "Breast"), None),
    Structure.THYMUS: ("Thymus", (47, 150, 103), _ANATOMY, Code("9875009", "Thymus"), None),
    Structure.BRAIN: ("Brain", (250, 250, 225), _ANATOMY, Code("12738006", "Brain"), None),
    Structure.THYROID: ("Thyroid", (62, 162, 114), _ANATOMY, Code("69748006", "Thyroid"), None),
    Structure.LYMPH_NODE: ("Lymph nodes", (68, 172, 100), _TISSUE, Code("59441001", "Lymph node"), None),
    Structure.ADRENAL: ("Adrenal glands", (249, 186, 150), _ANATOMY, Code("23451007", "Adrenal gland"), None),
    Structure.BONE_CORTEX: ("Cortical bone", (241, 214, 145), _TISSUE, _BONE, None),
    Structure.BONE_MARROW: ("Bone marrow", (221, 184, 110), _TISSUE, _BONE, None),
    Structure.SPINAL_CORD: ("Spinal cord", (224, 194, 0), _ANATOMY, Code("2748008", "Spinal cord"), None),
    Structure.LESION: ("Lesion", (144, 238, 144), MORPHOLOGICALLY_ALTERED, Code("4147007", "Mass"), None),
}

TERMS: dict[Structure, Term] = {
    structure: Term(structure, structure.name.lower(), name, rgb, category, kind, modifier)
    for structure, (name, rgb, category, kind, modifier) in _TABLE.items()
}
"""One term for every structure but ``OUTSIDE``."""

_BY_SEGMENT_ID = {term.segment_id: structure for structure, term in TERMS.items()}
_BY_NAME = {term.name.casefold(): structure for structure, term in TERMS.items()}


def term_of(label: int) -> Term:
    """The term of a label number.

    Raises
    ------
    InputError
        If the number is not in the table.
    """
    try:
        return TERMS[Structure(label)]
    except (ValueError, KeyError):
        raise InputError(
            f"label {label} is not in the table of structures (1 to {max(Structure)}); give a label map that says "
            "what it is, such as 'acdc', 'mms' or '1=rv,2=myo,3=lv'") from None


def structure_of_segment(segment_id: str, name: str) -> Structure | None:
    """The structure of a segment by its fixed id, else by its name; None where neither is known."""
    return _BY_SEGMENT_ID.get(segment_id, _BY_NAME.get(name.casefold()))


def structure_of_code(value: str, scheme: str, modifier: str | None = None) -> Structure | None:
    """The structure with the type code `value` of `scheme` ("SCT") and that modifier's value (None: without one).

    Where several structures share a code (`TERMS`), only the one that is called as the code is meant by it, such as the
    left atrium by that of the left atrium; None where there is none or more than one.
    """
    meant = [
        term for term in TERMS.values()
        if (term.type_code.value, term.type_code.scheme) == (value, scheme)
        and (None if term.modifier is None else term.modifier.value) == modifier
    ]
    if len(meant) > 1:
        meant = [term for term in meant if term.name.casefold() == term.type_code.meaning.casefold()]
    return meant[0].structure if len(meant) == 1 else None


def terminology_context() -> dict[str, Any]:
    """All terms as a 3D Slicer terminology (the content of the shipped ``.term.json``)."""

    def coded(code: Code) -> dict[str, str]:
        return {"CodingSchemeDesignator": code.scheme, "CodeValue": code.value, "CodeMeaning": code.meaning}

    categories: dict[Code, dict[Code, list[Term]]] = {}
    for term in TERMS.values():
        categories.setdefault(term.category, {}).setdefault(term.type_code, []).append(term)
    listed = []
    for category, types in categories.items():
        entries = []
        for type_code, terms in types.items():
            entry: dict[str, Any] = coded(type_code) | {"3dSlicerLabel": terms[0].name}
            plain = [term for term in terms if term.modifier is None]
            if plain:
                entry["recommendedDisplayRGBValue"] = list(plain[0].rgb)
            modifiers: dict[Code, Term] = {}
            for term in terms:
                if term.modifier is not None:
                    modifiers.setdefault(term.modifier, term)
            if modifiers:
                entry["Modifier"] = [
                    coded(code) | {"3dSlicerLabel": term.name, "recommendedDisplayRGBValue": list(term.rgb)}
                    for code, term in modifiers.items()
                ]
            entries.append(entry)
        listed.append(coded(category) | {"showAnatomy": "false", "Type": entries})
    return {
        "@schema": SCHEMA,
        "SegmentationCategoryTypeContextName": CONTEXT_NAME,
        "SegmentationCodes": {"Category": listed},
    }
