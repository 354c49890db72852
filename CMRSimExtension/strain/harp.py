"""Harmonic phase (HARP) tracking: motion from the tags themselves, blind to how they were made.

Each set of tag lines is a peak in the spectrum of a tagged image. A band-pass around it gives a complex image whose
phase sticks to the tissue (Osman, Magn Reson Med 1999;42:1048). Two sets of lines give two phases, and a material point
is found in each frame where both are what they were in the first.

Points are followed within their slice. The base moves through its slice by about its thickness, so the basal segments,
of whose tissue another slice tells by then, come out too small; the others do not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.aha import VentricleAxes
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.strain.series import SegmentedStrain, StrainSeries, mean_times
from CMRSimExtension.strain.tensor import masked_gradient, plane_of, strain_from_track_gradient

BANDWIDTH = 0.5
"""Radius of the band-pass over the tag frequency: half way to the neighbouring peaks at 0 and the other harmonics."""
FADED = 2.0**0.5
"""Tags are called faded when their bands are less than so much stronger than equal bands between them: there, noise and
anatomy are as strong as the tags, as uncorrelated parts add by their squares."""
MIN_FRAMES = 8
"""Points are followed from frame to frame; with fewer frames in a heartbeat they move past half a tag spacing between
two of them, and the next line is taken for the same."""
NEWTON_STEPS = 8
_LARGEST_STEP_PX = 0.7
_ODD_PX = 1.5


def tag_acquisition(cine: Cine) -> dict[str, Any] | None:
    """What a cine's sidecar tells of how its tags were laid; None where they do not move, or where there are none."""
    record = cine.sidecar.get("tagging")
    return record.get("acquisition") if isinstance(record, dict) else None


@dataclass(frozen=True)
class TagFrequencies:
    """Where the harmonic peaks lie: (2, 2) cycles per pixel along (rows, columns), one row per set of lines."""

    cycles_per_px: NDArray[np.float64]

    @classmethod
    def from_sidecar(cls, cine: Cine) -> "TagFrequencies":
        """As the sidecar of a tagged cine tells.

        Raises
        ------
        InputError
            The sidecar tells of no tags, or of lines in one direction only.
        """
        acquisition = tag_acquisition(cine)
        if acquisition is None:
            raise InputError("the sidecar tells of no moving tags; HARP needs a tagged cine, or its tag frequencies")
        try:
            directions = np.asarray(acquisition["directions_ras"], dtype=np.float64).reshape(-1, 3)
            # The magnitude of a CSPAMM image shows two lines per spacing.
            waves = directions / float(acquisition["spacing_mm"]) * (2.0 if acquisition["cspamm"] else 1.0)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise InputError(f"the sidecar's record of the tags is damaged ({error}); copy it or tag again") from error
        if len(directions) != 2:
            raise InputError("HARP needs two sets of tag lines to follow a point; tag with pattern grid")
        return cls(waves @ cine.grid.affine_ras[:3, [1, 0]])

    def between(self) -> "TagFrequencies":
        """As far from the centre of k-space as the tags, half way round from each set of lines to the other's."""
        one, other = self.cycles_per_px
        middles = np.stack([one + other, one - other])
        return TagFrequencies(middles * (np.hypot(*one) / np.hypot(*middles.T))[:, None])


