"""XCAT's own motion: the vectors that its mode 4 writes, from each voxel of frame 1 to where its tissue went.

One text file per later frame, ``<name>_vec_frame1_to_frame<t>.txt``: an empty line, ``Surface Vectors From Frame 1 to
Frame <t>``, then a line per voxel::

    known_vector frame1 41 52 7  frame3 41.310000 51.870000 7.040000

The first place holds the column, row and slice of a voxel of the activity files, from 0; the second, in the same
coordinates, where it is at frame t. ``known_vector`` (an organ's name may follow) was sampled on XCAT's surfaces,
``interpolated_vector`` between them. A voxel without a line does not move. Sources, which agree: NOTE 12 of XCAT's
parameter file; the readers of Williams et al. (Med Phys 2013;40:071728), of cid-X (Eiben et al., Phys Med Biol
2020;65:165005), of matRad's XCAT import and of KCL's ``LoadXCATField``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.anatomy.xcat_files import XcatSeries
from CMRSimExtension.errors import FileFormatError, InputError

Box = tuple[slice, slice, slice]
"""Slices, rows and columns that are kept."""

XCAT_MOTION = "XCAT's own: its motion vectors"
"""What the sidecar says of motion that was not estimated."""

_NAME = re.compile(r"(?P<name>.+)_vec_frame1_(?:to_)?frame(?P<frame>\d+)\.txt")
_HEADER = re.compile(rb"frame\s*1\s+to\s+frame\s*(\d+)", re.IGNORECASE)
_BLOCK_BYTES = 1 << 24
"""Read at a time: a file has a line, of about 80 bytes, for every voxel."""
_WORDS = 9
_KNOWN, _INTERPOLATED = b"known_vector", b"interpolated_vector"
_SWEEPS = 40
_LISTED, _SAMPLED = 1, 2


@dataclass(frozen=True)
class VectorMotion:
    """Where the tissue of frame 1 goes.

    Attributes
    ----------
    displacement_mm
        (frames, slices, rows, columns, 3) float32, RAS: place at each frame less place at frame 1, of each voxel.
    affine_ras
        (4, 4): (column, row, slice, 1) of these voxels to RAS mm.
    cut
        (3, 2): whether the phantom goes on beyond the first and last slice, row and column.
    known_share, filled_share
        Shares of the heart's voxels whose vectors XCAT sampled itself, and which no line told and are filled.
    """

    displacement_mm: NDArray[np.float32]
    affine_ras: NDArray[np.float64]
    cut: NDArray[np.bool_]
    known_share: float
    filled_share: float


def vector_files(path: str | Path) -> dict[int, Path]:
    """Frame number -> vector file, of one run.

    Parameters
    ----------
    path
        One of the files, or a folder that holds those of one run.

    Raises
    ------
    FileFormatError
        There are none, or of several runs.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    wanted = _NAME.fullmatch(path.name) if path.is_file() else None
    if wanted is None and not path.is_dir():
        raise FileFormatError(f"{path} is no <name>_vec_frame1_to_frame<t>.txt; give one of XCAT's motion vector files")
    found: dict[str, dict[int, Path]] = {}
    for one in sorted(folder.iterdir()):
        match = _NAME.fullmatch(one.name)
        if match and (wanted is None or match["name"] == wanted["name"]):
            found.setdefault(match["name"], {})[int(match["frame"])] = one
    if len(found) != 1:
        runs = f"of several runs ({', '.join(found)}): give one of them by name" if found else "none: run XCAT's mode 4"
        raise FileFormatError(f"{folder} holds motion vectors {runs}")
    return next(iter(found.values()))


def vectors_beside(series: XcatSeries) -> dict[int, Path]:
    """Vector files that have the name of the activity files and lie beside them; none where there are none."""
    first = series.frames[0]
    found = sorted(first.path.parent.glob("*_vec_frame1_*.txt"))
    named = ((_NAME.fullmatch(p.name), p) for p in found)
    return {int(m["frame"]): p for m, p in named if m and m["name"] == first.run}


