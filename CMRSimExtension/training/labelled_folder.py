"""Labelled images from a folder: pairs of files, an nnU-Net raw data set, or a MONAI data list."""

import fnmatch
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.case_values import patient_of
from CMRSimExtension.training.label_numbers import SEGMENTATION, is_slicer_segmentation, read_labels, read_values

_NIFTI = (".nii.gz", ".nii")
_ENDINGS = (*_NIFTI, SEGMENTATION, ".seq.nrrd", ".nrrd")
_LABEL_NAMES = ("_gt", "_labels", "_seg")


@dataclass(frozen=True)
class LabelledCase:
    """One image file and the label file that belongs to it.

    Attributes
    ----------
    name
        What the case is called in tables.
    image, labels
        Paths.
    pathology
        Group of its patient, where an ``Info.cfg`` beside it says one (ACDC as published); "" elsewhere.
    """

    name: str
    image: Path
    labels: Path
    pathology: str = ""


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
    file_frames
        How many frames its file has.
    """

    name: str
    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    file_frames: int = 1


def find_cases(folder: Path) -> list[LabelledCase]:
    """Find the labelled cases of a folder, in the order of their paths.

    Known layouts: a MONAI data list (the folder's only ``*.json`` with a ``training`` list, or a path to such a
    file), nnU-Net raw (``imagesTr/X_0000.nii.gz`` and ``labelsTr/X.nii.gz``), and pairs ``X.nii.gz`` with
    ``X_gt.nii.gz``, ``X_labels.nii.gz`` or ``X_seg.nii.gz``, in the folder or any below it (ACDC and M&Ms as
    published), also as .nrrd, .seq.nrrd or, for labels, .seg.nrrd. Images without labels and files whose names begin
    with a dot are left alone. A case is called X, or, where several are, by its path within the folder.

    Raises
    ------
    InputError
        When the folder does not exist, holds no pair, an image has several label files, or a listed file is missing.
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
            " here or in folders below, an nnU-Net raw data set, or a MONAI data list"
        )
    return cases


def choose_cases(cases: Sequence[LabelledCase], only: Sequence[str], without: Sequence[str]) -> list[LabelledCase]:
    """The cases whose names match a pattern of `only` (all, where it is empty) and none of `without` (`fnmatch`)."""

    def matches(case: LabelledCase, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatch(case.name, pattern) for pattern in patterns)

    return [case for case in cases if (not only or matches(case, only)) and not matches(case, without)]


def _stem(path: Path) -> str:
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(_NIFTI))


def _pairs(folder: Path) -> list[LabelledCase]:
    by_stem: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.name.lower().endswith(_ENDINGS) and path.is_file():
            by_stem.setdefault(path.with_name(_stem(path)), []).append(path)
    cases = []
    for stem, paths in by_stem.items():
        image = _preferred(paths)
        labels = [
            path for name in _LABEL_NAMES for path in _different(by_stem.get(stem.with_name(stem.name + name), []))
        ]
        if image is None or not labels:
            continue
        if len(labels) > 1:
            names = " and ".join(path.name for path in labels)
            raise InputError(f"{image} has several label files, {names}; keep the one that is meant")
        cases.append(LabelledCase(stem.name, image, labels[0]))
    return _with_groups(_with_own_names(cases, folder))


def _preferred(paths: Sequence[Path]) -> Path | None:
    """Of copies of an image in several formats the one to read, NIfTI first; None where there is none."""
    images = [path for path in paths if not is_slicer_segmentation(path)]
    return next((path for end in _ENDINGS for path in images if path.name.lower().endswith(end)), None)


def _different(paths: Sequence[Path]) -> list[Path]:
    """Label files of one name: one of the copies as label image, and segmentations, which may have been corrected."""
    image = _preferred(paths)
    segmentations = [path for path in paths if is_slicer_segmentation(path)]
    return segmentations if image is None else [image, *segmentations]


def _with_own_names(cases: Sequence[LabelledCase], folder: Path) -> list[LabelledCase]:
    """Cases that share a name called by their paths within `folder`."""
    count = Counter(case.name for case in cases)

    def path_of(case: LabelledCase) -> str:
        stem = case.image.with_name(_stem(case.image))
        return (stem.relative_to(folder) if stem.is_relative_to(folder) else stem).as_posix()

    return [case if count[case.name] == 1 else replace(case, name=path_of(case)) for case in cases]


def _with_groups(cases: Sequence[LabelledCase]) -> list[LabelledCase]:
    """Cases with the pathology that the ``Info.cfg`` of their folder says, where that is a single patient's."""
    patients: dict[Path, set[str]] = {}
    for case in cases:
        patients.setdefault(case.image.parent, set()).add(patient_of(case.name))
    groups = {folder: _info_group(folder / "Info.cfg") for folder, found in patients.items() if len(found) == 1}
    return [replace(case, pathology=groups.get(case.image.parent, "")) for case in cases]


