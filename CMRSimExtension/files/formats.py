"""Every format behind one name: which one a path means, and reading and writing in it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files import cine_files, data_sets, nrrd_files
from CMRSimExtension.files.format_names import NAMED_FORMATS
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine

NIFTI, NRRD, SEGMENTATION_NRRD = "nifti", "nrrd", "seg-nrrd"
DICOM, ENHANCED, DICOM_SEG, ISMRMRD = "dicom", "dicom-enhanced", "dicom-seg", "ismrmrd"
_ENDINGS = (
    (".seg.nrrd", SEGMENTATION_NRRD), (".nrrd", NRRD), (".nhdr", NRRD), (".nii.gz", NIFTI), (".nii", NIFTI),
    (".h5", ISMRMRD), (".mrd", ISMRMRD), (".dcm", ENHANCED),
)


_HELD: dict[str, tuple[str, ...]] = {
    NIFTI: cine_files.TRUTHS, NRRD: ("labels", "anatomy"), DICOM: ("labels",), data_sets.NNUNET: ("labels",),
    data_sets.MONAI: ("labels",), ENHANCED: (), ISMRMRD: (),
}
"""Which truths an image of each format brings along."""


@dataclass(frozen=True)
class Content:
    """What a path holds: a cine, or labels alone.

    Attributes
    ----------
    cine
        None where the file holds labels alone.
    labels
        (frames, slices, rows, columns) uint8 where the file holds labels alone, else None (a cine has its own).
    grid
        Geometry of either.
    """

    grid: ImageGrid
    cine: Cine | None = None
    labels: NDArray[np.uint8] | None = None


def format_of(path: Path, named: str | None = None) -> str:
    """The format to write `path` in.

    Parameters
    ----------
    path
        Output.
    named
        What ``--format`` said, or None.

    Raises
    ------
    InputError
        The ending is unknown, or contradicts `named`.
    """
    found = next((kind for ending, kind in _ENDINGS if path.name.lower().endswith(ending)), None)
    if named is None:
        if found is not None:
            return found
        if path.suffix and not path.is_dir():
            raise InputError(f"{path.name} ends in none of {', '.join(e for e, _ in _ENDINGS)}; name the output so, or "
                             "give --format for a folder")
        return DICOM
    if named not in NAMED_FORMATS:
        raise InputError(f"--format is {named!r}; choose from {', '.join(NAMED_FORMATS)}")
    fits = {None, found} if named in (ENHANCED, ISMRMRD) else {None, ENHANCED} if named == DICOM_SEG else {None}
    if found not in fits:
        raise InputError(f"{path.name} is not a name for --format {named}; leave --format out or change the ending")
    return named


def left_behind(content: Content, source: Path, kind: str) -> list[str]:
    """The truths that `source` has and an image of the format `kind` does not hold."""
    if content.cine is None or kind not in _HELD:
        return []
    own = {"labels": content.cine.labels, "anatomy": content.cine.anatomy, "motion": content.cine.displacement_mm,
           "fractions": content.cine.fractions}
    beside = source.name.lower().endswith(cine_files.NIFTI_ENDINGS)
    return [
        truth for truth, values in own.items()
        if truth not in _HELD[kind] and (values is not None or beside and cine_files.companion(source, truth).is_file())
    ]


def read_content(
    path: Path | str, series: str | None = None, truths: tuple[str, ...] = ("labels", "anatomy")
) -> Content:
    """Read whatever lies at `path`.

    Parameters
    ----------
    path
        File, DICOM folder or data set.
    series
        Which stack or case, where a folder holds several.
    truths
        Which of the companions of a NIfTI image to read too.

    Raises
    ------
    InputError, FileFormatError
        As the readers; a file of an unknown kind.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; check the name")
    if path.is_dir():
        if data_sets.is_data_set(path):
            cine = data_sets.read_data_set(path, series)
            return Content(cine.grid, cine)
        return _dicom(path, series)
    kind = next((kind for ending, kind in _ENDINGS if path.name.lower().endswith(ending)), None)
    if series is not None and kind not in (None, ENHANCED):
        raise InputError(f"{path.name} is one image, without a series {series!r}; leave --series out")
    if kind == NIFTI:
        cine = cine_files.read_cine(path, truths)
        return Content(cine.grid, cine)
    if kind == SEGMENTATION_NRRD:
        labels = nrrd_files.read_segmentation(path)
        return Content(labels.grid, labels=labels.values)
    if kind == NRRD:
        cine = nrrd_files.read_sequence(path)
        return Content(cine.grid, cine)
    if kind == ISMRMRD:
        from CMRSimExtension.files.ismrmrd_reading import read_ismrmrd

        cine = read_ismrmrd(path)
        return Content(cine.grid, cine)
    from CMRSimExtension.files.dicom_images import is_dicom

    if is_dicom(path):
        return _dicom(path, series)
    raise FileFormatError(f"{path.name} is not an image that is read here; give .nii.gz, .nrrd, .seg.nrrd, .h5, a "
                          "DICOM file or folder, or a data set")


