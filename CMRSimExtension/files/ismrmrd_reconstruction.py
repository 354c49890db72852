"""Images from the k-space of an ISMRMRD file alone: prewhitened with its noise, unfolded with its reference lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.ismrmrd_lines import Grid, Lines, lines_of
from CMRSimExtension.scanner.multichannel import root_sum_of_squares
from CMRSimExtension.scanner.prescan import estimated_sensitivities
from CMRSimExtension.scanner.sense import SenseUnfolding

_AT_ONCE = 1024
"""Acquisitions that are read at a time."""
_PER_CHANNEL = 10
"""Samples of noise that each channel needs at least, for a covariance of its own."""


def reconstruct(name: str, group: Any, header: Any) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Images of a Cartesian 2D cine.

    Channels are prewhitened where the file has noise, weighted so that the mean power of their noise stays. Where it
    has reference lines, of a scan of their own, embedded, or all frames' together where these skip lines in turn,
    sensitivities are estimated from them and the channels are combined by SENSE, unfolded where lines were skipped;
    elsewhere by the root sum of squares. Lines measured several times are averaged; those that partial Fourier leaves
    out are zero. Navigators, feedback and dummies are passed by. The k-space of one slice is held at a time.

    Parameters
    ----------
    name
        The file's, for messages.
    group
        HDF5 group with the acquisitions ``data``.
    header
        The file's XML header.

    Returns
    -------
    images, heads
        (frames, slices, rows, columns) float32, rows along the phase direction, and (slices,) a header of each slice.

    Raises
    ------
    FileFormatError
        As `CMRSimExtension.files.ismrmrd_lines.lines_of`; skipped lines without reference lines, or with some that
        cannot be used; noise of other channels, or too little of it; values that are not finite.
    """
    table = group["data"]
    lines = lines_of(name, table.fields("head")[:], header)
    whiten = _whitening(name, table, lines)
    rows, columns = lines.grid.rows, lines.grid.columns
    image = np.zeros((lines.frames, lines.slices, rows, columns), np.float32)
    place = lines.head["idx"]["slice"]
    with_reference = _slices_with_reference(name, lines)
    for s in range(lines.slices):
        here = lines.image[place[lines.image] == s]
        unfolding = None
        if with_reference:
            unfolding = _unfolding(name, table, lines, lines.reference[place[lines.reference] == s], whiten)
        top = lines.grid.whole[0] // 2 - rows // 2
        block = _kspace(table, lines, here, lines.image_row, whiten)
        for frame in range(lines.frames):
            channels = block.channels(frame, lines.grid)
            if unfolding is None:
                combined = root_sum_of_squares(channels)
            else:
                combined = np.abs(unfolding.unfold(channels * lines.grid.acceleration))
            image[frame, s] = combined[top:top + rows]
    if not np.isfinite(image).all():
        raise FileFormatError(f"{name} has k-space that holds NaN, infinite or too large values; export it again")
    firsts = [lines.head[lines.image[np.argmax(place[lines.image] == s)]] for s in range(lines.slices)]
    return image, np.array(firsts, dtype=lines.head.dtype)


def _readouts(table: Any, indices: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Index and samples of acquisitions in ascending order, read in pieces of the table that hold some of them."""
    data = table.fields("data")
    for piece in np.unique(indices // _AT_ONCE):
        inside = indices[indices // _AT_ONCE == piece]
        first, last = int(inside[0]), int(inside[-1])
        read = data[first:last + 1]
        for index in inside:
            yield int(index), read[int(index) - first]


@dataclass
class _Block:
    """What was acquired of one slice's k-space: (frames, coils, rows, columns), from `top` and `left` of the whole."""

    samples: NDArray[np.complex64]
    top: int
    left: int

    def channels(self, frame: int, grid: Grid) -> NDArray[np.complex64]:
        """(coils, whole rows, columns) images of a frame; what is oversampled along the readout is cut off."""
        coils, rows, columns = self.samples.shape[1:]
        whole = np.zeros((coils, rows, grid.whole[1]), np.complex64)
        whole[..., self.left:self.left + columns] = self.samples[frame]
        left = grid.whole[1] // 2 - grid.columns // 2
        along = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(whole, axes=-1), axis=-1, norm="forward"), axes=-1)
        whole = np.zeros((coils, grid.whole[0], grid.columns), np.complex64)
        whole[:, self.top:self.top + rows] = along[..., left:left + grid.columns]
        return np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(whole, axes=-2), axis=-2, norm="forward"), axes=-2)


