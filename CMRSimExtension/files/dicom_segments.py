"""How a DICOM segmentation describes its segments: names, codes, colours, and who made them."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from CMRSimExtension.anatomy.terminology import Code, term_of
from CMRSimExtension.files.dicom_identity import LARGEST_SERIES, SERIES_STEP, uid
from CMRSimExtension.files.label_origin import LabelOrigin
from CMRSimExtension.version import __version__


def series_number_of(images: Iterable[Any], origin: LabelOrigin) -> int:
    """Number of a series of segmentations of the `images` (pydicom data sets), another for each kind of origin.

    Four steps above the lowest number of their series for true labels, eight for given ones, twelve for a network's:
    images take no more than three steps (`dicom_identity.series_number`).
    """
    given = [int(image.get("SeriesNumber") or 0) for image in images]
    steps = {"simulated": 4, "given": 8, "network": 12}[origin.kind]
    return min((n for n in given if 0 < n <= LARGEST_SERIES + 3 * SERIES_STEP), default=0) + steps * SERIES_STEP


def series_description_of(origin: LabelOrigin) -> str:
    """What operators see of a series of segmentations."""
    return {"simulated": "True labels", "network": f"Labels by {origin.name}"}.get(origin.kind, "Labels")[:64]


def description_of(number: int, label: int, origin: LabelOrigin) -> Any:
    """highdicom's description of segment `number`, which holds the structure `label`."""
    import highdicom

    term = term_of(label)
    kinds = highdicom.seg.SegmentAlgorithmTypeValues
    # DICOM has no word for labels of unknown making: they are what a user entered, and the description says the rest.
    kind, algorithm = kinds.MANUAL, None
    if origin.kind != "given":
        family = (highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence") if origin.kind == "network" else
                  highdicom.sr.CodedConcept("SIMULATED_TRUTH", "99CMRSIM", "Known from the simulated anatomy"))
        kind, algorithm = kinds.AUTOMATIC, highdicom.AlgorithmIdentificationSequence(
            name=origin.name[:64] or "CMRSimExtension simulation", version=origin.version[:64] or __version__,
            family=family)
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=term.name,
        segmented_property_category=_concept(term.category),
        segmented_property_type=_concept(term.type_code),
        algorithm_type=kind,
        algorithm_identification=algorithm,
        tracking_id=term.segment_id,
        tracking_uid=uid("CMRSimExtension", "segment", term.segment_id),
    )
    description.SegmentDescription = {
        "simulated": "True label of the simulated anatomy", "network": "Found by a trained network",
    }.get(origin.kind, "As given; who or what drew it is not known")
    description.RecommendedDisplayCIELabValue = _cielab(term.rgb)
    if term.modifier is not None:
        code = _concept(term.modifier)
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [code]
    return description


def _concept(code: Code) -> Any:
    import highdicom

    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _cielab(rgb: tuple[int, int, int]) -> list[int]:
    """CIELab of an sRGB colour, scaled to 16 bits as PS3.3 C.10.7.1.1 says (D65 white point)."""
    linear = np.array([(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in np.array(rgb) / 255.0])
    xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                    [0.0193339, 0.1191920, 0.9503041]]) @ linear / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    lab = np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
    return [int(round(v)) for v in (lab[0] * 655.35, (lab[1] + 128) * 257.0, (lab[2] + 128) * 257.0)]
