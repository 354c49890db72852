"""Motion of the heart, estimated from a cine itself.

Every frame is registered to end diastole (frame 0), in the plane of its slice: a stack of 8 to 10 mm slices says
little about motion through them. The estimate is diffeomorphic by construction, smooth in time, and guided by a
segmentation of end diastole, or of all frames, where there is one. One thing about through-plane motion is known even
so: the base moves towards the apex by about a slice, so that the muscle of a basal slice is found in the next one.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.anatomy.stack_order import basal_third, begins_at_apex
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.tagging.guidance import Channels, SegmentedDiastole, grey
from CMRSimExtension.tagging.registration import (
    Field,
    demons,
    halve,
    invert,
    jacobian,
    rescale_field,
    smooth,
    unfold,
    warp,
    warp_labels,
)

MARGIN_MM = 25.0
"""Tissue around the labelled heart that takes part."""
FINEST_MM = 1.2
"""Images with smaller pixels are averaged to pixels of up to twice this for the registration: motion is smooth."""
FLUID_PX, ELASTIC_PX = 1.5, 0.7
GREY_LEVELS = ((4, 60), (2, 60), (1, 20))
GUIDED_LEVELS = ((2, 50), (1, 50))
"""(block size, iterations) of the first, coarse-to-fine registration and of each guided round after it."""
GUIDED_ROUNDS = 2
TEMPORAL_SIGMA_FRAMES = 0.03
"""Smoothing in time, as a share of the cycle: 0.75 of 25 frames."""
DESCENT_MISFIT = 0.97
"""Muscle is looked for in the next slice where it fits there better than so: a draw stays where it is."""
MOVING_SHARE, MOVING_BLUR_MM = 0.35, 8.0
"""Where nothing is labelled, the heart is where the signal changes by this share of its largest change, so smoothed."""
_BLOCK = 8

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class HeartMotion:
    """Estimated motion within a region of the image; outside it nothing moves.

    Attributes
    ----------
    to_frame_px
        (2, frames, slices, height, width) float32, (rows, columns) pixels: tissue at x at end diastole is at
        x + to_frame_px in the frame.
    to_rest_px
        Likewise, the inverse: what is now at y was at y + to_rest_px at end diastole.
    region
        Slices of rows and of columns that the fields cover.
    descent
        (frames, slices) 0, or 1 (-1 where the stack begins at the apex): by how many slices the muscle of each slice of
        end diastole has moved towards the apex. `to_frame_px` leads into that slice; `to_rest_px` stays within its own,
        always.
    shape
        (frames, slices, rows, columns) of the cine.
    """

    to_frame_px: NDArray[np.float32]
    to_rest_px: NDArray[np.float32]
    region: tuple[slice, slice]
    shape: tuple[int, int, int, int]
    descent: NDArray[np.intp]

    def displacement_mm(self, grid: ImageGrid) -> NDArray[np.float32]:
        """(frames, slices, rows, columns, 3) RAS: rest minus present position, as `Cine.displacement_mm`."""
        result = np.zeros((*self.shape, 3), np.float32)
        result[:, :, self.region[0], self.region[1]] = displacement_from_pixels(self.to_rest_px, grid)
        return result

    def lowest_jacobian(self) -> float:
        """Least local area ratio over all frames: above 0, nothing folds."""
        n = self.shape[0] * self.shape[1]
        return float(jacobian(self.to_frame_px.reshape(2, n, *self.to_frame_px.shape[-2:])).min())

    def pull_back(self, images: NDArray[np.float32], frame: int) -> NDArray[np.float32]:
        """(slices, rows, columns) of a frame as they lay at end diastole."""
        here = np.arange(len(images)) + self.descent[frame]
        result = images[here].astype(np.float32)
        inside = (slice(None), *self.region)
        result[inside] = warp(np.ascontiguousarray(result[inside]), self.to_frame_px[:, frame])
        return result

    def push_forward(self, images: NDArray[np.float32], frame: int) -> NDArray[np.float32]:
        """(slices, rows, columns) of end diastole as they lie in a frame."""
        result = images.astype(np.float32, copy=True)
        inside = (slice(None), *self.region)
        result[inside] = warp(np.ascontiguousarray(result[inside]), self.to_rest_px[:, frame])
        return result


def moving_mask(images: NDArray[np.float32], pixel_mm: float) -> NDArray[np.bool_]:
    """(rows, columns): where a cine (frames, slices, rows, columns) changes over the heartbeat, so where its heart is.

    The heart is the largest thing that moves; fluttering vessels and wrapped-in arms are smaller.
    """
    change = smooth(images.std(axis=0).mean(axis=0).astype(np.float32), MOVING_BLUR_MM / pixel_mm)
    if not change.max() > 0:
        return np.zeros(change.shape, bool)
    parts, _ = ndimage.label(change > MOVING_SHARE * change.max())
    return np.asarray(parts == 1 + int(np.argmax(ndimage.sum_labels(change, parts, np.arange(1, parts.max() + 1)))))


def displacement_from_pixels(to_rest_px: NDArray[np.float32], grid: ImageGrid) -> NDArray[np.float32]:
    """Displacement (..., 3) RAS mm of motion within the slices (2, ...), (rows, columns) pixels."""
    axes = grid.affine_ras[:3, [1, 0]].astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(to_rest_px, 0, -1) @ axes.T)


def displacement_in_pixels(displacement_mm: NDArray[np.floating], grid: ImageGrid) -> NDArray[np.float32]:
    """(2, ...) pixels (rows, columns) of a displacement (..., 3) RAS mm: the part of it within the slices."""
    inverse = np.linalg.pinv(grid.affine_ras[:3, [1, 0]]).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(displacement_mm @ inverse.T, -1, 0), dtype=np.float32)


def carry_labels(diastole_labels: NDArray[np.uint8], to_rest_px: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(frames, slices, rows, columns): labels of end diastole as they lie in every frame, carried by `to_rest_px`."""
    return np.stack([warp_labels(diastole_labels, to_rest_px[:, frame]) for frame in range(to_rest_px.shape[1])])