def read_vectors(
    path: Path, frame: int, shape: tuple[int, int, int], box: Box | None = None
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Read one file, block by block.

    Parameters
    ----------
    path
        The file.
    frame
        The frame that it should lead to.
    shape
        (slices, rows, columns) of the activity files.
    box
        Part that is kept; the whole by default.

    Returns
    -------
    displacement
        (slices, rows, columns, 3) of the box: column, row and slice displacement in voxels, 0 where there is no line.
    listed
        (slices, rows, columns): 0 no line, 1 interpolated by XCAT, 2 known to it.

    Raises
    ------
    FileFormatError
        No vector file, one of another frame or of a larger grid, or a malformed line, which is named.
    """
    box = box or (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    low = np.array([s.start for s in box])
    size = np.array([s.stop for s in box]) - low
    moved = np.zeros((*size, 3), dtype=np.float32)
    listed = np.zeros(tuple(size), dtype=np.uint8)
    for voxel, place, known in _blocks(path, frame, shape):
        at = voxel[:, ::-1].astype(np.int64) - low
        kept = np.all((at >= 0) & (at < size), axis=1)
        # Should a voxel be told twice, what XCAT knows stands.
        for sure, mark in ((False, _LISTED), (True, _SAMPLED)):
            chosen = np.flatnonzero(kept & (known == sure))
            chosen = chosen[listed[tuple(at[chosen].T)] <= mark]
            index = tuple(at[chosen].T)
            moved[index], listed[index] = (place - voxel)[chosen], mark
    return moved, listed


def _blocks(
    path: Path, frame: int, shape: tuple[int, int, int]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]]:
    """(n, 3) voxels, (n, 3) places (column, row, slice) and (n,) whether XCAT knows them, a block at a time."""
    limit = np.array(shape[::-1])
    with path.open("rb") as file:
        line, number = file.readline(), 1
        while line and not line.strip():
            line, number = file.readline(), number + 1
        header = _HEADER.search(line)
        if header is None:
            raise FileFormatError(
                f"{path.name} does not begin with 'Surface Vectors From Frame 1 to Frame {frame}': it is none of "
                "XCAT's motion vector files"
            )
        if int(header[1]) != frame:
            raise FileFormatError(
                f"{path.name} holds the vectors to frame {int(header[1])}, not {frame}: it was renamed"
            )
        empty = True
        while lines := file.readlines(_BLOCK_BYTES):
            words = b"".join(lines).split()
            found = _numbers(words, frame, limit)
            if found is None:
                raise FileFormatError(_complaint(path.name, lines, number, frame, limit))
            number += len(lines)
            if len(found[0]):
                empty = False
                yield found
    if empty:
        raise FileFormatError(f"{path.name} ends after its header: the file is cut off")


def _numbers(
    words: list[bytes], frame: int, limit: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]] | None:
    """What whole lines say; None if anything is wrong with one of them."""
    names = words[::_WORDS]
    if len(words) % _WORDS or (words and not (
        set(words[1::_WORDS]) == {b"frame1"} and set(words[5::_WORDS]) == {b"frame%d" % frame}
        and all(name.startswith((_KNOWN, _INTERPOLATED)) for name in set(names))
    )):
        return None
    try:
        columns = [np.array(words[i::_WORDS], dtype="S").astype(np.float64) for i in (2, 3, 4, 6, 7, 8)]
    except ValueError:
        return None
    voxel, place = np.stack(columns[:3], axis=1), np.stack(columns[3:], axis=1)
    sound = np.all(np.isfinite(place)) and np.all(voxel == np.rint(voxel)) and np.all((voxel >= 0) & (voxel < limit))
    return (voxel, place, np.array([name.startswith(_KNOWN) for name in names])) if sound else None


def _complaint(name: str, lines: list[bytes], before: int, frame: int, limit: NDArray[np.int64]) -> str:
    """What is wrong with the first unsound line of a block that follows line `before`."""
    number, words = before, list[bytes]()
    for line in lines:
        number, words = number + 1, line.split()
        if words and (len(words) != _WORDS or _numbers(words, frame, limit) is None):
            break
    shown = b" ".join(words).decode("latin-1")[:80]
    try:
        voxel = np.array(words[2:5], dtype="S").astype(np.float64)
    except ValueError:
        voxel = np.empty(0)
    if len(words) == _WORDS and np.all(np.isfinite(voxel)) and np.any(voxel >= limit):
        return (
            f"{name} line {number} tells of voxel {', '.join(f'{v:g}' for v in voxel)}, but the phantom has "
            f"{' x '.join(str(n) for n in limit)}: the vectors belong to a run on another grid; make both with the "
            "same array_size, pixel_width, slice_width, startslice and endslice"
        )
    return (
        f"{name} line {number} is '{shown}', not 'known_vector' or 'interpolated_vector' with 'frame1', a voxel, "
        f"'frame{frame}' and a place: the file is damaged or cut off; run XCAT's mode 4 again"
    )


def vector_motion(
    files: Mapping[int, Path],
    frames: tuple[int, ...],
    affine_ras: NDArray[np.float64],
    heart: NDArray[np.bool_],
    box: Box,
) -> VectorMotion:
    """The motion of every voxel of `box`: as the files say, and smoothly between them where they leave the heart out.

    Parameters
    ----------
    files
        Frame number -> vector file.
    frames
        Numbers of the frames that are wanted; the first is 1, where all vectors start.
    affine_ras
        (4, 4): (column, row, slice, 1) of the phantom to RAS mm.
    heart
        (slices, rows, columns) of the phantom at frame 1: what moves though no line may tell how.
    box
        Part of the phantom.

    Raises
    ------
    InputError
        The first frame is not 1.
    FileFormatError
        A frame has no file, a file cannot be read, or none of its vectors lies in the heart.
    """
    if frames[0] != 1:
        raise InputError(f"XCAT's motion vectors start at frame 1, but the earliest heart phase is frame {frames[0]}; "
                         "run XCAT from end diastole (hrt_start_ph_index = 0)")
    missing = [n for n in frames[1:] if n not in files]
    if missing:
        raise FileFormatError(
            f"there are no motion vectors to frame {', '.join(str(n) for n in missing)} "
            f"(<name>_vec_frame1_to_frame{missing[0]}.txt); run XCAT's mode 4 with the same out_frames"
        )
    spacing = np.linalg.norm(affine_ras[:3, :3], axis=0)
    inner = heart[box]
    out = np.zeros((len(frames), *inner.shape, 3), dtype=np.float32)
    known = filled = 0
    for index, number in enumerate(frames[1:], 1):
        moved, listed = read_vectors(files[number], number, heart.shape, box)  # type: ignore[arg-type]
        gaps = inner & (listed == 0)
        if np.all(gaps[inner]):
            raise FileFormatError(f"{files[number].name} has no vector in the heart: it belongs to another run")
        known += int(np.count_nonzero(inner & (listed == _SAMPLED)))
        filled += int(np.count_nonzero(gaps))
        out[index] = filled_gaps(moved, gaps, spacing) @ affine_ras[:3, :3].T
    affine = affine_ras.copy()
    affine[:3, 3] += affine_ras[:3, :3] @ np.array([s.start for s in box[::-1]])
    told = max(int(np.count_nonzero(inner)) * (len(frames) - 1), 1)
    cut = np.array([(side.start > 0, side.stop < count) for side, count in zip(box, heart.shape, strict=True)])
    return VectorMotion(out, affine, cut, known / told, filled / told)


def box_around(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float], beyond_mm: float) -> Box:
    """The part of a (slices, rows, columns) grid that holds `mask` and `beyond_mm` more on each side."""
    sides = []
    for axis, step in enumerate(spacing_mm):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        more = int(np.ceil(beyond_mm / step))
        sides.append(slice(max(int(used[0]) - more, 0), min(int(used[-1]) + more + 1, mask.shape[axis])))
    return sides[0], sides[1], sides[2]


def filled_gaps(
    values: NDArray[np.float32], gaps: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Fill (k, j, i, 3) `values` where `gaps` says so, without bumps: there, Laplace's equation holds nearly.

    `spacing_mm` is the distance of columns, rows and slices. Values beside the gaps stay as they are.
    """
    if not gaps.any():
        return values
    out = _from_coarser(values, ~gaps)
    side = 1.0 / np.asarray(spacing_mm, dtype=np.float64)[::-1] ** 2
    kernel = np.zeros((3, 3, 3))
    for axis in range(3):
        for end in (0, 2):
            at = [1, 1, 1]
            at[axis] = end
            kernel[tuple(at)] = side[axis]
    kernel /= kernel.sum()
    for part in range(3):
        one = out[..., part]
        for _ in range(_SWEEPS):
            one[gaps] = ndimage.correlate(one, kernel, mode="nearest")[gaps]
    return out


def _from_coarser(values: NDArray[np.float32], told: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Where nothing is told, the value of the next coarser grid on which something is."""
    if told.all():
        return values.copy()
    if not told.any() or max(told.shape) == 1:
        return np.zeros_like(values)
    pad = [(0, n % 2) for n in told.shape]
    weight = np.pad(told.astype(np.float32), pad)
    sums = np.pad(values * told[..., None], [*pad, (0, 0)])
    k, j, i = (n // 2 for n in weight.shape)
    count = weight.reshape(k, 2, j, 2, i, 2).sum(axis=(1, 3, 5))
    mean = sums.reshape(k, 2, j, 2, i, 2, 3).sum(axis=(1, 3, 5)) / np.maximum(count, 1.0)[..., None]
    coarse = _from_coarser(mean.astype(np.float32), count > 0)
    at = (np.array(np.nonzero(~told)) - 0.5) / 2.0
    out = values.copy()
    for part in range(3):
        out[~told, part] = ndimage.map_coordinates(coarse[..., part], at, order=1, mode="nearest")
    return out
