"""What is in an image file, for people and for programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import CMRSimError, FileFormatError
from CMRSimExtension.files import data_sets
from CMRSimExtension.files.cine_files import mean_step_ms
from CMRSimExtension.files.dicom_choice import name_of, unusable_by_series
from CMRSimExtension.files.dicom_folders import counts_of, find_files
from CMRSimExtension.files.dicom_images import DicomImage, is_dicom
from CMRSimExtension.files.dicom_reading import cine_of
from CMRSimExtension.files.dicom_stacks import DicomStack, build_stack, places_of, stacks_of
from CMRSimExtension.files.formats import labels_of, read_content, read_image
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine


def describe(path: Path | str, series: str | None = None) -> dict[str, Any]:
    """What lies at `path`, as JSON-able values.

    Of a DICOM folder, which series there are, and the one cine that they form, or which stacks; of a data set with
    several cines, their names; of one file of a DICOM series, that image.

    Raises
    ------
    InputError, FileFormatError
        As the readers; but a DICOM folder in which something can be read is listed, whatever is wrong with the rest.
    """
    path = Path(path)
    if path.is_dir() and not data_sets.is_data_set(path) and series is None:
        return _describe_folder(path)
    if path.is_file() and series is None and is_dicom(path):
        images = find_files(path).images
        if not images[0].enhanced:
            return _describe_image(images[0])
    if path.is_dir() and data_sets.is_data_set(path) and series is None:
        names = data_sets.cine_names(path)
        if len(names) > 1:
            return {"file": path.name, "cines": names}
    content = read_content(path, series)
    if content.cine is not None:
        return {"file": path.name} | describe_cine(content.cine)
    frames, slices, rows, columns = labels_of(content, path).shape
    return {"file": path.name, "frames": frames, "slices": slices, "rows": rows, "columns": columns,
            "spacing_mm": [round(float(v), 4) for v in content.grid.spacing_mm],
            "labels": _label_report(labels_of(content, path), content.grid)}


def describe_cine(cine: Cine) -> dict[str, Any]:
    """Size, geometry, times, values, labels and function of a cine."""
    frames, slices, rows, columns = cine.image.shape
    affine = cine.grid.affine_ras
    found: dict[str, Any] = {
        "frames": frames, "slices": slices, "rows": rows, "columns": columns,
        "spacing_mm": [round(float(v), 4) for v in cine.grid.spacing_mm],
        "slice_thickness_mm": round(float(cine.grid.slice_thickness_mm), 4),
        "first_voxel_ras_mm": [round(float(v), 3) for v in affine[:3, 3]],
        "column_direction_ras": _direction(affine[:3, 0]),
        "row_direction_ras": _direction(affine[:3, 1]),
        "slice_direction_ras": _direction(affine[:3, 2]),
        **_values(cine.image),
    }
    step = mean_step_ms(cine)
    if step is not None:
        found["mean_frame_step_ms"] = round(step, 3)
    if cine.heartbeats_ms is not None:
        found["heartbeats_ms"] = [round(float(v), 1) for v in cine.heartbeats_ms]
    if cine.slice_origins_mm is not None:
        gaps = np.linalg.norm(np.diff(cine.slice_origins_mm, axis=0), axis=1)
        found["uneven_slice_distances_mm"] = [round(float(v), 3) for v in gaps]
    if cine.labels is not None:
        found["labels"] = _label_report(cine.labels, cine.grid)
    if cine.function is not None:
        found["function"] = {k: None if v is None else round(float(v), 2) for k, v in cine.function.as_dict().items()}
    if isinstance(cine.sidecar.get("tagging"), dict):
        found["tagging"] = _tagging(cine.sidecar["tagging"])
    for key in ("seed", "notes"):
        if key in cine.sidecar:
            found[key] = cine.sidecar[key]
    return found


def _values(image: NDArray[np.floating]) -> dict[str, Any]:
    """Range of the finite values, and how many are not: JSON holds no NaN, and a report must not fail on one."""
    finite = np.isfinite(image)
    if finite.all():
        return {"value_range": [float(image.min()), float(image.max())]}
    known = image[finite]
    return {"value_range": [float(known.min()), float(known.max())] if known.size else None,
            "values_not_finite": int(image.size - known.size)}


def _tagging(record: dict[str, Any]) -> dict[str, Any]:
    """How a cine was tagged, and whose motion its tags follow."""
    options, acquisition = record.get("options") or {}, record.get("acquisition") or {}
    values = {
        "method": record.get("method", "simulated scan"), "pattern": options.get("pattern"),
        "train": options.get("train"), "spacing_mm": acquisition.get("spacing_mm"),
        "motion": (record.get("motion") or {}).get("source"),
    }
    return {name: value for name, value in values.items() if value is not None}


def describe_text(found: dict[str, Any], indent: str = "") -> str:
    """`describe`'s answer as aligned lines."""
    width = max(len(_words(key)) for key in found)
    lines = []
    for key, value in found.items():
        if isinstance(value, dict):
            lines += [f"{indent}{_words(key)}", describe_text(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{indent}{_words(key)}", *_table(value, indent + "  ")]
        else:
            lines.append(f"{indent}{_words(key):<{width}}  {_value(value)}")
    return "\n".join(lines)


def _table(rows: Sequence[dict[str, Any]], indent: str) -> list[str]:
    """A line of headings and one for each row."""
    cells = [[_words(key) for key in rows[0]], *([_value(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return [indent + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths)).rstrip() for line in cells]


def _describe_folder(path: Path) -> dict[str, Any]:
    """Series and stacks of a DICOM folder, or its cine where it is one."""
    files = find_files(path)
    stacks, trouble = stacks_of(files.images), None
    listed: dict[str, Any] = {"series": _series(files.images)}
    if files.others:
        listed["other_objects"] = [
            {"modality": modality, "kind": kind, "files": count}
            for (modality, kind), count in counts_of(files.others).items()
        ]
    if files.unusable:
        listed["unusable_files"] = [
            {"series": members[0].series_number, "description": members[0].series_description, "files": len(members),
             "reason": str(members[0].error)} for members in unusable_by_series(files)
        ]
    if len(stacks) == 1:
        try:
            return {"file": path.name} | describe_cine(read_image(path)) | listed
        except CMRSimError as error:
            trouble = str(error)
    found: dict[str, Any] = {"file": path.name} | listed | {
        "stacks": {f"stack_{number}": _stack(images) for number, images in enumerate(stacks, 1)}
    }
    if trouble is not None and trouble not in str(found["stacks"]):
        found["cannot_be_read"] = trouble
    return found


def _series(images: Sequence[DicomImage]) -> list[dict[str, Any]]:
    """A row for each series and image type."""
    kinds: dict[tuple[Any, ...], list[DicomImage]] = {}
    for image in images:
        kind = (image.series_number, image.series_uid, image.image_type[:3], image.component)
        kinds.setdefault(kind, []).append(image)
    rows = []
    for (number, uid, words, component), members in sorted(kinds.items()):
        places = places_of(members)
        phases = sorted({len(place) for place in places})
        rows.append({
            "number": number, "description": members[0].series_description,
            "image_type": "\\".join(words), "component": component, "images": len(members), "slices": len(places),
            "phases": phases[0] if len(phases) == 1 else phases, "uid": uid,
        })
    return rows


def _describe_image(image: DicomImage) -> dict[str, Any]:
    """One file of a classic series."""
    found = {"file": image.path.name} | describe_cine(cine_of(DicomStack(((image,),))))
    found |= {"series_number": image.series_number, "series_description": image.series_description,
              "image_type": "\\".join(image.image_type), "instance_number": image.instance_number,
              "trigger_time_ms": image.trigger_ms}
    if (image.announced or 0) > 1:
        found["note"] = (f"one image of series {image.series_number}, of which the scanner made {image.announced}; "
                         "give the folder for the cine")
    return found


def _label_report(labels: NDArray[np.uint8], grid: ImageGrid) -> dict[str, Any]:
    voxel_ml = float(np.prod(grid.spacing_mm)) / 1000.0
    return {
        f"{n} {_label_name(n)}": {
            "volume_ml_in_frame_0": round(float((labels[0] == n).sum() * voxel_ml), 2),
            "slices": int(np.any(labels == n, axis=(0, 2, 3)).sum()),
        }
        for n in (int(v) for v in np.unique(labels)) if n
    }


def _label_name(number: int) -> str:
    from CMRSimExtension.anatomy.structures import Structure
    from CMRSimExtension.anatomy.terminology import term_of

    return term_of(number).name if number <= max(Structure) else "unknown"


def _stack(images: Sequence[DicomImage]) -> str:
    try:
        return build_stack(images).title()
    except FileFormatError as error:
        return f"{name_of(images)} cannot be read: {error}"


def _direction(axis: np.ndarray) -> list[float]:
    return [round(float(v), 4) + 0.0 for v in axis / np.linalg.norm(axis)]


def _words(key: str) -> str:
    return key.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(v) for v in value)
    return "unknown" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
