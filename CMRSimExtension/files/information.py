"""What is in an image file, for people and for programs."""

from pathlib import Path
from typing import Any

import numpy as np

from CMRSimExtension.files.cine_files import mean_step_ms, read_cine
from CMRSimExtension.files.sidecar import LABEL_NAMES
from CMRSimExtension.simulation.cine import Cine


def describe(path: Path | str) -> dict[str, Any]:
    """What the image at `path` holds, as JSON-able values.

    Raises
    ------
    InputError, FileFormatError
        As the readers.
    """
    path = Path(path)
    return {"file": path.name} | describe_cine(read_cine(path))


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
        "value_range": [float(cine.image.min()), float(cine.image.max())],
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
        voxel_ml = float(np.prod(cine.grid.spacing_mm)) / 1000.0
        found["labels"] = {
            f"{n} {name}": {
                "volume_ml_in_frame_0": round(float((cine.labels[0] == int(n)).sum() * voxel_ml), 2),
                "slices": int((cine.labels == int(n)).any(axis=(0, 2, 3)).sum()),
            }
            for n, name in LABEL_NAMES.items()
        }
        other = sorted({int(v) for v in np.unique(cine.labels)} - {0, *(int(n) for n in LABEL_NAMES)})
        if other:
            found["other_label_values"] = other
    if cine.function is not None:
        found["function"] = {k: None if v is None else round(float(v), 2) for k, v in cine.function.as_dict().items()}
    for key in ("seed", "notes"):
        if key in cine.sidecar:
            found[key] = cine.sidecar[key]
    return found


def describe_text(found: dict[str, Any], indent: str = "") -> str:
    """`describe`'s answer as aligned lines."""
    width = max(len(_words(key)) for key in found)
    lines = []
    for key, value in found.items():
        if isinstance(value, dict):
            lines += [f"{indent}{_words(key)}", describe_text(value, indent + "  ")]
        else:
            lines.append(f"{indent}{_words(key):<{width}}  {_value(value)}")
    return "\n".join(lines)


def _direction(axis: np.ndarray) -> list[float]:
    return [round(float(v), 4) + 0.0 for v in axis / np.linalg.norm(axis)]


def _words(key: str) -> str:
    return key.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(v) for v in value)
    return "unknown" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
