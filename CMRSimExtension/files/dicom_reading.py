"""A DICOM cine study as a `Cine`."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import CMRSimWarning, FileFormatError, MissingDependencyError
from CMRSimExtension.files.dicom_choice import choose_stack
from CMRSimExtension.files.dicom_folders import find_files
from CMRSimExtension.files.dicom_images import DicomImage
from CMRSimExtension.files.dicom_segmentation import labels_beside
from CMRSimExtension.files.dicom_stacks import DicomStack, build_stack, is_even, series_numbers
from CMRSimExtension.files.sidecar import Sidecar, checksum, read_sidecar, sidecar_beside, true_values, with_sidecar
from CMRSimExtension.files.third_party import GeometryWarning, reading
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def dicom_sidecar_path(path: Path) -> Path:
    """Name of the sidecar of the DICOM folder or file `path`: beside it, so that the folder holds DICOM alone."""
    if path.suffix.lower() == ".dcm":
        return sidecar_beside(path)
    # "." and ".." are folders of another name.
    named = path if path.name not in ("", "..") else path.resolve()
    return named.parent / f"{named.name}.dicom.json"


def read_dicom(path: Path | str, series: str | None = None) -> Cine:
    """Read the cine in a DICOM folder (or enhanced file).

    Parameters
    ----------
    path
        Folder, searched with all below it, or one file. Several enhanced objects of one study, space and kind form a
        stack just as several classic series do.
    series
        Which stack is meant, where the folder holds several: see `choose_stack`.

    Returns
    -------
    Cine
        Slices sorted from base to apex by their positions, frames by trigger time; times per slice. Its record has
        ``notes`` where times that some images lack are left out.

    Raises
    ------
    InputError
        Nothing to read there, or several stacks and none was named.
    FileFormatError
        Missing phases, duplicate instances, two spacings, damaged or undecodable files.

    Warns
    -----
    CMRSimWarning
        What else the folder holds was passed over, or some images lack their times.
    """
    path = Path(path)
    files = find_files(path)
    stack = build_stack(choose_stack(files, series))
    cine = cine_of(stack)
    if path.is_dir():
        cine = _scaled_alike(cine, stack)
        cine = replace(cine, labels=labels_beside(files.segmentations, cine, stack.images))
    return with_sidecar(cine, read_sidecar(dicom_sidecar_path(path)), path.name)


def cine_of(stack: DicomStack) -> Cine:
    """Read the pixels of `stack`."""
    first = stack.first
    frames, slices = len(stack.images[0]), len(stack.images)
    image = np.empty((frames, slices, first.rows, first.columns), dtype=np.float32)
    files: dict[Path, NDArray[np.float32]] = {}
    for s, of_slice in enumerate(stack.images):
        for f, header in enumerate(of_slice):
            if header.path not in files:
                pixels = _pixels(header)
                if pixels.ndim == 3:
                    files[header.path] = pixels
            else:
                pixels = files[header.path]
            image[f, s] = pixels[header.frame] if pixels.ndim == 3 else pixels
    origins = stack.origins_lps_mm @ _LPS_TO_RAS
    affine, even = _affine(first, origins)
    step = float(np.linalg.norm(affine[:3, 2]))
    if not even:
        gaps = np.linalg.norm(np.diff(origins, axis=0), axis=1)
        warnings.warn(
            f"the slices are not evenly spaced ({', '.join(f'{g:.2f}' for g in gaps)} mm); their positions are kept "
            "one by one, and only DICOM and ISMRMRD can hold them", GeometryWarning, stacklevel=2,
        )
    times, heartbeats, notes = _timing(stack)
    for note in notes:
        warnings.warn(note, CMRSimWarning, stacklevel=2)
    return Cine(
        image=image,
        grid=ImageGrid(affine, (slices, first.rows, first.columns), first.thickness or step),
        times_ms=times,
        heartbeats_ms=heartbeats,
        slice_origins_mm=None if even else origins,
        sidecar={"source": _source(stack)} | ({"notes": notes} if notes else {}),
    )


def _affine(first: DicomImage, origins: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    along_row, along_column = (_LPS_TO_RAS @ np.array(first.orientation[i:i + 3]) for i in (0, 3))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * first.spacing[1], along_column * first.spacing[0]
    count = len(origins)
    if count == 1:
        normal = np.cross(along_row, along_column)
        affine[:3, 2] = normal / np.linalg.norm(normal) * (first.thickness or 1.0)
    else:
        affine[:3, 2] = (origins[-1] - origins[0]) / (count - 1)
    affine[:3, 3] = origins[0]
    return affine, is_even(origins)


def _pixels(header: DicomImage) -> NDArray[np.float32]:
    """Pixels of a whole file with their rescaling applied: (rows, columns) or (frames, rows, columns)."""
    import pydicom

    path = header.path
    with reading(path, "a DICOM image"):
        dataset = pydicom.dcmread(path)
        _refuse_undecodable(path, dataset)
        if "PixelData" not in dataset:
            raise FileFormatError(f"{path.name} has no pixels; it is truncated, copy or export it again")
        stored = dataset.pixel_array
        if stored.shape[-2:] != (header.rows, header.columns):
            raise FileFormatError(f"{path.name} holds {stored.shape[-2:]} pixels, its header says "
                                  f"{(header.rows, header.columns)}; export it again")
        slope, intercept = _rescaling(dataset)
        values = stored.astype(np.float64) * slope + intercept
        if not np.all(np.isfinite(values)):
            raise FileFormatError(f"{path.name} has a rescaling that makes its values infinite; export it again")
        return values.astype(np.float32)


def _rescaling(dataset: Any) -> tuple[Any, Any]:
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        return float(dataset.get("RescaleSlope", 1) or 1), float(dataset.get("RescaleIntercept", 0) or 0)
    shared = dataset.get("SharedFunctionalGroupsSequence", [None])[0]
    pairs = []
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        group = next((g.PixelValueTransformationSequence[0] for g in (frame, shared)
                      if g is not None and "PixelValueTransformationSequence" in g), None)
        pairs.append((float(group.RescaleSlope), float(group.RescaleIntercept)) if group is not None else (1.0, 0.0))
    table = np.array(pairs)[:, :, None, None]
    return table[:, 0], table[:, 1]


def _refuse_undecodable(path: Path, dataset: Any) -> None:
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax.is_deflated:
        return
    try:
        available, missing = get_decoder(syntax).is_available, get_decoder(syntax).missing_dependencies
    except NotImplementedError:
        available, missing = False, []
    if not available:
        cure = f"install one of: {'; '.join(missing)}" if missing else "decompress it first (gdcmconv --raw IN OUT)"
        raise MissingDependencyError(
            f"{path.name} is compressed as {syntax.name}, which no installed decoder reads; {cure}"
        )


def _timing(stack: DicomStack) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, list[str]]:
    """(slices, frames) trigger times, (slices,) heartbeats, each None unless all are known, and notes on what lacks."""
    images = [image for frames in stack.images for image in frames]
    times = _table([[image.trigger_ms for image in frames] for frames in stack.images])
    beats = [next((i.heartbeat_ms for i in frames if i.heartbeat_ms is not None), None) for frames in stack.images]
    notes = []
    left_out = ("the times of all frames are left out, and those slices are in the order of their temporal positions "
                "or instance numbers")
    lacking = [image for image in images if image.trigger_ms is None]
    if lacking and len(lacking) < len(images):
        notes.append(f"{len(lacking)} of {len(images)} images (of series {series_numbers(lacking)}) have no trigger "
                     f"time, so {left_out}")
    still = [] if times is None else [s for s, row in enumerate(times) if len(row) > 1 and len(set(row)) == 1]
    if still:
        times = None
        notes.append(f"all images of slice {', '.join(map(str, still))} have the same trigger time, so {left_out}")
    without = [frames[0] for frames, beat in zip(stack.images, beats) if beat is None]
    if without and len(without) < len(beats):
        notes.append(f"{len(without)} of {len(beats)} slices (of series {series_numbers(without)}) have no nominal "
                     "interval, so the lengths of all heartbeats are left out")
    return times, _table(beats), notes


def _table(values: Sequence[Any]) -> NDArray[np.float64] | None:
    array = np.array(values, dtype=object)
    return None if any(v is None for v in array.reshape(-1)) else array.astype(np.float64)


def _source(stack: DicomStack) -> dict[str, Any]:
    """What the record keeps of the study: how it was made and its UIDs, nothing that names a person."""
    first = stack.first
    return {
        "kind": "DICOM",
        "study_uid": first.study_uid,
        "frame_of_reference_uid": first.frame_of_reference_uid,
        "series_uids": list(dict.fromkeys(frames[0].series_uid for frames in stack.images)),
        "series_numbers": list(dict.fromkeys(frames[0].series_number for frames in stack.images)),
        "series_descriptions": list(dict.fromkeys(frames[0].series_description for frames in stack.images)),
    } | {name: value for name, value in first.protocol if value not in (None, "")}


def _scaled_alike(cine: Cine, stack: DicomStack) -> Cine:
    """Undo the scaling of several enhanced objects written here, each of which was brought to a maximum of its own."""
    objects = {image.path for frames in stack.images for image in frames if image.enhanced}
    if len(objects) < 2 or dict(stack.first.protocol).get("manufacturer") != "CMRSimExtension":
        return cine
    beside = {path: read_sidecar(dicom_sidecar_path(path)) for path in objects}
    sidecars = {path: s for path, s in beside.items() if s is not None and _was_written_with(s, path, cine, stack)}
    lacking = sorted(path.name for path in objects - sidecars.keys())
    if lacking:
        warnings.warn(
            f"no .json beside {', '.join(lacking)} tells the scale; each of these objects is as bright as its own "
            "maximum, so do not compare slices by their brightness", CMRSimWarning, stacklevel=3,
        )
        return cine
    image = cine.image.copy()
    for s, frames in enumerate(stack.images):
        for f, header in enumerate(frames):
            sidecar = sidecars[header.path]
            image[f, s] = true_values(image[f, s], sidecar.scale, sidecar.quantum)
    return replace(cine, image=image)


def _was_written_with(sidecar: Sidecar, path: Path, cine: Cine, stack: DicomStack) -> bool:
    """Whether the sidecar's checksum is that of the enhanced object `path`; true where it has none."""
    if sidecar.sha256 is None:
        return True
    pictures = {
        header.frame: cine.image[f, s]
        for s, frames in enumerate(stack.images) for f, header in enumerate(frames) if header.path == path
    }
    frames, slices = (0, 0) if sidecar.shape is None else sidecar.shape[:2]
    if sorted(pictures) != list(range(frames * slices)):
        return False
    # The object holds its frames slice by slice, the checksum is over the slices frame by frame.
    values = np.array([[pictures[s * frames + f] for s in range(slices)] for f in range(frames)])
    return sidecar.sha256 == checksum(values)
