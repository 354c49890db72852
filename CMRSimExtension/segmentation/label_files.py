"""Label files of every format, in pairs on one grid: what a comparison starts from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.dicom_images import is_dicom
from CMRSimExtension.files.dicom_planes import is_segmentation, read_planes
from CMRSimExtension.files.formats import case_name, labels_of, read_content
from CMRSimExtension.files.label_planes import SAME_PLACE_MM, LabelPlane, grid_of_planes, on_grid, planes_of
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.training.label_numbers import is_slicer_segmentation, read_labels

_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr")
_LABEL_NAMES = ("_gt", "_labels", "_seg")


def is_folder_of_files(path: Path) -> bool:
    """Whether `path` is a folder of label files, and not a single one or a DICOM study with its segmentations."""
    if not path.is_dir():
        return False
    if any(file.name.lower().endswith(_ENDINGS) for file in path.iterdir()):
        return True
    files = (file for file in path.rglob("*") if file.is_file())
    return not any(is_dicom(file) and not is_segmentation(file) for file in files)


def label_name(path: Path) -> str:
    """What a label file's case is called: its name without its ending and ``_gt``, ``_labels`` or ``_seg``."""
    stem = _stem(path)
    for ending in _LABEL_NAMES:
        stem = stem.removesuffix(ending)
    return stem


def files_by_name(folder: Path) -> dict[str, Path]:
    """Label files of a folder by case; where labels lie beside images, those named as labels are taken.

    Raises
    ------
    InputError
        Two files are one case's.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and _is_label_file(path))
    sure = [path for path in files if path.name.lower().endswith((".seg.nrrd", ".dcm"))]
    named = [path for path in files if path not in sure and _stem(path).endswith(_LABEL_NAMES)]
    found: dict[str, Path] = {}
    for path in [*sure, *(named or [path for path in files if path not in sure])]:
        other = found.setdefault(label_name(path), path)
        if other is not path:
            raise InputError(
                f"{folder} has two files of the case {label_name(path)}, {other.name} and {path.name}; keep the one to "
                "compare"
            )
    return found


def is_label_image(path: Path) -> bool:
    """Whether labels are numbers that need a table; segments say by name or code what they are."""
    return path.is_file() and not is_slicer_segmentation(path) and not is_dicom(path)


def read_pair(
    predicted: Path, reference: Path, table: Mapping[int, int], reference_table: Mapping[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], ImageGrid]:
    """Two label files on one grid, (frames, slices, rows, columns) each, in this library's numbers, and that grid.

    A segmentation, which may hold no more than what it labels (DICOM leaves out empty planes, 3D Slicer what lies about
    the segments), is put on the grid of the other file, or, of two of them, both on the smallest that holds both.

    Parameters
    ----------
    predicted, reference
        Label images, .seg.nrrd, DICOM segmentations, or DICOM folders that hold segmentations with their images.
    table, reference_table
        Label numbers of either, where they are label images (see `training.label_numbers.label_table`); segments
        say by name or code what they are.

    Raises
    ------
    InputError, FileFormatError
        Shapes or geometry differ, a label is unknown, or a file cannot be read.
    """
    sides = ((predicted, table), (reference, reference_table))
    planes = [_planes(path) for path, _ in sides]
    read = [None if own else _read(path, numbers) for own, (path, numbers) in zip(planes, sides, strict=True)]
    grids = [entry[1] for entry in read if entry is not None]
    common = grids[0] if grids else grid_of_planes([plane for own in planes for plane in own])
    (one, grid), (other, other_grid) = (
        entry or (on_grid(own, common, path.name)[None], common)
        for entry, own, (path, _) in zip(read, planes, sides, strict=True)
    )
    _check_same_grid(one, grid, other, other_grid, predicted.name, reference.name)
    return one, other, other_grid


def _planes(path: Path) -> list[LabelPlane]:
    """The planes of a segmentation; none of what is none, or has no label."""
    if is_slicer_segmentation(path):
        labels, grid = read_labels(path, {})
        return planes_of(labels[0], grid)
    return read_planes(path) if path.is_file() and is_segmentation(path) else []


def _read(path: Path, table: Mapping[int, int]) -> tuple[NDArray[np.uint8], ImageGrid]:
    if path.is_dir() or is_dicom(path):
        content = read_content(path)
        return labels_of(content, path), content.grid
    return read_labels(path, table)


def _is_label_file(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(_ENDINGS) or (name.endswith(".dcm") and is_segmentation(path))


def _stem(path: Path) -> str:
    return case_name(path) if path.is_file() else path.name


def _check_same_grid(
    one: NDArray, grid: ImageGrid, other: NDArray, other_grid: ImageGrid, first: str, second: str
) -> None:
    if one.shape != other.shape:
        raise InputError(
            f"{first} has shape {one.shape} and {second} {other.shape} (frames, slices, rows, columns); "
            "they must lie on the same grid"
        )
    slices, rows, columns = other_grid.shape
    corners = np.array([[i, j, k, 1.0] for i in (0, columns - 1) for j in (0, rows - 1) for k in (0, slices - 1)])
    distance = np.abs(corners @ (grid.affine_ras - other_grid.affine_ras).T).max()
    if distance > SAME_PLACE_MM:
        raise InputError(
            f"{first} and {second} lie up to {distance:.2f} mm apart; resample one to the other's grid first"
        )
