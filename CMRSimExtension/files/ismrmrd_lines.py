"""Which acquisitions of an ISMRMRD file are what: lines of the images, reference lines, noise, and what makes no image.

Files from elsewhere hold more kinds of readouts than ours, and in another order; each is known by its flags.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError

_NO_IMAGE = (
    "ACQ_IS_NAVIGATION_DATA", "ACQ_IS_PHASECORR_DATA", "ACQ_IS_HPFEEDBACK_DATA", "ACQ_IS_DUMMYSCAN_DATA",
    "ACQ_IS_RTFEEDBACK_DATA", "ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA", "ACQ_IS_PHASE_STABILIZATION",
    "ACQ_IS_PHASE_STABILIZATION_REFERENCE",
)  # fmt: skip
"""Readouts that serve something else than the image: navigators, feedback, dummies."""
_COMPRESSED = ("ACQ_COMPRESSION1", "ACQ_COMPRESSION2", "ACQ_COMPRESSION3", "ACQ_COMPRESSION4")
_LARGEST = 2**31
"""Most pixels of a cine; what claims more is damaged."""
_ONE_PLACE_MM = 1.0
"""Lines of one slice and phase further apart than this are not averaged: they are of several slices."""
_OWN_TOOLS = "reconstruct it with its own tools first"


@dataclass(frozen=True)
class Grid:
    """Where lines and samples of Cartesian 2D k-space lie.

    Attributes
    ----------
    rows, columns
        Of the image, rows along the phase direction.
    whole
        (rows, columns) of the encoded field of view at the image's pixel size, in whole pixels, the image in its
        middle: larger where k-space is oversampled.
    first, last, centre
        Of the phase-encoding lines: those that are meant to be acquired, and the one in the middle of k-space.
    acceleration
        Every how many-th line is acquired.
    """

    rows: int
    columns: int
    whole: tuple[int, int]
    first: int
    last: int
    centre: int
    acceleration: int


@dataclass(frozen=True)
class Lines:
    """The acquisitions of a file by kind.

    Attributes
    ----------
    head
        (acquisitions,) headers of all of them.
    image, reference, noise
        Indices of those that belong to the images, of those from which sensitivities follow (some are both), and of
        noise. Sets of lines that are interleaved over time are their own reference.
    frame
        (acquisitions,) which frame each belongs to: its phase, or its repetition where there is one phase.
    frames, slices, coils
        How many of the images' lines.
    grid
        Where they lie in k-space.
    shift
        (frames, slices) by how many lines those of an image miss the evenly spaced set that goes through the centre of
        k-space; others in every frame where sets are interleaved over time.
    """

    head: NDArray[Any]
    image: NDArray[np.intp]
    reference: NDArray[np.intp]
    noise: NDArray[np.intp]
    frame: NDArray[np.int64]
    frames: int
    slices: int
    coils: int
    grid: Grid
    shift: NDArray[np.int64]

    @cached_property
    def row(self) -> NDArray[np.int64]:
        """(acquisitions,) row of `Grid.whole` of each line."""
        step = self.head["idx"]["kspace_encode_step_1"].astype(np.int64)
        return self.grid.whole[0] // 2 + step - self.grid.centre

    @cached_property
    def image_row(self) -> NDArray[np.int64]:
        """(acquisitions,) `row` of the images' lines, shifted onto the set through the centre of k-space; else -1."""
        row = np.full(len(self.head), -1)
        place = self.frame[self.image], self.head["idx"]["slice"][self.image]
        row[self.image] = self.row[self.image] - self.shift[place]
        return row

    @cached_property
    def reverse(self) -> NDArray[np.bool_]:
        """(acquisitions,) whether the readout ran backwards."""
        return np.asarray(has(self.head["flags"], "ACQ_IS_REVERSE"))

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """(acquisitions,) column of `Grid.whole` of the first sample that is kept, of the readout turned forwards."""
        names = ("number_of_samples", "center_sample", "discard_pre", "discard_post")
        count, centre, before, after = (self.head[name].astype(np.int64) for name in names)
        centre = np.where(self.reverse, count - 1 - centre, centre)
        return np.asarray(self.grid.whole[1] // 2 - centre + np.where(self.reverse, after, before))

    @cached_property
    def kept(self) -> NDArray[np.int64]:
        """(acquisitions,) how many samples of each are kept."""
        count, before, after = (
            self.head[n].astype(np.int64) for n in ("number_of_samples", "discard_pre", "discard_post"))
        return np.maximum(count - before - after, 0)

    def samples_of(self, index: int, data: NDArray[np.float32]) -> NDArray[np.complex64]:
        """(coils, samples) of an acquisition, forwards, without those to be discarded."""
        head = self.head[index]
        samples = data.view(np.complex64).reshape(int(head["active_channels"]), int(head["number_of_samples"]))
        before = int(head["discard_pre"])
        samples = samples[:, before:before + int(self.kept[index])]
        return samples[:, ::-1] if self.reverse[index] else samples


def has(flags: Any, *names: str) -> Any:
    """Whether one of the flags of these names is set."""
    from ismrmrd import constants

    bits = sum(1 << (getattr(constants, name) - 1) for name in names)
    return (flags & np.uint64(bits)) != 0


def lines_of(name: str, head: NDArray[Any], header: Any) -> Lines:
    """Sort the acquisitions of a file and check that their images can be made.

    Parameters
    ----------
    name
        The file's, for messages.
    head
        (acquisitions,) their headers.
    header
        The file's XML header.

    Raises
    ------
    FileFormatError
        There are no lines of images; or what they hold is not one Cartesian 2D cine: 3D or another trajectory, several
        contrasts, sets or encodings, phases and repetitions at once, compressed readouts, lines missing, or readouts
        in both directions that were not corrected for.
    """
    flags, idx = head["flags"], head["idx"]
    noise = has(flags, "ACQ_IS_NOISE_MEASUREMENT")
    useful = ~noise & ~has(flags, *_NO_IMAGE)
    both = has(flags, "ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING")
    reference = useful & (both | has(flags, "ACQ_IS_PARALLEL_CALIBRATION"))
    image = useful & (both | ~reference)
    if not image.any():
        raise FileFormatError(f"{name} holds no lines of images among its {len(head)} acquisitions; export it again")
    if has(flags[image | reference | noise], *_COMPRESSED).any():
        raise FileFormatError(f"{name} holds compressed readouts; decompress it with the tool that compressed it")
    if has(flags[image], "ACQ_IS_REVERSE").any() and has(flags, "ACQ_IS_PHASECORR_DATA").any():
        raise FileFormatError(
            f"{name} was read out in both directions and has navigators to correct their phases (echo-planar imaging); "
            f"{_OWN_TOOLS}")
    _refuse_mixtures(name, head[image], len(header.encoding))
    space, coils = (int(head[field][image][0]) for field in ("encoding_space_ref", "active_channels"))
    reference &= (head["encoding_space_ref"] == space) & (head["active_channels"] == coils)
    phases, repetitions = (int(idx[field][image].max()) + 1 for field in ("phase", "repetition"))
    frame = (idx["phase"] if repetitions == 1 else idx["repetition"]).astype(np.int64)
    frames, slices = max(phases, repetitions), int(idx["slice"][image].max()) + 1
    grid = _grid_of(name, header.encoding[space], idx["kspace_encode_step_1"][image])
    if frames * slices * grid.whole[0] * grid.whole[1] > _LARGEST:
        raise FileFormatError(
            f"{name} claims {frames} frames of {slices} slices of {grid.rows} x {grid.columns}; it is damaged, export "
            "it again")
    if frames * slices > int(image.sum()):
        raise FileFormatError(f"{name} has {int(image.sum())} lines for {frames} frames of {slices} slices; it is "
                              "damaged, export it again")
    lines = Lines(
        head, np.flatnonzero(image), np.flatnonzero(reference), np.flatnonzero(noise), frame, frames, slices,
        coils, grid, np.zeros((frames, slices), np.int64))
    lines = _checked_lattice(name, lines)
    _check_places(name, lines)
    return lines


def _refuse_mixtures(name: str, head: NDArray[Any], encodings: int) -> None:
    """Turn down lines of more than one image for each slice and phase."""
    idx = head["idx"]
    for field, what in (("contrast", "contrasts"), ("set", "sets"), ("kspace_encode_step_2", "partitions")):
        count = len(np.unique(idx[field]))
        if count > 1:
            raise FileFormatError(
                f"{name} holds {count} {what}; split it, or {_OWN_TOOLS}: this reads one image for each slice and "
                "phase")
    spaces, coils = (np.unique(head[field]) for field in ("encoding_space_ref", "active_channels"))
    if len(spaces) > 1 or len(coils) > 1 or spaces[0] >= encodings:
        raise FileFormatError(
            f"{name} holds images of {len(spaces)} encodings and {len(coils)} numbers of channels, its header "
            f"describes {encodings} encodings; this reads one: split it, or {_OWN_TOOLS}")
    phases, repetitions = (int(idx[field].max()) + 1 for field in ("phase", "repetition"))
    if phases > 1 and repetitions > 1:
        raise FileFormatError(
            f"{name} holds {repetitions} repetitions of {phases} phases; split it, or {_OWN_TOOLS}: this reads one "
            "cine")


def _grid_of(name: str, encoding: Any, steps: NDArray[Any]) -> Grid:
    """Image and k-space as the header describes them; `steps` are the indices of the images' lines."""
    encoded, image = encoding.encodedSpace, encoding.reconSpace
    if encoding.trajectory.value != "cartesian" or encoded.matrixSize.z > 1:
        raise FileFormatError(
            f"{name} holds {encoding.trajectory.value} or 3D k-space; {_OWN_TOOLS}, this reads Cartesian 2D cines")
    rows, columns = int(image.matrixSize.y), int(image.matrixSize.x)
    whole = []
    for axis, count in (("y", rows), ("x", columns)):
        fov, encoded_fov = (float(getattr(space.fieldOfView_mm, axis)) for space in (image, encoded))
        if count < 1 or not (fov > 0 and encoded_fov > 0) or not np.isfinite(fov * encoded_fov):
            raise FileFormatError(
                f"{name} has images of {rows} x {columns} over {fov:g} mm along {axis}; its header is damaged, export "
                "it again")
        pixels = count * encoded_fov / fov
        if pixels < count - 0.5 or pixels > 64 * count:
            raise FileFormatError(
                f"{name} encodes {encoded_fov:g} mm along {axis} for images of {fov:g} mm; {_OWN_TOOLS}")
        whole.append(round(pixels))
    limits = None if encoding.encodingLimits is None else encoding.encodingLimits.kspace_encoding_step_1
    low, high = (0, int(steps.max())) if limits is None else (int(limits.minimum), int(limits.maximum))
    centre = int(encoded.matrixSize.y) // 2 if limits is None else int(limits.center)
    parallel = encoding.parallelImaging
    factor = 1 if parallel is None else int(parallel.accelerationFactor.kspace_encoding_step_1)
    return Grid(rows, columns, (whole[0], whole[1]), low, high, centre, max(1, factor))


def _checked_lattice(name: str, lines: Lines) -> Lines:
    """`lines` with the acceleration that they really have, and their shifts; every one of them must be there."""
    grid, idx, image = lines.grid, lines.head["idx"], lines.image
    step = idx["kspace_encode_step_1"][image].astype(np.int64)
    if grid.last < grid.first or grid.last - grid.first >= grid.whole[0] or (
        step.min() < grid.first or step.max() > grid.last
    ):
        raise FileFormatError(
            f"{name} has k-space lines {step.min()} to {step.max()} where its header says {grid.first} to {grid.last}, "
            f"for {grid.whole[0]} rows of its field of view; it is damaged, or {_OWN_TOOLS}")
    filled = np.zeros((lines.frames, lines.slices, grid.last - grid.first + 1), dtype=bool)
    place = lines.frame[image], idx["slice"][image]
    filled[(*place, step - grid.first)] = True
    if filled.all():
        return replace(lines, grid=replace(grid, acceleration=1))
    # Each image has one of the interleaved sets of lines: that of which the fewest are missing.
    factor = min(grid.acceleration, len(filled[0, 0]))
    sets = (np.arange(grid.first, grid.last + 1) - grid.centre) % factor
    lacking = np.stack([(~filled[..., sets == offset]).sum(axis=-1) for offset in range(factor)])
    if lacking.min(axis=0).any():
        needed = np.bincount(sets, minlength=factor)[lacking.argmin(axis=0)].sum()
        raise FileFormatError(
            f"{name} lacks {lacking.min(axis=0).sum()} of {needed} k-space lines; reconstruct it with a method that "
            "fills them")
    offset = lacking.argmin(axis=0)
    # Lines in between, which serve both, are reference alone; the rest would unfold wrongly with them.
    on_lattice = (step - grid.centre) % factor == offset[place]
    # Either way onto the set through the centre will do, as long as the lines stay in k-space.
    lowest = [sets.tolist().index(o) + grid.first - grid.centre + grid.whole[0] // 2 for o in range(factor)]
    shift = np.where(np.array(lowest)[offset] >= offset, offset, offset - factor)
    interleaved = all(len(np.unique(offset[:, s])) == factor for s in range(lines.slices))
    reference = image[on_lattice] if interleaved and len(lines.reference) == 0 else lines.reference
    return replace(
        lines, image=image[on_lattice], reference=reference, grid=replace(grid, acceleration=factor), shift=shift)


def _check_places(name: str, lines: Lines) -> None:
    """The lines of an image must be of one place, and every readout within the k-space of the field of view."""
    of_slice = lines.head["idx"]["slice"][lines.image].astype(np.int64)
    image = lines.frame[lines.image] * lines.slices + of_slice
    order = np.argsort(image, kind="stable")
    positions, starts = lines.head["position"][lines.image][order], np.flatnonzero(np.diff(image[order], prepend=-1))
    apart = np.maximum.reduceat(positions, starts) - np.minimum.reduceat(positions, starts)
    far = np.flatnonzero((apart > _ONE_PLACE_MM).any(axis=1))
    if len(far):
        raise FileFormatError(
            f"{name} has lines of slice {of_slice[order][starts[far[0]]]} and one phase at positions "
            f"{apart[far[0]].max():.1f} mm apart, as of several slices without numbers; number them, or {_OWN_TOOLS}")
    rows, columns = lines.grid.whole
    used = np.concatenate([lines.image, lines.reference])
    start, kept = lines.start[used], lines.kept[used]
    wrong = (kept < 1) | (start < 0) | (start + kept > columns)
    if wrong.any():
        first = int(used[np.argmax(wrong)])
        raise FileFormatError(
            f"{name} has a readout of {lines.kept[first]} samples around its sample "
            f"{lines.head['center_sample'][first]} for {columns} columns of its field of view; it is damaged, or "
            f"{_OWN_TOOLS}")
    row = np.concatenate([lines.image_row[lines.image], lines.row[lines.reference]])
    if row.min() < 0 or row.max() >= rows:
        raise FileFormatError(
            f"{name} has k-space lines {row.min() - rows // 2} to {row.max() - rows // 2} from its centre for {rows} "
            f"rows of its field of view; it is damaged, or {_OWN_TOOLS}")
