"""Cines as 3D Slicer's volume sequences (.seq.nrrd) and labels as its segmentations (.seg.nrrd).

The field names follow Slicer's storage nodes (vtkMRMLVolumeSequenceStorageNode, vtkMRMLSegmentationStorageNode): the
files open there with their times, names, colours and terminology, without any setting.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.terminology import structure_of_segment, term_of
from CMRSimExtension.errors import CMRSimWarning, FileFormatError, InputError
from CMRSimExtension.files.atomic import StagedFiles
from CMRSimExtension.files.cine_files import as_labels, check_cine, refuse_uneven
from CMRSimExtension.files.nrrd_header import NrrdImage, read_nrrd, write_nrrd
from CMRSimExtension.files.nrrd_times import frame_times
from CMRSimExtension.files.sidecar import TimesHeld, read_sidecar, sidecar_beside, sidecar_text, with_sidecar
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine

ENDINGS = (".seq.nrrd", ".nrrd", ".nhdr")
_SLICE_TIMES, _HEARTBEATS = "cmrsim times ms", "cmrsim heartbeats ms"


@dataclass(frozen=True)
class Labels:
    """Labels without an image.

    Attributes
    ----------
    values
        (frames, slices, rows, columns) uint8.
    grid
        Geometry.
    """

    values: NDArray[np.uint8]
    grid: ImageGrid


def nrrd_base(path: Path) -> Path:
    """`path` without its NRRD ending."""
    for ending in (".seg.nrrd", *ENDINGS):
        if path.name.lower().endswith(ending):
            return path.with_name(path.name[: -len(ending)])
    raise InputError(f"{path.name} does not end in .seq.nrrd, .seg.nrrd or .nrrd; name it so")


def write_sequence(cine: Cine, path: Path | str) -> list[Path]:
    """Write a cine as a volume sequence, its labels as another (``X_labels.seq.nrrd``), and the sidecar.

    Per-slice times and heartbeats go into the header too, so that the file alone holds them.

    Raises
    ------
    InputError
        Another ending, or slices that are not evenly spaced, which NRRD cannot hold.
    """
    path = Path(path)
    base = nrrd_base(path)
    check_cine(cine)
    refuse_uneven(cine, "NRRD")
    names = {"image": path.name}
    written = [path]
    with StagedFiles() as staged:
        _write(staged.path(path), cine.image.astype(np.float32, copy=False), cine, "vtkMRMLScalarVolumeNode")
        for truth, values in (("labels", cine.labels), ("anatomy", cine.anatomy)):
            if values is not None:
                target = base.with_name(f"{base.name}_{truth}{path.name[len(base.name):]}")
                _write(staged.path(target), values, cine, "vtkMRMLLabelMapVolumeNode")
                names[truth] = target.name
                written.append(target)
        target = sidecar_beside(path)
        staged.path(target).write_text(sidecar_text(cine, names), encoding="utf-8")
    return [*written, target]


def read_sequence(path: Path | str) -> Cine:
    """Read a volume or volume sequence, with the labels and the sidecar beside it, as a cine.

    Raises
    ------
    InputError, FileFormatError
        As `read_nrrd`; labels beside it that do not fit it.
    """
    path = Path(path)
    base = nrrd_base(path)
    image = read_nrrd(path)
    _refuse_integers_only(path, image)
    shape = image.values.shape
    grid = _grid(path, image)
    labels = {}
    for truth in ("labels", "anatomy"):
        target = base.with_name(f"{base.name}_{truth}{path.name[len(base.name):]}")
        if target.is_file():
            beside = read_nrrd(target)
            if beside.values.shape != shape or not np.allclose(beside.affine_ras, image.affine_ras, atol=0.01):
                raise FileFormatError(f"{target.name} does not lie on the grid of {path.name}; give each its own")
            labels[truth] = as_labels(beside.values, target.name)
    times = _table(path, image, _SLICE_TIMES, (shape[1], shape[0]))
    held: TimesHeld = "frames" if times is None else "slices"
    notes = list(image.notes)
    if times is None:
        by_frame = frame_times(image.frame_axis, image.fields, shape[0])
        notes += by_frame.notes
        times = None if by_frame.times_ms is None else np.tile(by_frame.times_ms, (shape[1], 1))
    for note in notes:
        warnings.warn(f"{path.name}: {note}", CMRSimWarning, stacklevel=2)
    cine = Cine(
        image=np.ascontiguousarray(image.values, dtype=np.float32), grid=grid, times_ms=times,
        heartbeats_ms=_table(path, image, _HEARTBEATS, (shape[1],)),
        labels=labels.get("labels"), anatomy=labels.get("anatomy"), sidecar={"notes": notes} if notes else {},
    )
    return with_sidecar(cine, read_sidecar(sidecar_beside(path)), path.name, times=held)


def write_segmentation(labels: NDArray[np.uint8], grid: ImageGrid, path: Path | str) -> list[Path]:
    """Write labels as Slicer segmentations: ``X.seg.nrrd``, or ``X_frame001.seg.nrrd`` ... for several frames.

    Parameters
    ----------
    labels
        (frames, slices, rows, columns) `Structure` numbers.
    grid
        Their geometry.
    path
        Name ending in .seg.nrrd.

    Returns
    -------
    list of Path
        The files written, one for each frame with any label.

    Raises
    ------
    InputError
        Another ending, or no label anywhere.
    """
    path = Path(path)
    if not path.name.lower().endswith(".seg.nrrd"):
        raise InputError(f"{path.name} does not end in .seg.nrrd; name the segmentation so")
    frames = [f for f in range(labels.shape[0]) if labels[f].any()]
    if not frames:
        raise InputError("there are no labels to write; give an image with its _labels file")
    present = [int(n) for n in np.unique(labels) if n]
    base = nrrd_base(path)
    written = []
    with StagedFiles() as staged:
        for f in frames:
            target = path if labels.shape[0] == 1 else base.with_name(f"{base.name}_frame{f + 1:03d}.seg.nrrd")
            fields = _segment_fields(labels[f], present)
            write_nrrd(staged.path(target), labels[f], grid.affine_ras, fields, thickness_mm=grid.slice_thickness_mm)
            written.append(target)
    return written


def read_segmentation(path: Path | str) -> Labels:
    """Read one .seg.nrrd, with its segments mapped to this project's label numbers by their id or name.

    Raises
    ------
    FileFormatError
        Damaged, or a segment of a structure that has no number here.
    """
    path = Path(path)
    image = read_nrrd(path)
    segments = _segments(image.fields)
    if not segments:
        raise FileFormatError(f"{path.name} names no segments; it is a plain image, give it another ending")
    stored = as_labels(image.values, path.name)
    for note in image.notes:
        warnings.warn(f"{path.name}: {note}", CMRSimWarning, stacklevel=2)
    values = np.zeros((1, *stored.shape[1:]), np.uint8)
    for segment in segments:
        structure = structure_of_segment(segment.get("ID", ""), segment.get("Name", ""))
        if structure is None:
            raise FileFormatError(f"{path.name} has a segment {segment.get('Name')!r} that has no number here; rename "
                                  "it to a known structure such as 'LV blood pool'")
        try:
            layer, number = int(segment.get("Layer", 0)), int(segment.get("LabelValue", 1))
        except ValueError as error:
            raise FileFormatError(
                f"{path.name} has a segment {segment.get('Name')!r} whose Layer {segment.get('Layer')!r} or LabelValue "
                f"{segment.get('LabelValue')!r} is no whole number; the file is damaged, copy it again"
            ) from error
        if not 0 <= layer < len(stored):
            raise FileFormatError(f"{path.name} puts a segment into layer {layer} of {len(stored)}; save it again")
        values[0][stored[layer] == number] = int(structure)
    return Labels(values, _grid(path, image))


def _write(path: Path, values: NDArray, cine: Cine, node_class: str) -> None:
    fields = {"DataNodeClassName": node_class}
    frames = values.shape[0]
    times = cine.times_ms
    if frames > 1:
        index = np.arange(frames) if times is None else times.mean(axis=0)
        fields["axis 3 index type"] = "numeric"
        fields["axis 3 index values"] = " ".join(f"{float(v):.6g}" for v in index)
    if times is not None:
        fields[_SLICE_TIMES] = json.dumps(times.tolist())
    if cine.heartbeats_ms is not None:
        fields[_HEARTBEATS] = json.dumps(cine.heartbeats_ms.tolist())
    unit = None if frames == 1 else "ms" if times is not None else ""
    write_nrrd(path, values if frames > 1 else values[0], cine.grid.affine_ras, fields,
               thickness_mm=cine.grid.slice_thickness_mm, sequence_unit=unit)


def _segment_fields(frame: NDArray[np.uint8], present: list[int]) -> dict[str, str]:
    extent = f"0 {frame.shape[2] - 1} 0 {frame.shape[1] - 1} 0 {frame.shape[0] - 1}"
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ConversionParameters": "",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
        "Segmentation_SourceRepresentation": "Binary labelmap",
    }
    for index, label in enumerate(present):
        term = term_of(label)
        fields |= {f"Segment{index}_{name}": value for name, value in (
            ("Color", " ".join(f"{c / 255:.6g}" for c in term.rgb)), ("ColorAutoGenerated", "0"),
            ("Extent", extent), ("ID", term.segment_id), ("LabelValue", str(label)), ("Layer", "0"),
            ("Name", term.name), ("NameAutoGenerated", "0"),
            ("Tags", f"TerminologyEntry:{term.slicer_entry()}|"),
        )}
    return fields


def _segments(fields: dict[str, str]) -> list[dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for key, value in fields.items():
        head, _, name = key.partition("_")
        if head.startswith("Segment") and head[7:].isdigit():
            found.setdefault(int(head[7:]), {})[name] = value
    return [found[number] for number in sorted(found)]


def _grid(path: Path, image: NrrdImage) -> ImageGrid:
    spacing = float(np.linalg.norm(image.affine_ras[:3, 2]))
    slices, rows, columns = image.values.shape[1:]
    try:
        return ImageGrid(image.affine_ras, (slices, rows, columns), image.thickness_mm or spacing)
    except InputError as error:
        raise FileFormatError(f"{path.name}: {error}") from error


def _refuse_integers_only(path: Path, image: NrrdImage) -> None:
    if _segments(image.fields):
        raise FileFormatError(f"{path.name} is a segmentation, not an image; name it .seg.nrrd to convert its labels")
    if not np.all(np.isfinite(image.values)):
        raise FileFormatError(f"{path.name} holds NaN or infinite values; correct the image")


def _table(path: Path, image: NrrdImage, key: str, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    text: Any = image.fields.get(key)
    if text is None:
        return None
    try:
        values = np.asarray(json.loads(text), dtype=np.float64)
    except (ValueError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path.name} has a damaged field {key!r}; export it again") from error
    if values.shape != shape or not np.all(np.isfinite(values)):
        raise FileFormatError(f"{path.name} has a field {key!r} of shape {values.shape}, not {shape}; export it again")
    return values
