"""The JSON file beside every image: all that the image format itself cannot hold."""

import hashlib
import json
import math
import re
import warnings
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.errors import CMRSimWarning, FileFormatError
from CMRSimExtension.files.third_party import GeometryWarning, reading
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.version import __version__

FORMAT = "cmrsim sidecar"
FORMAT_VERSION = 1
LABEL_NAMES = {"1": "LV blood pool", "2": "LV myocardium", "3": "RV blood pool"}
"""The clinical labels of every label file."""

SINGLE_PRECISION_MM = 1e-3
"""Positions further apart than this differ by more than NIfTI's single precision: 200 mm / 2^24, with room."""
SAME_TIME_MS = 0.01
"""Times closer than this are the same: NRRD's index holds six digits, 0.005 ms at a second."""
SAME_HEARTBEAT_MS = 0.51
"""Heartbeats closer than this are the same: DICOM's Nominal Interval counts whole milliseconds."""

TimesHeld = Literal["slices", "frames", "step"]
"""What an image format holds of the times: those of every slice, one for each frame, or one step between frames."""


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
    sha256
        Checksum of the stored values, see `checksum`; None where not given.
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
    sha256: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)


def sidecar_text(
    cine: Cine, files: dict[str, str], *, scale: float = 1.0, quantum: float | None = None,
    stored: NDArray | None = None,
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
    stored
        (frames, slices, rows, columns) values as the image file holds them; None where they are the cine's own.

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
    values: dict[str, Any] = {"sha256": checksum(cine.image if stored is None else stored)}
    if scale != 1.0 or quantum is not None:
        values |= {"stored_over_true": scale, "true_values_are_multiples_of": quantum}
    document["stored_values"] = values
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
        scale = float(stored.get("stored_over_true", 1.0))
        if not (math.isfinite(scale) and scale > 0.0):
            raise FileFormatError(f"{path.name} says that stored values are {scale} times the true ones; copy it again")
        record = dict(document.get("record", {}))
        if not isinstance(record.get("notes", []), list):
            raise ValueError(f"its notes are {record['notes']!r}, not a list")
        return Sidecar(
            affine_ras=_array(geometry.get("affine_ras"), (4, 4)),
            shape=None if shape is None else tuple(int(n) for n in shape),
            slice_thickness_mm=_above_zero(geometry, "slice_thickness_mm"),
            times_ms=_array(times["values"] if times else None, (None, None)),
            heartbeats_ms=_array(document.get("heartbeats_ms"), (None,)),
            slice_origins_mm=_array(geometry.get("slice_origins_ras_mm"), (None, 3)),
            function=CardiacFunction(**{k: _finite(function, k) for k in known & set(function)}) if function else None,
            scale=scale,
            quantum=_above_zero(stored, "true_values_are_multiples_of"),
            sha256=stored.get("sha256"),
            files=dict(document.get("files", {})),
            record=record,
        )


def checksum(values: NDArray) -> str:
    """SHA-256 of (frames, slices, rows, columns) values as little-endian 32-bit floats, in this order."""
    digest = hashlib.sha256()
    for frame in values:
        digest.update(np.asarray(frame, dtype="<f4").tobytes())
    return digest.hexdigest()


def with_sidecar(
    cine: Cine, sidecar: Sidecar | None, name: str, *, times: TimesHeld = "slices", reconstructed: bool = False
) -> Cine:
    """A cine as its file holds it, completed by the sidecar beside the file.

    A sidecar fits when it describes an image of this shape, at this place and of these values. From one that does not,
    nothing is taken. Frame times and heartbeats that the file holds are believed where a sidecar that fits contradicts
    them. The user is told of both, by a warning and in the record's ``notes``.

    Parameters
    ----------
    cine
        As read from the file alone, with stored values; of its record only ``notes`` outlast a sidecar that fits.
    sidecar
        What lies beside the file, or None.
    name
        The file's, for messages.
    times
        How exactly the file holds times.
    reconstructed
        Whether the values were computed from raw data: their checksum then tells nothing.
    """
    if sidecar is None:
        return cine
    misfit = _misfit(cine, sidecar, reconstructed)
    if misfit is not None:
        return _noted(cine, f"the sidecar of {name} {misfit}, so nothing is taken from it; take it away, or copy the "
                      "one that was written with this file", GeometryWarning)
    grid = cine.grid
    if sidecar.affine_ras is not None:
        grid = ImageGrid(sidecar.affine_ras, grid.shape, sidecar.slice_thickness_mm or grid.slice_thickness_mm)
    record = dict(sidecar.record)
    notes = [*record.get("notes", []), *cine.sidecar.get("notes", [])]
    if notes:
        record["notes"] = list(dict.fromkeys(notes))
    whole = replace(
        cine, image=true_values(cine.image, sidecar.scale, sidecar.quantum), grid=grid, function=sidecar.function,
        slice_origins_mm=cine.slice_origins_mm if sidecar.slice_origins_mm is None else sidecar.slice_origins_mm,
        sidecar=record,
    )
    if not _same_times(cine.times_ms, sidecar.times_ms, times):
        return _noted(whole, f"the sidecar of {name} tells other frame times than the file; the file's are used, and "
                      "no heartbeats from the sidecar", CMRSimWarning)
    if sidecar.times_ms is not None:
        whole = replace(whole, times_ms=sidecar.times_ms)
    own, told = cine.heartbeats_ms, sidecar.heartbeats_ms
    if own is not None and told is not None and not np.allclose(own, told, rtol=0, atol=SAME_HEARTBEAT_MS):
        return _noted(whole, f"the sidecar of {name} tells other heartbeats than the file; the file's are used",
                      CMRSimWarning)
    return replace(whole, heartbeats_ms=own if told is None else told)


def true_values(image: NDArray[np.float32], scale: float, quantum: float | None) -> NDArray[np.float32]:
    """Undo the scaling of stored values; exact where the true ones are multiples of a quantum."""
    if scale == 1.0 and quantum is None:
        return image
    values = image.astype(np.float64) / scale
    if quantum is not None:
        values = np.rint(values / quantum) * quantum
    return values.astype(np.float32)


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


def _misfit(cine: Cine, sidecar: Sidecar, reconstructed: bool) -> str | None:
    """Why the sidecar is not this image's, as the end of a sentence; None where it is."""
    shape, places = cine.image.shape, cine.slice_origins_mm
    if sidecar.shape is not None and sidecar.shape != shape:
        return f"describes an image of shape {sidecar.shape}, the file has {shape}"
    for what, table, fits in (
        ("times", sidecar.times_ms, (shape[1], shape[0])), ("heartbeats", sidecar.heartbeats_ms, (shape[1],)),
        ("slice positions", sidecar.slice_origins_mm, (shape[1], 3)),
    ):
        if table is not None and table.shape != fits:
            return f"has {what} of shape {table.shape}, where its image needs {fits}"
    for own, told in ((cine.grid.affine_ras, sidecar.affine_ras), (places, sidecar.slice_origins_mm)):
        if told is not None and (own is None or not np.allclose(told, own, rtol=0, atol=SINGLE_PRECISION_MM)):
            return "describes another geometry than the file"
    if not reconstructed and sidecar.sha256 is not None and sidecar.sha256 != checksum(cine.image):
        return "was written with other image values (its checksum is not the file's)"
    return None


def _same_times(own: NDArray[np.float64] | None, told: NDArray[np.float64] | None, held: TimesHeld) -> bool:
    """Whether a file's (slices, frames) times are what it holds of those told; the unknown contradicts nothing."""
    if own is None or told is None:
        return True
    if held == "step":
        own, told = np.diff(own, axis=1).mean(axis=1), np.diff(told, axis=1).mean()[None]
    elif held == "frames":
        told = told.mean(axis=0)
    return bool(np.allclose(own, told, rtol=0, atol=SAME_TIME_MS))


def _noted(cine: Cine, note: str, category: type[CMRSimWarning]) -> Cine:
    """Tell the user, here and in the record."""
    warnings.warn(note, category, stacklevel=4)
    return replace(cine, sidecar={**cine.sidecar, "notes": [*cine.sidecar.get("notes", []), note]})


def _array(values: Any, shape: tuple[int | None, ...]) -> NDArray[np.float64] | None:
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != len(shape) or any(want is not None and have != want for have, want in zip(array.shape, shape)):
        raise ValueError(f"a table has the shape {array.shape}, not {shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError("a table holds values that are no numbers")
    return array


def _finite(values: dict[str, Any], name: str) -> Any:
    """A number; None where not given."""
    number = None if values.get(name) is None else float(values[name])
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{name} is {number}, which is no number")
    return number


def _above_zero(values: dict[str, Any], name: str) -> float | None:
    """A number above 0; None where not given."""
    number: float | None = _finite(values, name)
    if number is not None and number <= 0.0:
        raise ValueError(f"{name} is {number}, where a number above 0 is needed")
    return number


def _tissue_names(count: int) -> list[str]:
    from CMRSimExtension.anatomy.structures import Tissue

    return [Tissue(i).name.lower() if i < len(Tissue) else str(i) for i in range(count)]