def _info_group(path: Path) -> str:
    """``Group`` of a file of lines such as ``Group: DCM``; "" without one."""
    if not path.is_file():
        return ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "Group":
            return value.strip()
    return ""


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
    return _with_own_names(cases, path.parent)


def read_case(case: LabelledCase, table: Mapping[int, int]) -> list[LabelledVolume]:
    """Read one case; a 4D image gives one volume per labelled frame.

    Frames without any label are left out where others have some (readers label end diastole and end systole, as in
    M&Ms as published): they show a heart that nobody drew. A file without any label is taken whole.

    Raises
    ------
    InputError
        When image and labels differ in shape, or a label is unknown.
    """
    image, grid = read_values(case.image)
    labels, _ = read_labels(case.labels, table, grid)
    if image.shape != labels.shape:
        raise InputError(
            f"{case.name}: the image has shape {image.shape} and its labels {labels.shape} "
            "(frames, slices, rows, columns); give the labels of this image"
        )
    dx, dy, dz = grid.spacing_mm
    frames = len(image)
    return [
        LabelledVolume(
            case.name if frames == 1 else f"{case.name}#{frame}",
            np.asarray(image[frame], np.float32),
            labels[frame],
            (dz, dy, dx),
            frames,
        )
        for frame in labelled_frames(labels)
    ]


def labelled_frames(labels: NDArray[np.uint8]) -> list[int]:
    """Frames of (frames, slices, rows, columns) labels that have any; all of them where none has."""
    return [frame for frame in range(len(labels)) if labels[frame].any()] or list(range(len(labels)))


@dataclass(frozen=True)
class LabelledFolder:
    """Labelled cases of a folder.

    Attributes
    ----------
    folder
        See `find_cases`.
    labels_map
        What `label_numbers.label_table` reads: ``cmrsim``, ``acdc``, ``mms``, ``1=rv,2=myo,3=lv``, or a table.
    only, without
        Names of the cases to take, or to leave out (patterns of `fnmatch`); for fixed splits.
    count, choice
        Take only this many of them, drawn by the number `choice`: how much real data is needed (P2).
    """

    folder: str
    labels_map: str | Mapping[int, int] = "cmrsim"
    only: Sequence[str] = field(default=(), kw_only=True)
    without: Sequence[str] = field(default=(), kw_only=True)
    count: int | None = field(default=None, kw_only=True)
    choice: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise InputError(
                f"{self.folder}: the number of cases is {self.count}; take at least 1, or leave it out to take them all"
            )

    def cases(self) -> list[LabelledCase]:
        """The cases that are meant, in the order of `find_cases`.

        Raises
        ------
        InputError
            As `find_cases`; when no case is left, or fewer than `count`.
        """
        cases = choose_cases(find_cases(Path(self.folder).expanduser()), self.only, self.without)
        if self.count is not None:
            if self.count > len(cases):
                raise InputError(
                    f"{self.folder}: {self.count} cases asked for, {len(cases)} there; ask for {len(cases)} at most"
                )
            picked = np.random.default_rng(self.choice).choice(len(cases), self.count, replace=False)
            cases = [cases[index] for index in sorted(picked)]
        if not cases:
            raise InputError(f"{self.folder}: no case is left by only={self.only}, without={self.without}")
        return cases


@dataclass(frozen=True)
class FolderSource(LabelledFolder):
    """A labelled folder as a training source.

    Attributes
    ----------
    spacing_mm
        What to resample to: (row, column) for slices, (slice, row, column) for volumes; None keeps the pixels.
    size
        (rows, columns) or (slices, rows, columns) of what comes out, cut or padded about the labels' centre.
    """

    spacing_mm: Sequence[float] | None = (1.5, 1.5)
    size: Sequence[int] = (160, 160)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.size) not in (2, 3) or min(self.size) < 1:
            raise InputError(
                f"{self.folder}: size is {list(self.size)}; write [rows, columns] for slices or [slices, rows, "
                "columns] for volumes, each at least 1 pixel"
            )
        if self.spacing_mm is None:
            return
        if len(self.spacing_mm) != len(self.size):
            raise InputError(
                f"{self.folder}: spacing_mm is {list(self.spacing_mm)} and size {list(self.size)}; write as many "
                "distances as sides (two for slices, three for volumes), or spacing_mm: null to keep the pixels"
            )
        if not min(self.spacing_mm) > 0:
            raise InputError(f"{self.folder}: spacing_mm is {list(self.spacing_mm)}; each distance must be above 0 mm")
