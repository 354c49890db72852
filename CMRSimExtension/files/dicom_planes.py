"""DICOM segmentations without their images: each plane by its own position in space."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.dicom_images import SEGMENTATION, is_dicom
from CMRSimExtension.files.dicom_segmentation import label_of_segment
from CMRSimExtension.files.third_party import reading
from CMRSimExtension.scanner.geometry import ImageGrid

SAME_PLACE_MM = 0.1
"""Grids whose corners differ by less are the same one, written by programs that round differently."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class LabelPlane:
    """The pixels of one segment in one plane.

    Attributes
    ----------
    label
        This library's number of the segment.
    mask
        (rows, columns) bool.
    affine_ras
        (4, 4): (column, row, slice, 1) to RAS mm; its third axis is as long as the planes say that slices are apart or
        thick.
    """

    label: int
    mask: NDArray[np.bool_]
    affine_ras: NDArray[np.float64]


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
            affine = _affine(group, shared)
            place = (segment, *np.round(affine[:3, 3], 2).tolist())
            if place in seen:
                raise FileFormatError(
                    f"{path.name} shows segment {segment} twice in one place, as of several moments; give one "
                    "segmentation for each, or their folder with the images they belong to"
                )
            seen.add(place)
            planes.append(LabelPlane(numbers[segment], values > threshold, affine))
        if not planes:
            raise FileFormatError(f"{path.name} has no planes; export it again")
        return planes


def grid_of_planes(planes: Sequence[LabelPlane], name: str) -> ImageGrid:
    """The smallest even stack of slices that holds all of `planes`.

    Raises
    ------
    FileFormatError
        They are of several sizes or directions, or not evenly apart; `name` stands in the message.
    """
    first = planes[0]
    axes = first.affine_ras[:3, :3]
    normal = axes[:, 2] / np.linalg.norm(axes[:, 2])
    heights = np.array([plane.affine_ras[:3, 3] @ normal for plane in planes])
    ordered = np.unique(np.round(heights, 3))
    gaps = np.diff(ordered)
    step = (
        float(gaps[gaps > SAME_PLACE_MM].min()) if (gaps > SAME_PLACE_MM).any() else float(np.linalg.norm(axes[:, 2]))
    )
    away = (heights - heights.min()) / step
    alike = all(
        plane.mask.shape == first.mask.shape and np.allclose(plane.affine_ras[:3, :2], axes[:, :2], atol=1e-3)
        for plane in planes
    )
    if not alike or np.abs(away - np.round(away)).max() * step > SAME_PLACE_MM:
        raise FileFormatError(
            f"the planes of {name} form no even stack of slices; compare it with a label image instead"
        )
    affine = np.eye(4)
    affine[:3, :2], affine[:3, 2] = axes[:, :2], normal * step
    affine[:3, 3] = planes[int(np.argmin(heights))].affine_ras[:3, 3]
    return ImageGrid(affine, (round(float(away.max())) + 1, *first.mask.shape), step)


def on_grid(planes: Sequence[LabelPlane], grid: ImageGrid, name: str) -> NDArray[np.uint8]:
    """(slices, rows, columns) labels of `planes` on a grid whose voxels theirs are, whichever way its axes run.

    Raises
    ------
    InputError
        A plane's pixels lie beside the voxels of `grid`, or labelled ones outside it; `name` stands in the message.
    """
    labels = np.zeros(grid.shape, np.uint8)
    inverse = np.linalg.inv(grid.affine_ras)
    for plane in planes:
        rows, columns = plane.mask.shape
        to_voxel = inverse @ plane.affine_ras
        steps = np.round(to_voxel[:3, [0, 1, 3]]).astype(int)
        corners = np.array([[i, j, 1.0] for i in (0, columns - 1) for j in (0, rows - 1)]).T
        beside = (to_voxel[:3, [0, 1, 3]] - steps) @ corners
        distance = float(np.linalg.norm(grid.affine_ras[:3, :3] @ beside, axis=0).max())
        if distance > SAME_PLACE_MM:
            raise InputError(
                f"{name} lies up to {distance:.2f} mm beside the voxels of the file it is compared with; resample "
                "one to the other's grid first"
            )
        row, column = np.nonzero(plane.mask)
        index = steps[:, [0]] * column + steps[:, [1]] * row + steps[:, [2]]
        sides = np.array(grid.shape[::-1])[:, None]
        if ((index < 0) | (index >= sides)).any():
            raise InputError(f"{name} has labels outside the file it is compared with; give those of the same images")
        labels[index[2], index[1], index[0]] = plane.label
    return labels


def _item(group: Any, shared: Any, name: str) -> Any:
    """The functional group `name` of a plane, its own or that of all of them."""
    found = group.get(name) or shared.get(name)
    if not found:
        raise ValueError(f"a plane has no {name}")
    return found[0]


def _affine(group: Any, shared: Any) -> NDArray[np.float64]:
    measures = _item(group, shared, "PixelMeasuresSequence")
    row_mm, column_mm = (float(side) for side in measures.PixelSpacing)
    apart = float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 1.0)
    directions = [float(v) for v in _item(group, shared, "PlaneOrientationSequence").ImageOrientationPatient]
    along_row, along_column = np.array(directions[:3]), np.array(directions[3:])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * column_mm, along_column * row_mm
    affine[:3, 2] = np.cross(along_row, along_column) * apart
    affine[:3, 3] = [float(v) for v in _item(group, shared, "PlanePositionSequence").ImagePositionPatient]
    return np.asarray(_LPS_TO_RAS @ affine)
