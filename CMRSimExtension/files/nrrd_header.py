"""The NRRD header: written in 3D Slicer's dialect, read in any, with its data found and checked.

Positions are LPS in the files written here, as ITK and Slicer write them.
"""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.nrrd_times import FrameAxis
from CMRSimExtension.files.third_party import reading

_TYPES = {"f4": "float", "u1": "unsigned char", "i2": "short", "u2": "unsigned short"}
_TO_RAS = {
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
}
_WITH_TIME = {f"{name}{'-time' if '-' in name else 't'}": signs for name, signs in _TO_RAS.items()}
"""Spaces with time as their fourth axis: left-posterior-superior-time, LPST and so on."""
_LENGTH_UNITS_MM = {
    "": 1.0, "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "um": 1e-3, "\N{MICRO SIGN}m": 1e-3,
    "\N{GREEK SMALL LETTER MU}m": 1e-3, "micron": 1e-3, "microns": 1e-3,
    "cm": 10.0, "m": 1000.0,
}
_COLOUR_KINDS = {"rgb-color", "rgba-color", "hsv-color", "xyz-color", "3-color", "4-color", "vector", "3-vector",
                 "4-vector", "complex", "2-vector", "covariant-vector", "3-gradient", "3-normal", "quaternion"}
_LARGEST_RATIO = 1040


@dataclass(frozen=True)
class NrrdImage:
    """What one NRRD file holds.

    Attributes
    ----------
    values
        (lists, slices, rows, columns): the list axis is time in a sequence and layers in a segmentation; 1 without.
    affine_ras
        (4, 4): (column, row, slice, 1) to RAS mm.
    thickness_mm
        Slice thickness if the header says one, or None.
    fields
        Key/value pairs of the header.
    frame_axis
        What the header says of the list axis.
    notes
        What in the header was assumed.
    """

    values: NDArray
    affine_ras: NDArray[np.float64]
    thickness_mm: float | None
    fields: dict[str, str] = field(default_factory=dict)
    frame_axis: FrameAxis = field(default_factory=FrameAxis)
    notes: list[str] = field(default_factory=list)


def write_nrrd(
    path: Path, values: NDArray, affine_ras: NDArray[np.float64], fields: dict[str, str], *,
    thickness_mm: float | None = None, sequence_unit: str | None = None,
) -> None:
    """Write to exactly `path`, gzip-compressed, the same bytes for the same input.

    Parameters
    ----------
    path
        Name to write to.
    values
        (slices, rows, columns), or (frames, slices, rows, columns) with `sequence_unit`.
    affine_ras
        (4, 4): (column, row, slice, 1) to RAS mm.
    fields
        Key/value pairs, written in this order.
    thickness_mm
        Slice thickness.
    sequence_unit
        Unit of the index of the fourth axis, "ms" or "".
    """
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras
    directions = [_vector(affine[:3, axis]) for axis in range(3)]
    # No unit for the spatial axes: Slicer's sequence reader refuses a file that says they are millimetres.
    kinds, labels, units = ["domain"] * 3, ['""'] * 3, ['""'] * 3
    nothing = "" if thickness_mm is None else f"thicknesses: NaN NaN {_number(thickness_mm)}"
    if sequence_unit is not None:
        directions.append("none")
        kinds.append("list")
        labels.append('"time"' if sequence_unit else '"frame"')
        units.append(f'"{sequence_unit}"')
        nothing += " NaN" if nothing else ""
    lines = [
        "NRRD0005", f"type: {_TYPES[values.dtype.str[1:]]}", f"dimension: {values.ndim}",
        "space: left-posterior-superior", f"sizes: {' '.join(str(n) for n in values.shape[::-1])}",
        f"space directions: {' '.join(directions)}", f"kinds: {' '.join(kinds)}", *([nothing] if nothing else []),
        f"labels: {' '.join(labels)}", f"units: {' '.join(units)}", "endian: little", "encoding: gzip",
        f"space origin: {_vector(affine[:3, 3])}", *(f"{key}:={_escaped(value)}" for key, value in fields.items()),
    ]
    with path.open("wb") as raw:
        raw.write(("\n".join(lines) + "\n\n").encode("utf-8"))
        level = 1 if values.dtype.kind == "f" else 6
        with gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=raw, mtime=0) as stream:
            for part in values:
                stream.write(np.ascontiguousarray(part, dtype=values.dtype.newbyteorder("<")).tobytes())