def estimate_motion(
    image: NDArray[np.floating],
    grid: ImageGrid,
    *,
    diastole_labels: NDArray[np.uint8] | None = None,
    frame_labels: NDArray[np.uint8] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> HeartMotion:
    """Register every frame of a cine to its first.

    Parameters
    ----------
    image
        (frames, slices, rows, columns) magnitude.
    grid
        Its geometry.
    diastole_labels
        (slices, rows, columns), 1 LV blood, 2 LV myocardium, 3 RV blood at frame 0: guides all frames.
    frame_labels
        (frames, slices, rows, columns): the labels of every frame guide as well (a frame without any is guided by
        those of end diastole alone). Frame 0 replaces `diastole_labels`.
    workers
        Threads; None takes the processors there are, at most 8. The result does not depend on it.
    progress
        Called with the share done and a line of text; may raise `Cancelled`.

    Raises
    ------
    InputError
        There is one frame only, or shapes differ, or values are not finite.
    """
    image = np.asarray(image, dtype=np.float32)
    labels = _checked_labels(image, grid, diastole_labels, frame_labels)
    frames, slices = image.shape[:2]
    pixel = max(grid.spacing_mm[:2])
    region = _heart_region(image, labels, pixel)
    factor = max(1, int(round(1.5 / pixel))) if pixel < FINEST_MM else 1
    work, window = _padded(image[:, :, region[0], region[1]], factor)
    work_labels = None if labels is None else _padded_labels(labels[:, region[0], region[1]], factor, work.shape[-2:])
    diastole = SegmentedDiastole(work[0], work_labels if work_labels is not None else np.zeros(work[0].shape, np.uint8))
    per_frame: list[NDArray[np.uint8] | None] = [None] * frames
    if frame_labels is not None:
        for frame in range(1, frames):
            if np.any(frame_labels[frame] == 2):
                part = np.asarray(frame_labels[frame])[:, region[0], region[1]]
                per_frame[frame] = _padded_labels(part, factor, work.shape[-2:])

    fields = np.zeros((2, frames, slices, *work.shape[-2:]), np.float32)
    rounds = 1 + (GUIDED_ROUNDS if diastole.guides else 0)
    threads = workers or min(os.cpu_count() or 1, 8)
    done = 0

    def register(job: tuple[int, int]) -> None:
        nonlocal done
        frame, number = job
        fields[:, frame] = _one_round(diastole, work[frame], per_frame[frame], fields[:, frame], number)
        done += 1
        if progress is not None:
            progress(done / (rounds * (frames - 1)), f"motion of frame {frame + 1} of {frames}")

    with ThreadPoolExecutor(threads) as pool:
        for number in range(rounds):
            futures = [pool.submit(register, (frame, number)) for frame in range(1, frames)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                # Cancelled or failed: what waits must not start.
                pool.shutdown(cancel_futures=True)
                raise
            fields = _smooth_in_time(fields)
        finished = list(pool.map(lambda t: _finish(fields[:, t], window, region, factor), range(frames)))
        to_frame = np.stack([f for f, _ in finished], axis=1)
        to_rest = np.stack([r for _, r in finished], axis=1)
        descent = np.zeros((frames, slices), np.intp)
        searching = [t for t in range(1, frames) if per_frame[t] is None]
        basal, step = _free_to_descend(work_labels)
        for frame, found in zip(
            searching,
            pool.map(lambda t: _found_in_next_slice(work, work_labels, basal, step, t, fields[:, t]), searching),
            strict=True,
        ):
            for index, field in found:
                descent[frame, index] = step
                to_frame[:, frame, index : index + 1] = _finish(field, window, region, factor)[0]
    return HeartMotion(to_frame, to_rest, region, (frames, slices, *image.shape[2:]), descent)


def _one_round(
    diastole: SegmentedDiastole,
    moving: NDArray[np.float32],
    labels: NDArray[np.uint8] | None,
    field: Field,
    number: int,
) -> Field:
    """One coarse-to-fine pass; the first on grey values, later ones on guided channels."""
    levels = GREY_LEVELS if number == 0 else GUIDED_LEVELS
    if labels is not None:
        channels = diastole.labelled_channels(moving, labels)
    elif number == 0:
        fixed = diastole.grey[None]
        channels = Channels(fixed, grey(moving)[None], np.ones((1, 1, 1, 1), np.float32))
    else:
        channels = diastole.channels(moving, field)
    for factor, iterations in levels:
        fixed, target = halve(channels.fixed, factor), halve(channels.moving, factor)
        weights = channels.weights if channels.weights.shape[-1] == 1 else halve(channels.weights, factor)
        field = rescale_field(_coarsened(field, fixed.shape[-2:]), fixed.shape[-2:])
        field = demons(
            fixed, target, weights, field, iterations=iterations, fluid_px=FLUID_PX, elastic_px=ELASTIC_PX
        )
    return field


def _free_to_descend(labels: NDArray[np.uint8] | None) -> tuple[NDArray[np.intp], int]:
    """The basal slices whose muscle may have gone through to the next slice, and where that lies from each."""
    if labels is None:
        return np.empty(0, np.intp), 1
    apex_first = begins_at_apex(labels)
    basal, step = basal_third(labels, apex_first), -1 if apex_first else 1
    return basal[(basal + step >= 0) & (basal + step < len(labels))], step


def _found_in_next_slice(
    work: NDArray[np.float32],
    labels: NDArray[np.uint8] | None,
    basal: NDArray[np.intp],
    step: int,
    frame: int,
    field: Field,
) -> list[tuple[int, Field]]:
    """(slice, its field into the next slice of the frame) of basal slices that fit there better than in their own."""
    if labels is None or not len(basal):
        return []
    diastole = SegmentedDiastole(work[0, basal], labels[basal])
    if not diastole.guides:
        return []
    own, next_ones = work[frame, basal], work[frame, basal + step]
    other: Field = np.zeros((2, *own.shape), np.float32)
    for number in range(1 + GUIDED_ROUNDS):
        other = _one_round(diastole, next_ones, None, other, number)
    stays, goes = diastole.misfit(own, field[:, basal]), diastole.misfit(next_ones, other)
    return [
        (int(k), other[:, n : n + 1]) for n, k in enumerate(basal) if goes[n] < DESCENT_MISFIT * stays[n]
    ]


def _coarsened(field: Field, shape: tuple[int, ...]) -> Field:
    """Averaged down (not merely sampled) where the wanted shape is smaller; `rescale_field` does the rest."""
    factor = field.shape[-2] // shape[0]
    return halve(field, factor) / np.float32(factor) if factor > 1 else field


def _smooth_in_time(fields: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian along the cycle, which closes; end diastole stays at rest. Series of a few frames stay as they are."""
    frames = fields.shape[1]
    if frames < 6:
        return fields
    result = ndimage.gaussian_filter1d(fields, TEMPORAL_SIGMA_FRAMES * frames, axis=1, mode="wrap", truncate=3.0)
    result[:, 0] = 0.0
    return result


def _finish(
    field: Field, window: NDArray[np.float32], region: tuple[slice, slice], factor: int
) -> tuple[Field, Field]:
    """(to frame, to rest) on the pixels of the region: tapered to its edge, unfolded, inverted."""
    height, width = (part.stop - part.start for part in region)
    whole = rescale_field(field, (field.shape[-2] * factor, field.shape[-1] * factor))[..., :height, :width] * window
    to_frame = unfold(np.ascontiguousarray(whole, dtype=np.float32))
    return to_frame, invert(to_frame)


def _checked_labels(
    image: NDArray[np.float32],
    grid: ImageGrid,
    diastole_labels: NDArray[np.uint8] | None,
    frame_labels: NDArray[np.uint8] | None,
) -> NDArray[np.uint8] | None:
    """Labels of end diastole, or None."""
    if image.ndim != 4 or image.shape[1:] != grid.shape:
        raise InputError(f"image has the shape {image.shape}, its grid {grid.shape}; (frames, *grid shape) is needed")
    if image.shape[0] < 2:
        raise InputError(
            "the cine has 1 frame, and motion needs 2 or more; give a cine (tags without motion: method paper)"
        )
    if not np.all(np.isfinite(image)):
        raise InputError("the cine holds NaN or infinite values; replace them before its motion is estimated")
    if frame_labels is not None:
        if frame_labels.shape != image.shape:
            raise InputError(f"labels have the shape {frame_labels.shape}, the image {image.shape}; they must agree")
        diastole_labels = frame_labels[0]
    if diastole_labels is None:
        return None
    if diastole_labels.shape != image.shape[1:]:
        raise InputError(
            f"labels of end diastole have the shape {diastole_labels.shape}, a frame {image.shape[1:]}; they must agree"
        )
    return np.asarray(diastole_labels, dtype=np.uint8) if np.any(diastole_labels) else None


def _heart_region(
    image: NDArray[np.float32], labels: NDArray[np.uint8] | None, pixel_mm: float
) -> tuple[slice, slice]:
    """Rows and columns around the labelled heart, or around what moves where nothing is labelled."""
    rows, columns = image.shape[2:]
    margin = int(np.ceil(MARGIN_MM / pixel_mm))
    if labels is not None:
        mask = np.isin(labels, (1, 2, 3)).sum(axis=0) > 0
    else:
        mask = moving_mask(image, pixel_mm)
        if not mask.any():
            return slice(0, rows), slice(0, columns)
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(y[0]) - margin, 0), min(int(y[-1]) + margin + 1, rows)),
        slice(max(int(x[0]) - margin, 0), min(int(x[-1]) + margin + 1, columns)),
    )


def _padded(images: NDArray[np.float32], factor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images on pixels `factor` times larger, sides padded to multiples of 8; and the window that calms the border."""
    height, width = images.shape[-2:]
    block = _BLOCK * factor
    pad = [(0, 0)] * (images.ndim - 2) + [(0, -height % block), (0, -width % block)]
    work = halve(np.pad(images, pad, mode="edge"), factor)
    ramp = max(4.0, 0.05 * min(height, width))
    y = np.clip((np.minimum(np.arange(height), np.arange(height)[::-1]) + 0.5) / ramp, 0, 1)
    x = np.clip((np.minimum(np.arange(width), np.arange(width)[::-1]) + 0.5) / ramp, 0, 1)
    window = np.sin(0.5 * np.pi * y)[:, None] * np.sin(0.5 * np.pi * x)
    return np.ascontiguousarray(work, dtype=np.float32), window.astype(np.float32)


def _padded_labels(labels: NDArray[np.uint8], factor: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    sampled = labels[:, factor // 2 :: factor, factor // 2 :: factor]
    pad = ((0, 0), (0, shape[0] - sampled.shape[1]), (0, shape[1] - sampled.shape[2]))
    return np.pad(sampled, pad, mode="constant")
