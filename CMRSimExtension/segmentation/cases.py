"""The cases of a folder: image files of any format that is read here, and sub-folders of DICOM images."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from CMRSimExtension.errors import CMRSimError, InputError
from CMRSimExtension.files.cine_files import COMPANIONS, is_nifti_name
from CMRSimExtension.files.data_sets import cines_in_folder, is_data_set
from CMRSimExtension.files.dicom_images import is_dicom
from CMRSimExtension.files.formats import case_name
from CMRSimExtension.files.third_party import reading

LABEL_ENDINGS = ("_gt", "_seg", *(f"_{name}" for name in COMPANIONS))
"""Files of a folder whose names end so (before .nii.gz, .nrrd or .h5) are no images."""
_SEGMENTATION = ".seg.nrrd"
_OTHER_IMAGES = (".nrrd", ".nhdr", ".h5", ".mrd")
_RAW_DATA = "_kspace"
"""`cmrsim simulate` writes raw data so beside the image."""


@dataclass(frozen=True)
class FolderCases:
    """What a folder holds to be segmented.

    Attributes
    ----------
    paths
        Files and sub-folders, sorted by name: one case each.
    left_out
        Sentences on images that are no cases.
    """

    paths: list[Path]
    left_out: list[str]


def holds_one_image(folder: Path) -> bool:
    """Whether `folder` is to be read as one image: a data set, or DICOM images of one study and no other images.

    DICOM files of several studies, without a sub-folder for each, count as one too: which of them is meant, the reader
    asks.
    """
    if is_data_set(folder):
        return True
    if _image_files(folder):
        return False
    loose, below = _dicom_files(folder), _dicom_folders(folder)
    if len({*loose.values(), *below.values()}) == 1:
        return True
    return bool(loose) and not below and not _files_of_own_study(loose)


def find_cases(folder: Path) -> FolderCases:
    """The cases of `folder`, which is not one image (see `holds_one_image`).

    Raises
    ------
    InputError
        There is none; the message says what the folder holds.
    """
    loose, below = _dicom_files(folder), _dicom_folders(folder)
    own = _files_of_own_study(loose)
    paths = sorted([*_image_files(folder), *own, *below])
    if not paths:
        raise InputError(
            f"{folder} {_inventory(folder)}; give a folder of .nii.gz, .nrrd or "
            ".h5 files or of sub-folders with DICOM images, one for each case, or one DICOM folder"
        )
    others = sorted(path.name for path in loose if path not in own)
    left_out = []
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        left_out.append(
            f"{others[0]}{more} beside the cases: DICOM files are taken with a sub-folder for each case; left out"
        )
    return FolderCases(paths, left_out)


def _image_files(folder: Path) -> list[Path]:
    """NIfTI, NRRD and ISMRMRD images right in `folder`; labels, maps and raw data of an image are none."""
    listed = _listed(folder)
    names = {case_name(path) for path in listed if not path.is_dir()}
    nifti = set(cines_in_folder(folder))
    found = []
    for path in listed:
        lower, name = path.name.lower(), case_name(path)
        other = lower.endswith(_OTHER_IMAGES) and not lower.endswith(_SEGMENTATION)
        if not (other or path in nifti) or path.is_dir() or name.endswith(LABEL_ENDINGS):
            continue
        if name.endswith(_RAW_DATA) and name.removesuffix(_RAW_DATA) in names:
            continue
        found.append(path)
    return found


def _dicom_files(folder: Path) -> dict[Path, str]:
    """Study of each DICOM file right in `folder`."""
    return {
        path: study
        for path in _listed(folder)
        if path.is_file() and _may_be_dicom(path) and (study := _study(path)) is not None
    }


def _dicom_folders(folder: Path) -> dict[Path, str]:
    """Study of the first DICOM image below each sub-folder of `folder` that has one."""
    found = {}
    for sub in (path for path in _listed(folder) if path.is_dir()):
        for where, folders, names in os.walk(sub):
            folders.sort()
            files = (Path(where) / name for name in sorted(names))
            study = next((study for file in files if _may_be_dicom(file) and (study := _study(file))), None)
            if study is not None:
                found[sub] = study
                break
    return found


def _may_be_dicom(file: Path) -> bool:
    """Whether the name is of no other format: only then is the file opened."""
    return not is_nifti_name(file) and not file.name.lower().endswith((*_OTHER_IMAGES, ".json", ".csv", ".txt"))


def _study(file: Path) -> str | None:
    """Study of a DICOM file; its path where it is damaged, None where it is no image (segmentations, indices)."""
    try:
        if not is_dicom(file):
            return None
        import pydicom

        with reading(file, "a DICOM file"):
            header = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "Modality", "Rows"]
            )
            if header.get("Modality") == "SEG" or not header.get("Rows"):
                return None
            return str(header.get("StudyInstanceUID", "") or file)
    except CMRSimError:
        # The case is listed, and its own failure says what is wrong.
        return str(file)


def _files_of_own_study(loose: dict[Path, str]) -> list[Path]:
    """Files that hold all of a study, as enhanced objects may; none where some study is spread over several files."""
    studies = Counter(loose.values())
    return [] if len(studies) < len(loose) else list(loose)


def _listed(folder: Path) -> list[Path]:
    """What lies right in `folder`, hidden files (of macOS, of writing in progress) left out."""
    return sorted(path for path in Path(folder).iterdir() if not path.name.startswith("."))


def _inventory(folder: Path) -> str:
    """What a folder without an image is, or holds instead, in words."""
    listed = _listed(folder)
    with_images = [path.name for path in listed if path.is_dir() and not is_data_set(path) and _image_files(path)]
    kinds = Counter(
        next((end for end in (_SEGMENTATION, ".nii.gz") if path.name.lower().endswith(end)), path.suffix.lower())
        for path in listed
        if path.is_file()
    )
    parts = [f"{count} {kind or 'unnamed kind of'} file{'s' * (count > 1)}" for kind, count in sorted(kinds.items())]
    folders = sum(path.is_dir() for path in listed)
    if with_images:
        more = f" and {len(with_images) - 1} more" if len(with_images) > 1 else ""
        parts.append(f"sub-folders with image files ({with_images[0]}{more}), which must lie in one folder or be given")
    elif folders:
        parts.append(f"{folders} folder{'s' * (folders > 1)} without DICOM images")
    return f"holds no image that is read here, but {', '.join(parts)}" if parts else "is empty"
