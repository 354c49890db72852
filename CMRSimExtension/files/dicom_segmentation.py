"""DICOM Segmentation objects (through highdicom), one for each labelled frame, with references to its images."""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.terminology import structure_of_code, structure_of_segment
from CMRSimExtension.errors import CMRSimWarning, FileFormatError, InputError
from CMRSimExtension.files.dicom_identity import stored, uid
from CMRSimExtension.files.dicom_images import DicomImage
from CMRSimExtension.files.dicom_references import as_one_image, as_one_series, refer_to_every_series, refer_to_frames
from CMRSimExtension.files.dicom_segments import description_of, series_description_of, series_number_of
from CMRSimExtension.files.label_origin import GIVEN, LabelOrigin, origin_of_own_labels
from CMRSimExtension.files.third_party import reading
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.version import __version__


def segmentation_datasets(
    cine: Cine | None,
    images: Sequence[Sequence[Any]],
    labels: NDArray[np.uint8] | None = None,
    numbers: NDArray[np.integer] | None = None,
    origin: LabelOrigin | None = None,
) -> list[tuple[int, Any]]:
    """A Segmentation for each frame with any label.

    Parameters
    ----------
    cine
        Cine that the labels belong to, or None where only its DICOM images are known.
    images
        pydicom data sets of its images, [slice][frame], which the segmentations refer to.
    labels
        (frames, slices, rows, columns) labels; the clinical ones of `cine` when None.
    numbers
        Where `images` are enhanced objects, one or several: (slices, frames) index of each in its object's frames.
        None for classic ones.
    origin
        Who made the labels; None: as the record of `cine` says where they are its own, else not known.

    Returns
    -------
    list of (int, highdicom.seg.Segmentation)
        With the index of the frame.

    Raises
    ------
    InputError
        There are no labels, or they have another shape than the images.
    """
    import highdicom
    import pydicom

    values = cine.labels if labels is None and cine is not None else labels
    simulated = str(images[0][0].get((0x0008, 0x001C), pydicom.DataElement(0x0008001C, "CS", "NO")).value) == "YES"
    if values is None or not values.any():
        raise InputError("there are no labels to write as a DICOM segmentation; give an image with its _labels file")
    if len(images) != values.shape[1] or len(images[0]) != values.shape[0]:
        raise InputError(
            f"the labels have {values.shape[1]} slices of {values.shape[0]} frames, the images they belong to "
            f"{len(images)} of {len(images[0])}; give the matching --reference"
        )
    if origin is None:
        origin = origin_of_own_labels(cine) if cine is not None and values is cine.labels else GIVEN
    # Other labels of the same images, or by somebody else, are other objects.
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    key = "/".join([str(images[0][0].SOPInstanceUID), digest, origin.kind, origin.name, origin.version])
    present = [int(n) for n in np.unique(values) if n]
    found = []
    for frame in range(values.shape[0]):
        if not values[frame].any():
            continue
        of_frame = [of_slice[frame] for of_slice in images]
        # A segment for every label of the series, so that segment numbers mean the same in every frame.
        planes = np.stack([values[frame] == n for n in present], axis=-1).astype(np.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = highdicom.seg.Segmentation(
                source_images=as_one_series(of_frame) if numbers is None else [
                    as_one_image(of_frame, numbers[:, frame])
                ],
                pixel_array=planes,
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[description_of(number, n, origin) for number, n in enumerate(present, 1)],
                series_instance_uid=uid(key, "segmentation series"),
                series_number=series_number_of((of_slice[0] for of_slice in images), origin),
                sop_instance_uid=uid(key, "segmentation", frame),
                instance_number=frame + 1,
                manufacturer="CMRSimExtension",
                manufacturer_model_name="cmrsim",
                software_versions=__version__,
                device_serial_number="0",
                series_description=series_description_of(origin),
                content_label="LABELS",
                content_description=f"frame {frame + 1} of {values.shape[0]}",
                omit_empty_frames=True,
            )
        if simulated:
            dataset.add_new(0x0008001C, "CS", "YES")
        # highdicom stamps the time of writing; the same labels shall give the same file.
        for name in ("InstanceCreationDate", "InstanceCreationTime"):
            if name in dataset:
                delattr(dataset, name)
        dataset.add_new("ContentDate", "DA", "20000101")
        dataset.add_new("ContentTime", "TM", "000000")
        for name in ("SeriesDate", "SeriesTime"):
            if name in dataset:
                delattr(dataset, name)
        if numbers is None:
            refer_to_every_series(dataset, of_frame)
        else:
            refer_to_frames(dataset, of_frame, numbers[:, frame])
        _make_repeatable(dataset, uid(key, "segmentation dimensions"))
        found.append((frame, dataset))
    return found


def write_dicom_seg(
    cine: Cine | None, labels: NDArray[np.uint8], grid: ImageGrid, path: Path, reference: Path | None,
    series: str | None = None, origin: LabelOrigin | None = None,
) -> list[Path]:
    """Write labels as DICOM Segmentation: one file, or a folder with one for each labelled frame.

    Parameters
    ----------
    cine
        Image the labels belong to; its DICOM form, which `write_dicom` makes, is what they refer to where there is no
        `reference`.
    labels, grid
        (frames, slices, rows, columns) and their geometry.
    path
        Name ending in .dcm for a single labelled frame, else a new folder.
    reference
        DICOM folder or file with the images the labels belong to.
    series
        Which stack of `reference`.
    origin
        As for `segmentation_datasets`.

    Raises
    ------
    InputError
        Neither image nor reference, they lie elsewhere than the labels, or a .dcm name for several frames.
    """
    from CMRSimExtension.files.atomic import StagedFiles, atomic_folder
    from CMRSimExtension.files.dicom_writing import image_datasets, save

    numbers = None
    if reference is not None:
        images, numbers = _reference_datasets(reference, series, labels, grid)
    elif cine is not None and np.any(cine.image != labels):
        images = image_datasets(cine, stored(cine))
    else:
        raise InputError("a DICOM segmentation refers to the images it belongs to; name their folder with --reference")
    found = segmentation_datasets(cine, images, labels, numbers, origin)
    if path.suffix.lower() == ".dcm":
        if len(found) > 1:
            raise InputError(f"{len(found)} frames have labels and {path.name} is one file; give a folder, it gets one "
                             "segmentation for each frame")
        with StagedFiles() as staged:
            save(found[0][1], staged.path(path))
        return [path]
    with atomic_folder(path) as folder:
        for frame, dataset in found:
            save(dataset, folder / f"frame{frame + 1:03d}.dcm")
    return [path]


def _reference_datasets(
    reference: Path, series: str | None, labels: NDArray[np.uint8], grid: ImageGrid
) -> tuple[list[list[Any]], NDArray[np.intp] | None]:
    """`images` and `numbers` of `segmentation_datasets`, in the order of the labels' slices."""
    import pydicom

    from CMRSimExtension.files.dicom_choice import choose_stack
    from CMRSimExtension.files.dicom_folders import find_files
    from CMRSimExtension.files.dicom_reading import cine_of
    from CMRSimExtension.files.dicom_stacks import build_stack

    stack = build_stack(choose_stack(find_files(reference), series))
    space = cine_of(stack).grid
    if space.shape != grid.shape:
        raise InputError(f"the labels have {grid.shape} slices, rows and columns, the images of {reference} "
                         f"{space.shape}; give the images that were segmented")
    order = list(range(grid.shape[0]))
    turned = np.array(space.affine_ras)
    turned[:3, 3] += (grid.shape[0] - 1) * turned[:3, 2]
    turned[:3, 2] *= -1
    if np.allclose(turned, grid.affine_ras, atol=0.1):
        order.reverse()
    elif not np.allclose(space.affine_ras, grid.affine_ras, atol=0.1):
        raise InputError(f"the labels lie elsewhere than the images of {reference}; give those that were segmented")
    chosen = [stack.images[s][:1] if labels.shape[0] == 1 else stack.images[s] for s in order]
    if not stack.first.enhanced:
        images = []
        for frames in chosen:
            with reading(frames[0].path, "a DICOM image"):
                images.append([pydicom.dcmread(image.path) for image in frames])
        return images, None
    objects: dict[Path, Any] = {}
    for image in (image for frames in chosen for image in frames):
        if image.path not in objects:
            with reading(image.path, "a DICOM image"):
                objects[image.path] = pydicom.dcmread(image.path, stop_before_pixels=True)
    return ([[objects[image.path] for image in frames] for frames in chosen],
            np.array([[image.frame for image in frames] for frames in chosen]))


def labels_beside(
    segmentations: Sequence[Path], cine: Cine, stack: Sequence[Sequence[DicomImage]]
) -> NDArray[np.uint8] | None:
    """Labels from those of the segmentations that refer to the images of `stack`; None where there are none.

    A plane refers to an image by its Derivation Image Sequence; segmentations of other images, or without it, and
    segments that no such plane belongs to, are left alone, whatever they are of. A `CMRSimWarning` says how many
    segmentations were, and which are so damaged that they do not tell.

    Raises
    ------
    FileFormatError
        A segmentation refers to the images and is damaged, or names a structure this project has no number for.
    """
    where = {(image.sop_uid, image.frame): (f, s) for s, frames in enumerate(stack) for f, image in enumerate(frames)}
    labels = np.zeros(cine.image.shape, np.uint8)
    found = [_read_into(labels, path, where) for path in sorted(segmentations)]
    others = found.count(False)
    if others:
        warnings.warn(f"{others} DICOM segmentation{'s do' if others > 1 else ' does'} not refer to these images; no "
                      "labels were read from there", CMRSimWarning, stacklevel=3)
    return labels if any(found) else None


def _read_into(
    labels: NDArray[np.uint8], path: Path, where: dict[tuple[str, int], tuple[int, int]]
) -> bool | None:
    """Whether the segmentation refers to images `where` says, and was read; None where it is too damaged to tell."""
    import pydicom

    try:
        with reading(path, "a DICOM segmentation"):
            dataset = pydicom.dcmread(path)
            referring = [
                (index, number, places)
                for index, (number, sources) in enumerate(_planes(dataset))
                if (places := [where[source] for source in sources if source in where])
            ]
    except FileFormatError as error:
        warnings.warn(f"{error}; no labels were read from it", CMRSimWarning, stacklevel=4)
        return None
    if not referring:
        return False
    with reading(path, "a DICOM segmentation"):
        pixels = np.asarray(dataset.pixel_array)
        planes = pixels[None] if pixels.ndim == 2 else pixels
        used = {number for _, number, _ in referring}
        numbers = {n: label_of_segment(path, s) for s in dataset.SegmentSequence if (n := int(s.SegmentNumber)) in used}
        for index, number, places in referring:
            for place in places:
                target = labels[place]
                if planes[index].shape != target.shape:
                    raise FileFormatError(f"{path.name} has planes of {planes[index].shape}, its images "
                                          f"{target.shape}; export it again")
                target[planes[index] > 0] = numbers[number]
        return True


def _planes(dataset: Any) -> Iterator[tuple[int, list[tuple[str, int]]]]:
    """Segment number and (SOP instance UID, frame from 0) of each image it refers to, of every plane in turn."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]

    def group_of(plane: Any, name: str) -> Any:
        return plane.get(name) or shared[0].get(name) or []

    for plane in dataset.PerFrameFunctionalGroupsSequence:
        sources = [
            (str(source.ReferencedSOPInstanceUID), int(np.atleast_1d(source.get("ReferencedFrameNumber", 1))[0]) - 1)
            for derivation in group_of(plane, "DerivationImageSequence")
            for source in derivation.get("SourceImageSequence", [])
        ]
        segment = group_of(plane, "SegmentIdentificationSequence")
        yield (int(segment[0].ReferencedSegmentNumber) if segment else 0), sources


def _make_repeatable(dataset: Any, value: str) -> None:
    """highdicom draws one UID at random and stamps the time of writing; the same labels shall give the same file."""
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(name, []):
            item.DimensionOrganizationUID = value
    for item in dataset.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in item:
            del item.ContributionDateTime


def label_of_segment(path: Path, segment: Any) -> int:
    """Our number of a segment: by its label, else by its coded type."""
    code = segment.SegmentedPropertyTypeCodeSequence[0]
    modifiers = code.get("SegmentedPropertyTypeModifierCodeSequence") or []
    tracking = str(segment.get("TrackingID", "") or "")
    structure = structure_of_segment(tracking, str(segment.SegmentLabel)) or structure_of_code(
        str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", "")),
        str(modifiers[0].get("CodeValue", "")) if modifiers else None,
    )
    if structure is not None:
        return int(structure)
    raise FileFormatError(
        f"{path.name} has a segment {segment.SegmentLabel!r} ({code.get('CodeMeaning', 'no code')}) that has no number "
        "here; rename it to a known structure such as 'LV blood pool'"
    )