def _kspace(
    table: Any, lines: Lines, indices: NDArray[np.intp], row: NDArray[np.int64],
    whiten: NDArray[np.complex64] | None, together: bool = False,
) -> _Block:
    """k-space of some lines, each at its `row`; those measured several times are averaged, those of all frames if
    `together`."""
    start, stop = lines.start, lines.start + lines.kept
    top, left = int(row[indices].min()), int(start[indices].min())
    frames = 1 if together else lines.frames
    shape = (int(row[indices].max()) + 1 - top, int(stop[indices].max()) - left)
    samples = np.zeros((frames, lines.coils, *shape), np.complex64)
    count = np.zeros((frames, shape[0]), np.int64)
    for index, data in _readouts(table, indices):
        frame = 0 if together else int(lines.frame[index])
        line = lines.samples_of(index, data)
        place = samples[frame, :, row[index] - top, start[index] - left:stop[index] - left]
        place += line if whiten is None else whiten @ line
        count[frame, row[index] - top] += 1
    for frame, again in zip(*np.nonzero(count > 1)):
        samples[frame, :, again] /= count[frame, again]
    return _Block(samples, top, left)


def _whitening(name: str, table: Any, lines: Lines) -> NDArray[np.complex64] | None:
    """(coils, coils) that makes the noise of the channels white and equal, of the mean power it had; None without."""
    if len(lines.noise) == 0:
        return None
    if np.any(lines.head["active_channels"][lines.noise] != lines.coils):
        raise FileFormatError(
            f"{name} has noise of {lines.head['active_channels'][lines.noise].max()} channels and lines of "
            f"{lines.coils}; leave the noise out, or reconstruct it with its own tools first")
    covariance, count = np.zeros((lines.coils, lines.coils), np.complex128), 0
    for index, data in _readouts(table, lines.noise):
        samples = lines.samples_of(index, data).astype(np.complex128)
        covariance += samples @ np.conj(samples.T)
        count += samples.shape[1]
    power = np.trace(covariance).real / lines.coils
    if count < _PER_CHANNEL * lines.coils or not np.isfinite(power) or not power > 0:
        raise FileFormatError(
            f"{name} has {count} samples of noise for {lines.coils} channels; at least {_PER_CHANNEL * lines.coils} "
            "that are not zero are needed to prewhiten: leave the noise out, or export all of it")
    covariance /= power
    if np.linalg.eigvalsh(covariance)[0] < 1e-9:
        raise FileFormatError(
            f"{name} has a channel without noise of its own; it is broken: leave it out, or reconstruct it with its "
            "own tools first")
    return np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.complex64)


def _slices_with_reference(name: str, lines: Lines) -> bool:
    """Whether every slice has reference lines; an error where lines were skipped and one has none."""
    slices = np.unique(lines.head["idx"]["slice"][lines.reference])
    complete = bool(np.isin(np.arange(lines.slices), slices).all())
    if lines.grid.acceleration > 1 and not complete:
        raise FileFormatError(
            f"{name} skips lines (acceleration {lines.grid.acceleration}) and has reference lines of {len(slices)} of "
            f"its {lines.slices} slices; reconstruct it with its own tools and sensitivities first")
    return complete


def _unfolding(
    name: str, table: Any, lines: Lines, reference: NDArray[np.intp], whiten: NDArray[np.complex64] | None
) -> SenseUnfolding:
    """SENSE with the sensitivities of one slice, estimated from its reference lines."""
    grid = lines.grid
    rows = np.unique(lines.row[reference])
    if len(rows) < 8 or rows[-1] - rows[0] >= len(rows) or not rows[0] <= grid.whole[0] // 2 <= rows[-1]:
        raise FileFormatError(
            f"{name} has {len(rows)} reference lines from {rows[0] - grid.whole[0] // 2} to "
            f"{rows[-1] - grid.whole[0] // 2}; at least 8 without gaps around the centre of k-space are needed: "
            "reconstruct it with its own tools first")
    if grid.whole[0] % grid.acceleration or lines.coils < grid.acceleration:
        raise FileFormatError(
            f"{name} cannot be unfolded {grid.acceleration} times with {grid.whole[0]} rows and {lines.coils} "
            "channels; a multiple of the acceleration and as many channels are needed: reconstruct it with its own "
            "tools first")
    # Not windowed: eigenvectors suffer more from resolution lost than from the ringing of a small block of lines.
    channels = _kspace(table, lines, reference, lines.row, whiten, together=True).channels(0, grid)
    if not channels.any():
        raise FileFormatError(f"{name} has reference lines that are all zero; export it again")
    return SenseUnfolding(estimated_sensitivities(channels), grid.acceleration)
