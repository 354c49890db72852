"""Harmonic phase (HARP) tracking: motion from the tags themselves, blind to how they were made.

Each set of tag lines is a peak in the spectrum of a tagged image. A band-pass around it gives a complex image whose
phase sticks to the tissue (Osman, Magn Reson Med 1999;42:1048). Two sets of lines give two phases, and a material point
is found in each frame where both are what they were in the first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.aha import VentricleAxes
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.strain.series import SegmentedStrain, StrainSeries, mean_times
from CMRSimExtension.strain.tensor import masked_gradient, plane_of, strain_from_track_gradient
from CMRSimExtension.tagging.registration import warp

BANDWIDTH = 0.5
"""Radius of the band-pass over the tag frequency: half way to the neighbouring peaks at 0 and the other harmonics."""
FADED = 0.12
"""Tags are called faded when the harmonic's share of the signal has fallen to this part of the first frame's."""
NEWTON_STEPS = 8
_LARGEST_STEP_PX = 0.7


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
        record = cine.sidecar.get("tagging", {})
        acquisition = record.get("acquisition")
        if acquisition is None:
            raise InputError("the sidecar tells of no moving tags; HARP needs a tagged cine, or its tag frequencies")
        directions = np.asarray(acquisition["directions_ras"], dtype=np.float64)
        if len(directions) != 2:
            raise InputError("HARP needs two sets of tag lines to follow a point; tag with pattern grid")
        # The magnitude of a CSPAMM image shows two lines per spacing.
        waves = directions / acquisition["spacing_mm"] * (2.0 if acquisition["cspamm"] else 1.0)
        return cls(waves @ cine.grid.affine_ras[:3, [1, 0]])


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
        No labels, no tags, or tags in one direction only.
    """
    first = labels if labels is not None else None if cine.labels is None else cine.labels[0]
    if first is None or not np.any(np.asarray(first) == 2):
        raise InputError("HARP needs the LV myocardium (label 2) at end diastole; give labels")
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
    moved = np.zeros((2, *image.shape), np.float32)
    first = _harmonics(image[0], frequencies)
    reference = np.stack([np.angle(h) for h in first])
    strength = np.zeros(frames)
    strength[0] = _strength(first, image[0], wall, moved[:, 0])
    for frame in range(1, frames):
        harmonic = _harmonics(image[frame], frequencies)
        field = _newton(harmonic, reference, moved[:, frame - 1].copy(), wall)
        # A point that jumped to the next line stands out among its neighbours; it starts again from where they are.
        middle = _neighbours_median(field, wall)
        odd = wall & (np.hypot(*(field - middle)) > 1.5)
        if odd.any():
            field[:, odd] = middle[:, odd]
            field = np.where(odd, _newton(harmonic, reference, field, wall), field)
        moved[:, frame] = np.where(wall, field, 0)
        strength[frame] = _strength(harmonic, image[frame], wall, moved[:, frame])
    return moved, strength >= FADED * strength[0]


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
    field: NDArray[np.float32],
    wall: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Field at which both phases equal the reference's, from a start within half a spacing of it."""
    sources = []
    for h in harmonics:
        gy, gx = np.gradient(h, axis=(-2, -1))
        sources += [h.real, h.imag, gy.real, gy.imag, gx.real, gx.imag]
    stacked = np.ascontiguousarray(np.stack(sources), dtype=np.float32)
    for _ in range(NEWTON_STEPS):
        sampled = warp(stacked, field)
        residual, slopes = [], []
        for n in range(2):
            re, im, yr, yi, xr, xi = sampled[6 * n : 6 * n + 6]
            power = np.maximum(re * re + im * im, 1e-12)
            difference = np.arctan2(im, re) - reference[n]
            residual.append(np.angle(np.exp(1j * difference)).astype(np.float32))
            slopes.append(((re * yi - im * yr) / power, (re * xi - im * xr) / power))
        (ay, ax), (by, bx) = slopes
        determinant = ay * bx - ax * by
        safe = np.where(np.abs(determinant) < 1e-4, np.inf, determinant)
        step = np.stack([(bx * residual[0] - ax * residual[1]) / safe, (ay * residual[1] - by * residual[0]) / safe])
        length = np.maximum(np.hypot(step[0], step[1]), 1e-9)
        step *= np.minimum(1.0, _LARGEST_STEP_PX / length)
        field = field - np.where(wall, step, 0).astype(np.float32)
    return field


def _neighbours_median(field: NDArray[np.float32], wall: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Median of the field over the 5 x 5 neighbours within the wall."""
    result = field.copy()
    values = np.where(wall, field, np.nan)
    padded = np.pad(values, [(0, 0), (0, 0), (2, 2), (2, 2)], constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(-2, -1))
    result[:, wall] = np.nanmedian(windows[:, wall].reshape(2, -1, 25), axis=-1)
    return result


def _strength(
    harmonics: list[NDArray[np.complex64]],
    image: NDArray[np.float32],
    wall: NDArray[np.bool_],
    field: NDArray[np.float32],
) -> float:
    """Mean harmonic magnitude within the (moved) wall over its mean signal."""
    both = np.stack([np.abs(h) for h in harmonics] + [image]).astype(np.float32)
    sampled = warp(both, field)[:, wall]
    return float(sampled[:2].mean() / max(sampled[2].mean(), 1e-9))


def _in_mm(moved_px: NDArray[np.float32], grid: ImageGrid) -> NDArray[np.float64]:
    return np.asarray(np.moveaxis(moved_px, 0, -1) @ grid.affine_ras[:3, [1, 0]].T)
