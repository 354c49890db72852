"""NIfTI-1 images of one, several or vector-valued frames.

Arrays are (frames, slices, rows, columns) here and (x, y, z, t) in the file, x being the column; both lie in memory in
the same order. NIfTI positions are RAS, as everywhere in this library. The format holds affines in single precision;
the sidecar keeps the double one.
"""

import gzip
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.third_party import GeometryWarning, reading
from CMRSimExtension.scanner.geometry import ImageGrid

PIXDIM_TOLERANCE = 1e-3
"""Relative difference between the affine's voxel size and `pixdim` above which they contradict each other; single
precision and the square roots of a quaternion stay a hundred times below."""
LENGTH_UNITS_MM = {"meter": 1000.0, "micron": 1e-3}
"""Units of length other than millimetres that a header may name (NIfTI-1, `xyzt_units`)."""

LONGEST_CYCLE_MS = 5000.0
"""No heartbeat lasts longer (12 beats per minute): frames that together last longer are not told apart by time."""
SHORTEST_STEP_MS = 1.0
"""No two frames of a cine are closer: a single repetition of the sequence takes longer."""

_GZIP_RATIO = 1040
"""Deflate cannot shrink more than 1032-fold (258 bytes in two bits: RFC 1951): a file whose header claims more lies."""


@dataclass(frozen=True)
class NiftiImage:
    """What one NIfTI file holds.

    Attributes
    ----------
    values
        (frames, slices, rows, columns) or, for vectors, (frames, slices, rows, columns, components).
    grid
        Geometry; its slice thickness is the slice distance, since NIfTI does not know the thickness.
    step_ms
        Time between frames, or None where the header says none that a heartbeat could have.
    notes
        What in the header was contradictory, and what was believed.
    """

    values: NDArray
    grid: ImageGrid
    step_ms: float | None
    notes: list[str] = field(default_factory=list)


def read_nifti(path: Path | str) -> NiftiImage:
    """Read a 2D to 5D NIfTI image.

    Where the affine's voxel sizes contradict `pixdim`, `pixdim` is believed (ACDC and M&Ms as published need it so),
    a `GeometryWarning` is given, and `notes` says it; likewise where the header gives lengths in metres or micrometres.

    Raises
    ------
    InputError
        The file does not exist or may not be read.
    FileFormatError
        It is damaged, truncated, complex or colour, or its geometry cannot be inverted.
    """
    import nibabel

    path = Path(path)
    with reading(path, "a NIfTI image"):
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):
            raise FileFormatError(f"{path.name} is {type(image).__name__}, not NIfTI; convert it to .nii.gz first")
        header = image.header
        shape = tuple(int(n) for n in image.shape)
        if not 2 <= len(shape) <= 5 or min(shape) < 1:
            raise FileFormatError(f"{path.name} has the shape {shape}; an image of 2 to 5 dimensions is needed")
        dtype = header.get_data_dtype()
        if dtype.fields is not None or dtype.kind == "c":
            raise FileFormatError(f"{path.name} holds {dtype} values (colour or complex); give a grey-scale image")
        _check_size(path, image, shape, dtype)
        values = np.asarray(image.dataobj)
        affine, notes = _affine(path, image)
        step_ms = _time_step(path, header, shape, notes)
    if values.ndim == 5 and values.shape[3] == 1 and values.shape[4] == 1:
        values = values[..., 0]
    vectors = values.ndim == 5
    while values.ndim < 4:
        values = values[..., np.newaxis]
    values = values.transpose((3, 2, 1, 0, 4) if vectors else (3, 2, 1, 0))
    frames, slices, rows, columns = values.shape[:4]
    spacing = float(np.linalg.norm(affine[:3, 2]))
    if not spacing > 0:
        raise FileFormatError(f"{path.name} has slices 0 mm apart; correct its header")
    try:
        grid = ImageGrid(affine, (slices, rows, columns), spacing)
    except InputError as error:
        raise FileFormatError(f"{path.name}: {error}") from error
    for note in notes:
        warnings.warn(f"{path.name}: {note}", GeometryWarning, stacklevel=2)
    return NiftiImage(values, grid, step_ms, notes)


def write_nifti(
    path: Path, values: NDArray, affine_ras: NDArray[np.floating], step_ms: float | None = None, description: str = ""
) -> None:
    """Write frames, or frames of vectors, to exactly `path` (a name to be renamed later, see `files.atomic`).

    The same input gives the same bytes: the compressed stream carries neither time nor name.

    Parameters
    ----------
    path
        Name ending in .nii.gz or .nii.
    values
        (frames, slices, rows, columns) or (frames, slices, rows, columns, components), float32, uint8 or another
        type that NIfTI has.
    affine_ras
        (4, 4): (column, row, slice, 1) to RAS mm.
    step_ms
        Mean time between frames.
    description
        At most 79 characters for the header's `descrip`.
    """
    import nibabel

    vectors = values.ndim == 5
    header = nibabel.Nifti1Header()
    frames, slices, rows, columns = values.shape[:4]
    if max(values.shape) > 32767:
        raise InputError(f"NIfTI holds at most 32767 voxels along an axis, this image has {max(values.shape)}; crop it")
    shape = (columns, rows, slices) + ((frames,) if frames > 1 or vectors else ())
    header.set_data_dtype(values.dtype)
    header.set_data_shape(shape + ((values.shape[4],) if vectors else ()))
    image = nibabel.Nifti1Image(_Shell(header.get_data_shape(), values.dtype), np.asarray(affine_ras), header)
    header = image.header
    header.set_sform(affine_ras, code="scanner")
    if _is_rotation(affine_ras):
        header.set_qform(affine_ras, code="scanner")
    header.set_xyzt_units("mm", "sec")
    if len(shape) == 4:
        zooms = header["pixdim"]
        zooms[4] = 0.0 if step_ms is None else step_ms / 1000.0
        if vectors:
            zooms[5] = 1.0
            header.set_intent("vector")
    header["descrip"] = description.encode("ascii", "replace")[:79]
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["magic"], header["vox_offset"] = b"n+1", 352
    with path.open("wb") as raw:
        if path.name.endswith(".gz"):
            # Noise hardly compresses: the fastest level costs 2 % of the size and saves most of the time.
            level = 1 if values.dtype.kind == "f" else 6
            with gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=raw, mtime=0) as stream:
                _write_body(stream, header, values, vectors)
        else:
            _write_body(raw, header, values, vectors)


