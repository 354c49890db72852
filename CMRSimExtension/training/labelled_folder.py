"""Labelled images from a folder: NIfTI pairs, an nnU-Net raw data set, or a MONAI data list."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.label_maps import parse_label_map
from CMRSimExtension.errors import InputError
from CMRSimExtension.files.nifti import read_nifti

_IMAGE_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class LabelledCase:
    """One image file and the label file that belongs to it.

    Attributes
    ----------
    name
        What the case is called in tables.
    image, labels
        Paths.
    """

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True)
class LabelledVolume:
    """One labelled volume in memory.

    Attributes
    ----------
    name
        Name of its case.
    image
        (slices, rows, columns) float32.
    labels
        (slices, rows, columns) uint8, in this library's numbers.
    spacing_mm
        (slice, row, column) distances.
    """

    name: str
    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


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
        When the file holds a label that the table lacks, or values that are no whole numbers.
    """
    found = np.unique(values)
    if not np.all(found == np.round(found)):
        raise InputError(f"{name} holds values that are no whole numbers, so it is no label file; check the file")
    unknown = sorted(int(value) for value in found if int(value) not in table and value != 0)
    if unknown:
        raise InputError(
            f"{name} holds the labels {unknown}, which the label table {dict(table)} lacks; choose another --labels-map"
        )
    result = np.zeros(values.shape, np.uint8)
    for number, own in table.items():
        result[values == number] = own
    return result


def find_cases(folder: Path) -> list[LabelledCase]:
    """Find the labelled cases of a folder, sorted by name.

    Known layouts: a MONAI data list (the folder's only ``*.json`` with a ``training`` list, or a path to such a
    file), nnU-Net raw (``imagesTr/X_0000.nii.gz`` and ``labelsTr/X.nii.gz``), and pairs ``X.nii.gz`` with
    ``X_gt.nii.gz``, ``X_labels.nii.gz`` or ``X_seg.nii.gz``.

    Raises
    ------
    InputError
        When the folder does not exist, holds no pair, or a listed file is missing.
    """
    folder = Path(folder)
    if folder.is_file() and folder.suffix == ".json":
        return _monai_list(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the folder of labelled images")
    if (folder / "imagesTr").is_dir():
        cases = _nnunet_raw(folder)
    else:
        lists = [path for path in sorted(folder.glob("*.json")) if _is_monai_list(path)]
        cases = _monai_list(lists[0]) if len(lists) == 1 else _pairs(folder)
    if not cases:
        raise InputError(
            f"{folder} holds no labelled images; expected X.nii.gz beside X_gt.nii.gz, X_labels.nii.gz or X_seg.nii.gz,"
            " an nnU-Net raw data set, or a MONAI data list"
        )
    return cases


def _stem(path: Path) -> str:
    for ending in _IMAGE_ENDINGS:
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    return path.stem


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(_IMAGE_ENDINGS))


def _pairs(folder: Path) -> list[LabelledCase]:
    by_stem = {_stem(path): path for path in _images(folder)}
    cases = []
    for stem, path in by_stem.items():
        for ending in ("_gt", "_labels", "_seg"):
            if stem + ending in by_stem:
                cases.append(LabelledCase(stem, path, by_stem[stem + ending]))
    return cases


def _nnunet_raw(folder: Path) -> list[LabelledCase]:
    labels = {_stem(path): path for path in _images(folder / "labelsTr")} if (folder / "labelsTr").is_dir() else {}
    cases = []
    for path in _images(folder / "imagesTr"):
        stem = _stem(path).removesuffix("_0000")
        if stem not in labels:
            raise InputError(f"{path.name} has no labels: labelsTr/{stem}.nii.gz is missing")
        cases.append(LabelledCase(stem, path, labels[stem]))
    return cases


def _is_monai_list(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and isinstance(content.get("training"), list)


def _monai_list(path: Path) -> list[LabelledCase]:
    if not _is_monai_list(path):
        raise InputError(f"{path.name} is no MONAI data list: it lacks a list called 'training'")
    entries = json.loads(path.read_text(encoding="utf-8"))["training"]
    cases = []
    for entry in entries:
        if not isinstance(entry, dict) or "image" not in entry or "label" not in entry:
            raise InputError(f"{path.name}: each entry of 'training' needs an 'image' and a 'label', got {entry!r}")
        image, labels = path.parent / entry["image"], path.parent / entry["label"]
        for file in (image, labels):
            if not file.is_file():
                raise InputError(f"{path.name} names {file}, which does not exist")
        cases.append(LabelledCase(_stem(image), image, labels))
    return cases


def read_case(case: LabelledCase, table: Mapping[int, int]) -> list[LabelledVolume]:
    """Read one case; a 4D image gives one volume per frame.

    Raises
    ------
    InputError
        When image and labels differ in shape, or a label is unknown.
    """
    image, labels = read_nifti(case.image), read_nifti(case.labels)
    if image.values.shape != labels.values.shape:
        raise InputError(
            f"{case.name}: the image has shape {image.values.shape} and its labels {labels.values.shape} "
            "(frames, slices, rows, columns); give the labels of this image"
        )
    translated = translate_labels(labels.values, table, case.labels.name)
    dx, dy, dz = image.grid.spacing_mm
    frames = len(image.values)
    return [
        LabelledVolume(
            case.name if frames == 1 else f"{case.name}#{frame}",
            np.asarray(image.values[frame], np.float32),
            translated[frame],
            (dz, dy, dx),
        )
        for frame in range(frames)
    ]


@dataclass(frozen=True)
class FolderSource:
    """A labelled folder as a training source.

    Attributes
    ----------
    folder
        See `find_cases`.
    labels_map
        What `label_table` reads: ``cmrsim``, ``acdc``, ``mms``, ``1=rv,2=myo,3=lv``, or a table.
    spacing_mm
        What to resample to: (row, column) for slices, (slice, row, column) for volumes; None keeps the pixels.
    size
        (rows, columns) or (slices, rows, columns) of what comes out, cut or padded about the labels' centre.
    only, without
        Names of the cases to take, or to leave out (patterns of `fnmatch`); for fixed splits.
    count, choice
        Take only this many of them, drawn by the number `choice`: how much real data is needed (P2).
    """

    folder: str
    labels_map: str | Mapping[int, int] = "cmrsim"
    spacing_mm: Sequence[float] | None = (1.5, 1.5)
    size: Sequence[int] = (160, 160)
    only: Sequence[str] = field(default_factory=tuple)
    without: Sequence[str] = field(default_factory=tuple)
    count: int | None = None
    choice: int = 0
