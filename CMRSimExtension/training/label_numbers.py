"""Label files in this library's numbers, whatever numbers they were saved with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.label_maps import parse_label_map
from CMRSimExtension.files.cine_files import is_nifti_name
from CMRSimExtension.files.formats import read_image
from CMRSimExtension.files.label_planes import on_grid, planes_of
from CMRSimExtension.files.nifti import read_nifti
from CMRSimExtension.files.nrrd_files import read_segmentation
from CMRSimExtension.files.unknown_labels import check_known_labels
from CMRSimExtension.scanner.geometry import ImageGrid

SEGMENTATION = ".seg.nrrd"
"""How names of 3D Slicer's segmentations end."""


def label_table(labels_map: str | Mapping[int, int]) -> dict[int, int]:
    """File label -> own label (`Structure` number), from a text that `parse_label_map` reads, or a table.

    Raises
    ------
    InputError
        On an unknown preset or structure.
    """
    if isinstance(labels_map, str):
        return {label: int(structure) for label, structure in parse_label_map(labels_map).items()}
    return {int(key): int(value) for key, value in labels_map.items()}


def translate_labels(values: NDArray, table: Mapping[int, int], name: str) -> NDArray[np.uint8]:
    """Labels of a file in this library's numbers; 0 stays 0.

    Raises
    ------
    InputError
        When the file holds a label that the table lacks, or values that are no whole numbers (infinite and NaN too).
    """
    check_known_labels(values, table, name, "choose another --labels-map")
    result = np.zeros(values.shape, np.uint8)
    for number, own in table.items():
        result[values == number] = own
    return result


def read_values(path: Path) -> tuple[NDArray, ImageGrid]:
    """(frames, slices, rows, columns) of an image or label image, as they are in the file, and their geometry.

    Raises
    ------
    InputError, FileFormatError
        As `files.formats.read_content`.
    """
    if is_nifti_name(path):
        image = read_nifti(path)
        return image.values, image.grid
    cine = read_image(path, truths=())
    return cine.image, cine.grid


def is_slicer_segmentation(path: Path) -> bool:
    """Whether the file is one of 3D Slicer's segmentations, by its name."""
    return path.name.lower().endswith(SEGMENTATION)


def read_labels(
    path: Path, table: Mapping[int, int], grid: ImageGrid | None = None
) -> tuple[NDArray[np.uint8], ImageGrid]:
    """(frames, slices, rows, columns) labels of a file in this library's numbers, and their geometry.

    Segments of a .seg.nrrd say by their names what they are; `table` is for the numbers of label images. A .seg.nrrd,
    which may hold no more than the box of its segments, is put on `grid` where that is given.

    Raises
    ------
    InputError, FileFormatError
        As `files.formats.read_content` and `translate_labels`; a segment of a structure that has no number here, or
        that lies beside the voxels of `grid` or outside it.
    """
    if is_slicer_segmentation(path):
        segments = read_segmentation(path)
        if grid is None:
            return segments.values, segments.grid
        return on_grid(planes_of(segments.values[0], segments.grid), grid, path.name)[None], grid
    values, own_grid = read_values(path)
    return translate_labels(values, table, path.name), own_grid