class _Shell:
    """Stands for the data while the header is made, so that no copy of them is."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)


def _write_body(stream, header, values: NDArray, vectors: bool) -> None:  # type: ignore[no-untyped-def]
    stream.write(header.binaryblock)
    stream.write(b"\0\0\0\0")
    little = values.dtype.newbyteorder("<")
    if vectors:
        for component in range(values.shape[4]):
            for frame in values:
                stream.write(np.ascontiguousarray(frame[..., component], dtype=little).tobytes())
    else:
        for frame in values:
            stream.write(np.ascontiguousarray(frame, dtype=little).tobytes())


def _is_rotation(affine: NDArray[np.floating]) -> bool:
    """Whether the axes are perpendicular, which is all that a quaternion (qform) can say."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-5))


def _check_size(path: Path, image, shape: tuple[int, ...], dtype: np.dtype) -> None:  # type: ignore[no-untyped-def]
    """Refuse a header that claims more than the file can hold, before memory is asked for."""
    need = int(np.prod([float(n) for n in shape])) * dtype.itemsize
    data_file = Path(image.file_map["image"].filename or path)
    have = data_file.stat().st_size * (_GZIP_RATIO if data_file.suffix in (".gz", ".bz2") else 1)
    if need > have:
        raise FileFormatError(
            f"{path.name} is truncated or its header damaged: {shape} values of {dtype} need {need} bytes, the file "
            f"has {data_file.stat().st_size}; copy it again"
        )


def _affine(path: Path, image) -> tuple[NDArray[np.float64], list[str]]:  # type: ignore[no-untyped-def]
    affine = np.array(image.affine, dtype=np.float64)
    zooms = np.array(image.header["pixdim"][1:4], dtype=np.float64)
    notes: list[str] = []
    if not np.all(np.isfinite(affine)):
        raise FileFormatError(f"{path.name} has an affine with NaN or infinite values; correct its header")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if np.any(sizes == 0) or abs(np.linalg.det(affine[:3, :3] / np.where(sizes > 0, sizes, 1))) < 1e-6:
        raise FileFormatError(f"{path.name} has an affine that cannot be inverted; correct its sform or qform")
    if np.all(np.isfinite(zooms)) and np.all(zooms > 0):
        if np.any(np.abs(sizes - zooms) > PIXDIM_TOLERANCE * zooms):
            affine[:3, :3] *= zooms / sizes
            notes.append(
                f"the affine says voxels of {_mm(sizes)} mm, pixdim {_mm(zooms)} mm; pixdim is believed and the "
                "affine's axes rescaled to it"
            )
    else:
        notes.append(f"pixdim is {_mm(zooms)} mm, which no voxel has; the affine's {_mm(sizes)} mm are believed")
    if not affine[3].tolist() == [0.0, 0.0, 0.0, 1.0]:
        raise FileFormatError(f"{path.name} has an affine whose last row is {affine[3]}; correct its header")
    unit = _units(image.header)[0]
    if unit in LENGTH_UNITS_MM:
        affine[:3] *= LENGTH_UNITS_MM[unit]
        notes.append(f"the header gives lengths in {unit}s; they are read as millimetres")
    return affine, notes


def _units(header) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    """Units of length and of time, "unknown" where the header's code has no meaning."""
    try:
        return header.get_xyzt_units()
    except KeyError:
        return "unknown", "unknown"


def _mm(sizes: NDArray[np.floating]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes)


def _time_step(path: Path, header, shape: tuple[int, ...], notes: list[str]) -> float | None:  # type: ignore[no-untyped-def]
    if len(shape) < 4 or shape[3] < 2:
        return None
    step = float(header["pixdim"][4])
    unit = _units(header)[1]
    # A header that names no unit means seconds to most readers; some writers mean milliseconds, which no heartbeat of
    # seconds could be taken for.
    factor = {"msec": 1.0, "usec": 1e-3}.get(unit, 1000.0 if unit == "sec" or step < 1 else 1.0)
    step_ms = step * factor
    if not np.isfinite(step_ms) or step_ms <= 0:
        return None
    if step_ms * shape[3] > LONGEST_CYCLE_MS:
        notes.append(
            f"the header says {step_ms:g} ms between frames, {shape[3]} of which last longer than any heartbeat; the "
            "times are taken as unknown"
        )
        return None
    if step == 1.0 or step_ms < SHORTEST_STEP_MS:
        # 1 is what nibabel and others write where they know no times; only a header that names a unit says something.
        if step != 1.0 or unit != "unknown":
            why = "as files do that merely count them" if step == 1.0 else "less than any scan takes"
            notes.append(f"the header says {step_ms:g} ms between frames, {why}; the times are taken as unknown")
        return None
    return step_ms