def harp_strain(
    cine: Cine,
    *,
    frequencies: TagFrequencies | None = None,
    labels: NDArray[np.integer] | None = None,
    septum_ras: NDArray[np.floating] | None = None,
) -> StrainSeries:
    """Strain of a tagged cine from its harmonic phases.

    Parameters
    ----------
    cine
        Tagged with a grid.
    frequencies
        Where the peaks lie; None reads the sidecar.
    labels
        (slices, rows, columns) at end diastole, in place of the cine's: which points are followed.
    septum_ras
        Where no RV is labelled: the direction of the septum.

    Returns
    -------
    StrainSeries
        Radial and circumferential strain within the plane; frames whose tags have faded are not `reliable`.

    Raises
    ------
    InputError
        No labels, no tags, tags in one direction only, or fewer than `MIN_FRAMES` frames.
    """
    first = labels if labels is not None else None if cine.labels is None else cine.labels[0]
    if first is None or not np.any(np.asarray(first) == 2):
        raise InputError("HARP needs the LV myocardium (label 2) at end diastole; give labels")
    if len(cine.image) < MIN_FRAMES:
        raise InputError(
            f"the tagged series has {len(cine.image)} frames; HARP follows points from frame to frame and needs "
            f"{MIN_FRAMES} or more in a heartbeat: use strain by registration"
        )
    wall = np.asarray(first) == 2
    frequencies = frequencies or TagFrequencies.from_sidecar(cine)
    moved, reliable = harp_track(cine.image, wall, frequencies)
    axes = VentricleAxes.from_labels(np.asarray(first), cine.grid, septum_ras)
    plane, rest = plane_of(cine.grid), cine.grid.points_mm()[wall]
    collected = SegmentedStrain(axes, len(cine.image), in_plane=True)
    for frame in range(len(cine.image)):
        displacement = _in_mm(moved[:, frame], cine.grid)
        gradient = masked_gradient(displacement, wall, cine.grid, reach_px=2, through=False)
        collected.add(frame, rest, strain_from_track_gradient(gradient, plane))
    return collected.series(mean_times(cine), "harp", reliable)