def read_nrrd(path: Path) -> NrrdImage:
    """Read a NRRD file (or .nhdr with its data beside it) of two or three axes, and one more of frames or layers.

    The latter is of kind list or time, has no direction, or is the time axis of a space such as
    left-posterior-superior-time.

    Raises
    ------
    InputError
        No such file.
    FileFormatError
        It is damaged or truncated, its detached data are missing, it holds colours or vectors, its axes mix space and
        time, or its voxels have no size.
    """
    import nrrd

    with reading(path, "a NRRD image"):
        header = _header(path)
        sizes = [int(n) for n in header["sizes"]]
        if len(sizes) not in (2, 3, 4) or min(sizes) < 1:
            raise FileFormatError(f"{path.name} has the sizes {sizes}; an image of 2 to 4 axes is needed")
        kinds = [str(k).lower() for k in header.get("kinds", ["domain"] * len(sizes))]
        if _COLOUR_KINDS & set(kinds):
            raise FileFormatError(f"{path.name} holds {', '.join(sorted(_COLOUR_KINDS & set(kinds)))} values; a grey "
                                  "image is needed")
        _check_data(path, header, sizes)
        values = nrrd.read(str(path), index_order="F")[0]
        axis = _list_axis(path, header, kinds, len(sizes))
        values = values[..., np.newaxis] if axis is None else np.moveaxis(values, axis, -1)
        while values.ndim < 4:
            values = np.expand_dims(values, -2)
        notes: list[str] = []
        affine = _affine(path, header, axis, notes)
        known = {k: v for k, v in header.items() if isinstance(v, str)}
        thickness = [float(t) for t in np.atleast_1d(header.get("thicknesses", [])) if np.isfinite(t) and t > 0]
        frame_axis = FrameAxis() if axis is None else _frame_axis(header, kinds, axis)
    return NrrdImage(
        values.transpose(3, 2, 1, 0), affine, thickness[0] if thickness else None, known, frame_axis, notes
    )


def _header(path: Path) -> dict[str, Any]:
    """The header as pynrrd understands it, which by itself drops all letters but ASCII's so that µm would be m."""
    import nrrd

    def lines() -> Iterator[str]:
        with path.open("rb") as file:
            for line in file:
                try:
                    yield line.decode("utf-8")
                except UnicodeDecodeError:
                    yield line.decode("latin-1")

    return dict(nrrd.read_header(lines()))


def _list_axis(path: Path, header: dict[str, Any], kinds: list[str], count: int) -> int | None:
    """The axis of frames or layers; None where all are of space."""
    if count < 3:
        return None
    for axis, kind in enumerate(kinds):
        if kind in ("list", "time"):
            return axis
    directions = _directions(header)
    if directions.shape[1] == 4:
        along_time = [axis for axis, row in enumerate(directions) if not np.any(row[:3]) and row[3] != 0]
        if len(along_time) == 1:
            return along_time[0]
    if count < 4:
        return None
    without = [axis for axis, row in enumerate(directions) if not np.all(np.isfinite(row))]
    if len(without) == 1:
        return without[0]
    raise FileFormatError(f"{path.name} has four axes of the kinds {kinds}, none of them a list; say in its header "
                          "which axis is time")


def _directions(header: dict[str, Any]) -> NDArray[np.float64]:
    """(axes, 3) or, in a space with time, (axes, 4); without rows where the header has none."""
    return np.atleast_2d(np.asarray(header.get("space directions", np.empty((0, 3))), dtype=np.float64))


def _units(header: dict[str, Any], name: str = "units") -> list[str]:
    return [str(unit).strip('" ') for unit in header.get(name, [])]


def _frame_axis(header: dict[str, Any], kinds: list[str], axis: int) -> FrameAxis:
    directions, spacings, units = _directions(header), header.get("spacings", []), _units(header)
    unit = units[axis] if len(units) == len(kinds) else ""
    is_time = kinds[axis] == "time" or _space_of(header) in _WITH_TIME
    if directions.shape[1] == 4 and np.isfinite(directions[axis, 3]):
        origin, of_space = header.get("space origin", np.zeros(4)), _units(header, "space units")
        start = float(origin[3]) if np.isfinite(origin[3]) else 0.0
        return FrameAxis(of_space[3] if len(of_space) == 4 else unit, is_time, start, float(directions[axis, 3]))
    step = float(spacings[axis]) if len(spacings) == len(kinds) else None
    return FrameAxis(unit, is_time, step=step)


def _space_of(header: dict[str, Any]) -> str:
    return str(header.get("space", "")).strip().lower()