def read_image(
    path: Path | str, series: str | None = None, truths: tuple[str, ...] = ("labels", "anatomy")
) -> Cine:
    """Read the cine at `path`, as `read_content`; an `InputError` where there are labels alone."""
    content = read_content(path, series, truths)
    if content.cine is None:
        raise InputError(f"{path} holds labels and no image; give the image")
    return content.cine


def labels_of(content: Content, path: Path) -> NDArray[np.uint8]:
    """The labels of what was read: its own, or the image itself where it is nothing but labels.

    Raises
    ------
    InputError
        Neither: a grey image without labels beside it.
    """
    if content.labels is not None:
        return content.labels
    if content.cine is not None and content.cine.labels is not None:
        return content.cine.labels
    from CMRSimExtension.anatomy.structures import Structure

    if content.cine is not None:
        image = content.cine.image
        if image.min() >= 0 and image.max() <= max(Structure) and np.all(image == np.floor(image)) and image.any():
            return image.astype(np.uint8)
    raise InputError(f"{path.name} has no labels, and none lie beside it; give an image with its _labels file, or a "
                     "label image")


def write_content(
    content: Content, path: Path, kind: str, *, source: Path, reference: Path | None = None, series: str | None = None
) -> list[Path]:
    """Write what `read_content` read, in the format `kind`.

    Parameters
    ----------
    content
        What to write.
    path
        Output.
    kind
        See `format_of`.
    source
        Where it was read from: names the cases of a data set, and stands in messages.
    reference
        DICOM folder or file of the images that a segmentation belongs to.
    series
        Which stack of `reference`.

    Raises
    ------
    InputError
        The format cannot hold it.
    """
    if kind in (SEGMENTATION_NRRD, DICOM_SEG):
        labels = labels_of(content, source)
        if kind == SEGMENTATION_NRRD:
            if content.cine is not None:
                cine_files.refuse_uneven(content.cine, "a segmentation of Slicer")
            return nrrd_files.write_segmentation(labels, content.grid, path)
        from CMRSimExtension.files.dicom_segmentation import write_dicom_seg
        from CMRSimExtension.files.label_origin import origin_of_labels

        origin = origin_of_labels(source, content.cine)
        return write_dicom_seg(content.cine, labels, content.grid, path, reference, series, origin)
    if content.cine is None:
        if content.labels is not None and kind in (NIFTI, NRRD):
            # Labels alone: the label image itself is the file.
            return _write_labels(content, path, kind)
        raise InputError(f"{source.name} holds labels and no image, which {kind} needs; convert them to .seg.nrrd, "
                         ".nii.gz or --format dicom-seg")
    cine = content.cine
    if kind == NIFTI:
        return cine_files.write_cine(cine, path)
    if kind == NRRD:
        return nrrd_files.write_sequence(cine, path)
    if kind in (data_sets.NNUNET, data_sets.MONAI):
        return data_sets.write_data_set([(case_name(source), cine)], path, kind)
    if kind == ISMRMRD:
        from CMRSimExtension.files.ismrmrd_writing import write_ismrmrd

        return write_ismrmrd(cine, path)
    if kind == ENHANCED:
        from CMRSimExtension.files.dicom_enhanced import write_enhanced

        return write_enhanced(cine, path)
    from CMRSimExtension.files.dicom_writing import write_dicom
    from CMRSimExtension.files.label_origin import origin_of_labels

    return write_dicom(cine, path, origin_of_labels(source, cine))


def case_name(path: Path) -> str:
    """`path`'s name without its ending, as the name of a case."""
    for ending, _ in _ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)].removesuffix(".seq")
    return path.name or "cine"


def _dicom(path: Path, series: str | None) -> Content:
    from CMRSimExtension.files.dicom_planes import is_segmentation, read_planes
    from CMRSimExtension.files.dicom_reading import read_dicom
    from CMRSimExtension.files.label_planes import grid_of_planes, on_grid

    if path.is_file() and series is None and is_segmentation(path):
        planes = read_planes(path)
        grid = grid_of_planes(planes)
        return Content(grid, labels=on_grid(planes, grid, path.name)[None])
    cine = read_dicom(path, series)
    return Content(cine.grid, cine)


def _write_labels(content: Content, path: Path, kind: str) -> list[Path]:
    from CMRSimExtension.files.atomic import atomic_file
    from CMRSimExtension.files.nifti import write_nifti
    from CMRSimExtension.files.nrrd_header import write_nrrd

    labels = content.labels if content.labels is not None else np.zeros((1, *content.grid.shape), np.uint8)
    with atomic_file(path) as temporary:
        if kind == NIFTI:
            write_nifti(temporary, labels, content.grid.affine_ras, description="CMRSimExtension labels")
        else:
            many = labels.shape[0] > 1
            fields = {"DataNodeClassName": "vtkMRMLLabelMapVolumeNode"}
            write_nrrd(temporary, labels if many else labels[0], content.grid.affine_ras, fields,
                       thickness_mm=content.grid.slice_thickness_mm, sequence_unit="" if many else None)
    return [path]

