"""What DICOM files a folder holds: MR images, segmentations, what cannot be read, and objects of other kinds."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.dicom_images import (
    MR_CLASSES,
    SEGMENTATION,
    DicomImage,
    images_of,
    is_dicom,
    read_header,
)
from CMRSimExtension.files.third_party import reading

_DICOMDIR = "1.2.840.10008.1.3.10"
"""The index of a disc: it lists the objects that lie there themselves."""

_IDENTITY = ("SOPClassUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription",
             "Rows")


@dataclass(frozen=True)
class OtherObject:
    """A DICOM file that is no image to be read here.

    Attributes
    ----------
    path
        The file.
    modality, class_name
        As "PR", "Grayscale Softcopy Presentation State"; the modality is empty where the header has none.
    series_uid
        Empty where the header has none.
    stored_as_mr
        Whether it is stored as MR image nevertheless, so that it may be one whose modality is wrong.
    error
        Why it cannot be read as an image, where its modality says that it is one of MR.
    """

    path: Path
    modality: str
    class_name: str
    series_uid: str
    stored_as_mr: bool = False
    error: FileFormatError | None = None


@dataclass(frozen=True)
class UnusableFile:
    """A file that is, or may be, an MR image and cannot be read as one.

    Attributes
    ----------
    path, error
        The file, and what is wrong with it.
    study_uid, series_uid, series_number, series_description
        What of its header could be read; empty, and None, elsewhere.
    """

    path: Path
    error: FileFormatError
    study_uid: str = ""
    series_uid: str = ""
    series_number: int | None = None
    series_description: str = ""


@dataclass(frozen=True)
class DicomFiles:
    """The DICOM files of a folder, or a single one.

    Attributes
    ----------
    path
        The folder or file.
    images
        Every MR image; at least one.
    segmentations, others, unusable
        What else there is.
    """

    path: Path
    images: list[DicomImage] = field(default_factory=list)
    segmentations: list[Path] = field(default_factory=list)
    others: list[OtherObject] = field(default_factory=list)
    unusable: list[UnusableFile] = field(default_factory=list)


def find_files(path: Path) -> DicomFiles:
    """The DICOM files below the folder `path`, or that single file; files that are not DICOM are passed over.

    Raises
    ------
    InputError
        Nothing there, no DICOM MR image in it, or a file may not be read.
    FileFormatError
        The only MR images are damaged, or lack what gives them a place in space.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; check the name")
    found = DicomFiles(path)
    for file in [path] if path.is_file() else _files_below(path):
        if is_dicom(file):
            _sort_in(file, found)
        elif path.is_dir() and file.suffix.lower() == ".dcm" and not file.name.startswith("."):
            found.unusable.append(UnusableFile(file, FileFormatError(
                f"{file.name} is named as a DICOM file and does not begin as one (DICM after 128 bytes); it is "
                "truncated, damaged or of another kind, copy or export it again"
            )))
    if not found.images:
        errors = [file.error for file in found.unusable] + [other.error for other in found.others if other.error]
        if errors:
            raise errors[0]
        kinds = inventory(found.others) + ([f"SEG ({_files(len(found.segmentations))})"] if found.segmentations else [])
        there = f"; there is {', '.join(kinds)}" if kinds else ""
        raise InputError(f"{path} holds no DICOM MR image{there}; give the folder of a cine series")
    return found


def inventory(others: Sequence[OtherObject]) -> list[str]:
    """Each kind of these objects and how many there are, as "PR (Grayscale Softcopy Presentation State, 1 file)"."""
    return [
        f"{modality} ({class_name + ', ' if class_name else ''}{_files(count)})"
        for (modality, class_name), count in counts_of(others).items()
    ]


def counts_of(others: Sequence[OtherObject]) -> dict[tuple[str, str], int]:
    """How many objects there are of each modality and class, in their alphabetical order."""
    return dict(sorted(Counter((other.modality or "no modality", other.class_name) for other in others).items()))


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _files_below(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(where) / name


def _sort_in(file: Path, found: DicomFiles) -> None:
    """Put a DICOM file where it belongs in `found`."""
    damage: FileFormatError | None = None
    try:
        header = read_header(file)
    except FileFormatError as error:
        header, damage = _remains_of(file), error
    kind, modality = _class_of(header), _text(header, "Modality")
    if kind == _DICOMDIR:
        return
    if kind == SEGMENTATION and damage is None:
        found.segmentations.append(file)
        return
    claims_to_be_mr = modality == "MR" and bool(_text(header, "Rows"))
    if (kind and kind not in MR_CLASSES and not claims_to_be_mr) or modality not in ("MR", ""):
        found.others.append(_other(file, header))
        return
    if not kind:
        damage = damage or FileFormatError(
            f"{file.name} does not say what kind of object it is (no SOP Class UID (0008,0016), nor a Media Storage "
            "SOP Class UID (0002,0002)); it is truncated, or export it again"
        )
    try:
        if damage is not None:
            raise damage
        found.images.extend(images_of(file, header))
    except FileFormatError as error:
        if kind and kind not in MR_CLASSES:
            # A screenshot or a map that another program made of MR images.
            found.others.append(_other(file, header, error))
            return
        number = _text(header, "SeriesNumber")
        found.unusable.append(UnusableFile(
            file, error, _text(header, "StudyInstanceUID"), _text(header, "SeriesInstanceUID"),
            int(number) if number.isdecimal() else None, _text(header, "SeriesDescription"),
        ))


def _other(file: Path, header: Any, error: FileFormatError | None = None) -> OtherObject:
    from pydicom.uid import UID

    kind = _class_of(header)
    return OtherObject(file, _text(header, "Modality"), UID(kind).name.removesuffix(" Storage"),
                       _text(header, "SeriesInstanceUID"), kind in MR_CLASSES, error)


def _remains_of(file: Path) -> Any:
    """What can still be read of a damaged header: a pydicom data set, whose values may be broken."""
    import pydicom

    try:
        with reading(file, "a DICOM file"):
            return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_IDENTITY))
    except FileFormatError:
        return pydicom.Dataset()


def _class_of(header: Any) -> str:
    """SOP class UID: that of the data set, else that of the file meta information; empty without both."""
    meta = getattr(header, "file_meta", None)
    return _text(header, "SOPClassUID") or ("" if meta is None else _text(meta, "MediaStorageSOPClassUID"))


def _text(header: Any, name: str) -> str:
    """A value of a header as text; empty where it is missing or broken."""
    # pydicom converts a value when it is asked for, and raises whatever a broken byte leads it to.
    try:
        value = header.get(name)
        return "" if value is None else str(value).strip()
    except Exception:
        return ""
