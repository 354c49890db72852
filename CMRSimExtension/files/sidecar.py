"""The JSON file beside every image: all that the image format itself cannot hold."""

import json
import math
import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.third_party import reading
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.version import __version__

FORMAT = "cmrsim sidecar"
FORMAT_VERSION = 1
LABEL_NAMES = {"1": "LV blood pool", "2": "LV myocardium", "3": "RV blood pool"}
"""The clinical labels of every label file."""


@dataclass(frozen=True)
class Sidecar:
    """What a sidecar says about its image.

    Attributes
    ----------
    affine_ras
        (4, 4) exact affine in double precision, which NIfTI rounds to single; None where not given.
    shape
        (frames, slices, rows, columns) of the image it was written with.
    slice_thickness_mm, times_ms, heartbeats_ms, slice_origins_mm, function
        As in `Cine`.
    scale
        Stored value divided by true value, where the image format holds integers only; 1 elsewhere.
    quantum
        Step of which all true values are multiples (1 for an image of integers), or None.
    files
        Name of each companion file by its truth ("image", "labels", ...).
    record
        The cine's own `sidecar`.
    """

    affine_ras: NDArray[np.float64] | None = None
    shape: tuple[int, ...] | None = None
    slice_thickness_mm: float | None = None
    times_ms: NDArray[np.float64] | None = None
    heartbeats_ms: NDArray[np.float64] | None = None
    slice_origins_mm: NDArray[np.float64] | None = None
    function: CardiacFunction | None = None
    scale: float = 1.0
    quantum: float | None = None
    files: dict[str, str] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)


def sidecar_text(
    cine: Cine, files: dict[str, str], *, scale: float = 1.0, quantum: float | None = None
) -> str:
    """The sidecar of `cine` as JSON text.

    Parameters
    ----------
    cine
        Cine that was written.
    files
        Names of the files written, by truth.
    scale, quantum
        As in `Sidecar`.

    Raises
    ------
    FileFormatError
        The cine's own record holds something that JSON cannot say, such as NaN.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "software": {"CMRSimExtension": __version__},
        "use": "for research, not for clinical use",
        "files": files,
        "geometry": {
            "affine_ras": cine.grid.affine_ras,
            "affine_maps": "(column, row, slice, 1) to RAS mm at voxel centres",
            "shape": list(cine.image.shape),
            "shape_order": ["frames", "slices", "rows", "columns"],
            "spacing_mm": list(cine.grid.spacing_mm),
            "slice_thickness_mm": cine.grid.slice_thickness_mm,
        },
        "labels": LABEL_NAMES,
    }
    if cine.slice_origins_mm is not None:
        document["geometry"]["slice_origins_ras_mm"] = cine.slice_origins_mm
    if cine.times_ms is not None:
        document["times_ms"] = {"order": ["slices", "frames"], "after": "R wave of the slice's own heartbeat",
                                "values": cine.times_ms}
    if cine.heartbeats_ms is not None:
        document["heartbeats_ms"] = cine.heartbeats_ms
    if cine.function is not None:
        document["function"] = cine.function.as_dict()
    if cine.displacement_mm is not None:
        document["motion"] = ("x, y, z in the fifth dimension, mm, RAS: adding it to a voxel's centre gives where its "
                              "tissue was at end diastole (frame 0)")
    if cine.fractions is not None:
        document["fractions"] = {"fifth_dimension": _tissue_names(cine.fractions.shape[0])}
    if scale != 1.0 or quantum is not None:
        document["stored_values"] = {"stored_over_true": scale, "true_values_are_multiples_of": quantum}
    document["record"] = cine.sidecar
    return json_text(document)


def sidecar_beside(path: Path) -> Path:
    """Name of the sidecar of the file `path`, its whole name with .json behind it.

    Only NIfTI images, for which everything here is made, have theirs under the bare name (`cine_files.sidecar_path`):
    copies of X.nii.gz in other formats lie beside it and must not replace X.json.
    """
    return path.with_name(path.name + ".json")


def read_sidecar(path: Path) -> Sidecar | None:
    """Read the sidecar at `path`; None where there is none, or where the file is some other program's JSON.

    Raises
    ------
    FileFormatError
        It is one of ours and damaged.
    """
    if not path.is_file():
        return None
    with reading(path, "a JSON sidecar"):
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return None
        if document.get("format_version", 0) > FORMAT_VERSION:
            raise FileFormatError(
                f"{path.name} was written by a later version (sidecar {document['format_version']}, this one reads "
                f"up to {FORMAT_VERSION}); update CMRSimExtension"
            )
        geometry = document.get("geometry", {})
        stored = document.get("stored_values", {})
        known = {"lv_edv_ml", "lv_esv_ml", "lv_mass_g", "rv_edv_ml", "rv_esv_ml"}
        function = document.get("function")
        shape = geometry.get("shape")
        times = document.get("times_ms")
        return Sidecar(
            affine_ras=_array(geometry.get("affine_ras"), (4, 4)),
            shape=None if shape is None else tuple(int(n) for n in shape),
            slice_thickness_mm=geometry.get("slice_thickness_mm"),
            times_ms=_array(times["values"] if times else None, (None, None)),
            heartbeats_ms=_array(document.get("heartbeats_ms"), (None,)),
            slice_origins_mm=_array(geometry.get("slice_origins_ras_mm"), (None, 3)),
            function=CardiacFunction(**{k: v for k, v in function.items() if k in known}) if function else None,
            scale=float(stored.get("stored_over_true", 1.0)),
            quantum=stored.get("true_values_are_multiples_of"),
            files=dict(document.get("files", {})),
            record=dict(document.get("record", {})),
        )


def json_text(document: Any) -> str:
    """`document` as indented JSON with each innermost list on one line; numpy values and paths become plain ones.

    Raises
    ------
    FileFormatError
        It holds NaN or an infinity, which JSON has no word for, or an object that is not plain data.
    """
    try:
        text = json.dumps(_plain(document), indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"the record cannot be written as JSON: {error}") from error
    return re.sub(r"\[[^\[\]{}]*\]", lambda match: re.sub(r"\s*\n\s*", " ", match.group()), text) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k.name if isinstance(k, Enum) else k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(v) for v in value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a number that JSON can hold")
    return value


def _array(values: Any, shape: tuple[int | None, ...]) -> NDArray[np.float64] | None:
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != len(shape) or any(want is not None and have != want for have, want in zip(array.shape, shape)):
        raise FileFormatError(f"a table has the shape {array.shape}, not {shape}")
    return array


def _tissue_names(count: int) -> list[str]:
    from CMRSimExtension.anatomy.structures import Tissue

    return [Tissue(i).name.lower() if i < len(Tissue) else str(i) for i in range(count)]
