"""DICOM segmentations without their images: each plane by its own position in space."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.dicom_images import SEGMENTATION, is_dicom
from CMRSimExtension.files.dicom_segmentation import label_of_segment
from CMRSimExtension.files.label_planes import LabelPlane
from CMRSimExtension.files.third_party import reading

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def is_segmentation(path: Path) -> bool:
    """Whether the file is a DICOM segmentation."""
    if not is_dicom(path):
        return False
    import pydicom

    with reading(path, "a DICOM file"):
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    return bool(header.get("SOPClassUID") == SEGMENTATION)


def read_planes(path: Path) -> list[LabelPlane]:
    """The planes of a DICOM segmentation of one moment.

    Raises
    ------
    FileFormatError
        It is damaged, its planes have no place in space, it names a structure this project has no number for, or it
        shows a segment twice in one place, as of several moments.
    """
    import pydicom

    with reading(path, "a DICOM segmentation"):
        dataset = pydicom.dcmread(path)
        pixels = np.asarray(dataset.pixel_array)
        pixels = pixels[None] if pixels.ndim == 2 else pixels
        threshold = 0.0
        if dataset.get("SegmentationType") == "FRACTIONAL":
            threshold = float(dataset.MaximumFractionalValue) / 2.0
        numbers = {int(s.SegmentNumber): label_of_segment(path, s) for s in dataset.SegmentSequence}
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
        planes: list[LabelPlane] = []
        seen: set[tuple[Any, ...]] = set()
        for group, values in zip(dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True):
            segment = int(_item(group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
            affine, apart = _place(group, shared)
            place = (segment, *np.round(affine[:3, 3], 2).tolist())
            if place in seen:
                raise FileFormatError(
                    f"{path.name} shows segment {segment} twice in one place, as of several moments; give one "
                    "segmentation for each, or their folder with the images they belong to"
                )
            seen.add(place)
            planes.append(LabelPlane(numbers[segment], values > threshold, affine, apart))
        if not planes:
            raise FileFormatError(f"{path.name} has no planes; export it again")
        return planes


def _item(group: Any, shared: Any, name: str) -> Any:
    """The functional group `name` of a plane, its own or that of all of them."""
    found = group.get(name) or shared.get(name)
    if not found:
        raise ValueError(f"a plane has no {name}")
    return found[0]


def _place(group: Any, shared: Any) -> tuple[NDArray[np.float64], float | None]:
    """`affine_ras` and `apart_mm` of a plane."""
    measures = _item(group, shared, "PixelMeasuresSequence")
    row_mm, column_mm = (float(side) for side in measures.PixelSpacing)
    apart = float(measures.get("SpacingBetweenSlices") or 0.0) or None
    directions = [float(v) for v in _item(group, shared, "PlaneOrientationSequence").ImageOrientationPatient]
    along_row, along_column = np.array(directions[:3]), np.array(directions[3:])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * column_mm, along_column * row_mm
    affine[:3, 2] = np.cross(along_row, along_column) * (apart or float(measures.get("SliceThickness") or 1.0))
    affine[:3, 3] = [float(v) for v in _item(group, shared, "PlanePositionSequence").ImagePositionPatient]
    return np.asarray(_LPS_TO_RAS @ affine), apart