def harp_track(
    image: NDArray[np.floating], wall: NDArray[np.bool_], frequencies: TagFrequencies
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Follow the pixels of a wall through a tagged series.

    Parameters
    ----------
    image
        (frames, slices, rows, columns).
    wall
        (slices, rows, columns) at frame 0.
    frequencies
        Of the two sets of lines.

    Returns
    -------
    moved
        (2, frames, slices, rows, columns) pixels (rows, columns) from where each pixel of the wall was in frame 0 to
        where it is; 0 outside the wall.
    reliable
        (frames,) whether tags are still there.
    """
    image = np.asarray(image, dtype=np.float32)
    frames = len(image)
    start = np.argwhere(wall).T.astype(np.float64)
    first = _harmonics(image[0], frequencies)
    reference = np.stack([np.angle(_sampled(h, start)) for h in first])
    tracks = np.zeros((2, frames, start.shape[1]))
    between = frequencies.between()
    reliable = np.ones(frames, dtype=bool)
    for frame in range(1, frames):
        harmonics = _harmonics(image[frame], frequencies)
        found = _newton(harmonics, reference, start, tracks[:, frame - 1])
        # A point that jumped to the next line stands out among its neighbours; it starts again from where they are.
        middle = _neighbours_median(found, wall)
        odd = np.hypot(*(found - middle)) > _ODD_PX
        if odd.any():
            again = _newton(harmonics, reference, start, np.where(odd, middle, found))
            found = np.where(odd, again, found)
        tracks[:, frame] = found
        place = _at(start, found)
        reliable[frame] = _strength(harmonics, place) > FADED * _strength(_harmonics(image[frame], between), place)
    moved = np.zeros((2, *image.shape), np.float32)
    moved[:, :, wall] = tracks
    # Points are followed from frame to frame, so nothing that comes after the first faded frame can be trusted.
    return moved, np.logical_and.accumulate(reliable)


def _harmonics(image: NDArray[np.float32], frequencies: TagFrequencies) -> list[NDArray[np.complex64]]:
    """Complex images (slices, rows, columns) of the two peaks."""
    rows, columns = image.shape[-2:]
    # Padding by reflection keeps the far side of the body from leaking in across the border.
    pad = 24
    padded = np.pad(image, [(0, 0), (pad, pad), (pad, pad)], mode="reflect" if min(rows, columns) > pad else "edge")
    spectrum = np.fft.fft2(padded, axes=(-2, -1))
    fy = np.fft.fftfreq(padded.shape[-2])[:, None]
    fx = np.fft.fftfreq(padded.shape[-1])[None, :]
    result = []
    for wave in frequencies.cycles_per_px:
        radius = BANDWIDTH * float(np.hypot(*wave))
        distance = np.hypot(fy - wave[0], fx - wave[1]) / radius
        # Flat to three quarters of the radius, then a smooth shoulder: no ringing.
        shoulder = np.clip((distance - 0.75) / 0.5, 0.0, 1.0)
        window = 0.5 + 0.5 * np.cos(np.pi * shoulder)
        band = np.fft.ifft2(spectrum * window, axes=(-2, -1))[..., pad:-pad, pad:-pad]
        result.append(band.astype(np.complex64))
    return result


def _newton(
    harmonics: list[NDArray[np.complex64]],
    reference: NDArray[np.floating],
    start: NDArray[np.float64],
    moved: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(2, n) way of the points from `start` (3, n) to where both phases are the reference's (2, n).

    The way so far, `moved`, must lie within half a tag spacing of the answer.
    """
    slopes = [[np.asarray(g) for g in np.gradient(h, axis=(-2, -1))] for h in harmonics]
    for _ in range(NEWTON_STEPS):
        place = _at(start, moved)
        residual, rows = [], []
        for n, harmonic in enumerate(harmonics):
            value = _sampled(harmonic, place)
            power = np.maximum(np.abs(value) ** 2, 1e-12)
            residual.append(np.angle(value * np.exp(-1j * reference[n])))
            # The gradient of a phase without unwrapping it: Im(conj(h) grad h) / |h|^2.
            rows.append([np.imag(np.conj(value) * _sampled(slope, place)) / power for slope in slopes[n]])
        (ay, ax), (by, bx) = rows
        determinant = ay * bx - ax * by
        safe = np.where(np.abs(determinant) < 1e-4, np.inf, determinant)
        step = np.stack([(bx * residual[0] - ax * residual[1]) / safe, (ay * residual[1] - by * residual[0]) / safe])
        step *= np.minimum(1.0, _LARGEST_STEP_PX / np.maximum(np.hypot(*step), 1e-9))
        moved = moved - step
    return moved


def _at(start: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([start[0], start[1] + moved[0], start[2] + moved[1]])


def _sampled(values: NDArray[Any], place: NDArray[np.float64]) -> NDArray[Any]:
    """Bilinear samples of (slices, rows, columns) at (3, n) points that lie on slices."""
    rows, columns = values.shape[1:]
    k = place[0].astype(np.intp)
    y, x = np.clip(place[1], 0, rows - 1.001), np.clip(place[2], 0, columns - 1.001)
    j, i = y.astype(np.intp), x.astype(np.intp)
    y, x = y - j, x - i
    upper = values[k, j, i] * (1 - x) + values[k, j, i + 1] * x
    lower = values[k, j + 1, i] * (1 - x) + values[k, j + 1, i + 1] * x
    return np.asarray(upper * (1 - y) + lower * y)


def _neighbours_median(moved: NDArray[np.float64], wall: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(2, n) median of the ways over the 5 x 5 neighbours within the wall."""
    field = np.full((2, *wall.shape), np.nan)
    field[:, wall] = moved
    padded = np.pad(field, [(0, 0), (0, 0), (2, 2), (2, 2)], constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(-2, -1))
    return np.asarray(np.nanmedian(windows[:, wall].reshape(2, -1, 25), axis=-1))


def _strength(harmonics: list[NDArray[np.complex64]], place: NDArray[np.float64]) -> float:
    """Mean magnitude of complex images at the points."""
    return float(np.mean([np.abs(_sampled(harmonic, place)).mean() for harmonic in harmonics]))


def _in_mm(moved_px: NDArray[np.float32], grid: ImageGrid) -> NDArray[np.float64]:
    return np.asarray(np.moveaxis(moved_px, 0, -1) @ grid.affine_ras[:3, [1, 0]].T)