def _affine(
    path: Path, header: dict[str, Any], list_axis: int | None, notes: list[str]
) -> NDArray[np.float64]:
    affine = np.eye(4)
    if "space directions" in header:
        signs = _signs_to_ras(path, header, notes)
        rows = _directions(header)
        origin = np.asarray(header.get("space origin", np.zeros(rows.shape[1])), dtype=np.float64)
        if rows.shape[1] == 4:
            _refuse_mixed(path, rows, list_axis)
            rows, origin = rows[:, :3], origin[:3]
        if list_axis is not None:
            rows = np.delete(rows, list_axis, axis=0)
        if rows.shape == (2, 3):
            rows = np.vstack([rows, np.cross(rows[0], rows[1]) / np.linalg.norm(rows[0])])
        if rows.shape != (3, 3) or origin.shape != (3,) or not np.all(np.isfinite(rows)):
            raise FileFormatError(f"{path.name} has space directions or an origin that do not fit its axes")
        flip = np.diag([float(s) for s in signs])
        scale = _length_unit_mm(path, _units(header, "space units")[:3])
        affine[:3, :3], affine[:3, 3] = scale * flip @ rows.T, scale * flip @ origin
    elif "spacings" in header:
        spacings = np.asarray(header["spacings"], dtype=np.float64)
        units = _units(header)
        if len(units) == len(spacings):
            in_space = [axis for axis in range(len(units)) if axis != list_axis]
            spacings[in_space] *= _length_unit_mm(path, [units[axis] for axis in in_space])
        if list_axis is not None:
            spacings = np.delete(spacings, list_axis)
        spacings = np.append(spacings, 1.0)[:3]
        # No directions: the array is taken as ITK takes it, along left, posterior and superior.
        affine[:3, :3] = np.diag([-1.0, -1.0, 1.0]) * np.where(np.isfinite(spacings), spacings, 1.0)
    else:
        raise FileFormatError(f"{path.name} says neither directions nor spacings, so its voxels have no size; correct "
                              "its header")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.all(np.isfinite(affine)) or np.any(sizes == 0) or abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-6:
        raise FileFormatError(f"{path.name} has directions that cannot be inverted; correct its header")
    return affine


def _signs_to_ras(path: Path, header: dict[str, Any], notes: list[str]) -> tuple[int, int, int]:
    space = _space_of(header)
    signs = (_TO_RAS | _WITH_TIME).get(space)
    if signs is not None:
        return signs
    if not space and "space dimension" in header:
        notes.append("the header names no space; positions are taken as left-posterior-superior, as ITK writes them")
        return _TO_RAS["lps"]
    raise FileFormatError(f"{path.name} lies in the space {space or '(none)'!r}; known are "
                          f"{', '.join(_TO_RAS | _WITH_TIME)}")


def _refuse_mixed(path: Path, rows: NDArray[np.float64], time_axis: int | None) -> None:
    """Raise where an axis runs through space and time at once."""
    for axis, row in enumerate(rows):
        mixed = np.any(row[:3] != 0) if axis == time_axis else row[3] != 0
        if mixed and np.all(np.isfinite(row)):
            raise FileFormatError(
                f"{path.name} has an axis along {tuple(float(v) for v in row)}, in space and time at once; give one "
                "in which every frame is taken at one time"
            )


def _length_unit_mm(path: Path, named: Sequence[str]) -> float:
    """Millimetres in the unit that all axes of space are given in; 1 where none is named."""
    units = sorted({unit.lower() for unit in named})
    if not units:
        return 1.0
    if len(units) > 1 or units[0] not in _LENGTH_UNITS_MM:
        raise FileFormatError(
            f"{path.name} has the space units {', '.join(units)}; one of {', '.join(filter(None, _LENGTH_UNITS_MM))} "
            "for all axes is read here"
        )
    return _LENGTH_UNITS_MM[units[0]]


def _check_data(path: Path, header: dict[str, Any], sizes: list[int]) -> None:
    """Refuse missing detached data and headers that claim more than the file can hold, before memory is asked for."""
    detached = header.get("data file", header.get("datafile"))
    data = path
    if detached is not None:
        name = str(detached)
        if name.upper().startswith("LIST") or "%" in name:
            raise FileFormatError(f"{path.name} keeps its data in several files, which is not read here; join them "
                                  "first (unu save)")
        data = path.parent / name
        if not data.is_file():
            raise FileFormatError(f"{path.name} keeps its data in {name}, which is not beside it; copy both files")
    packed = str(header.get("encoding", "raw")).lower() != "raw"
    if packed and int(header.get("byte skip", header.get("byteskip", 0))) > 0:
        raise FileFormatError(
            f"{path.name} is compressed and skips bytes of what was compressed, which is not read here; save it again "
            "without byte skip (unu save)"
        )
    import nrrd

    dtype = np.dtype(nrrd.reader._determine_datatype(header)) if hasattr(nrrd.reader, "_determine_datatype") else None
    itemsize = 1 if dtype is None else dtype.itemsize
    need = float(np.prod([float(n) for n in sizes])) * itemsize
    ratio = _LARGEST_RATIO if packed else 1
    if need > data.stat().st_size * ratio:
        raise FileFormatError(
            f"{path.name} is truncated or its header damaged: sizes {sizes} need {need:.0f} bytes, {data.name} has "
            f"{data.stat().st_size}; copy it again"
        )


def _vector(values: NDArray[np.floating]) -> str:
    return "(" + ",".join(_number(v) for v in values) + ")"


def _number(value: float) -> str:
    return repr(float(value) + 0.0)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


