"""In-plane registration of many slices at once: multi-resolution diffeomorphic demons on several image channels.

Every slice of every frame is a 2D problem of its own, so all arrays carry a leading axis n that runs over images, and
NumPy does them together. A field u, (2, n, rows, columns) in pixels (rows first), pulls a moving image back onto the
fixed one: ``warped(x) = moving(x + u(x))``.

Updates are those of Thirion's demons with the mean of both gradients (Vercauteren, NeuroImage 2009;45:S61), composed
with the field so far, ``u <- u o (id + d) + d``, each kept under half a pixel so that every step is invertible.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]

MAX_STEP_PX = 0.5
"""Largest displacement of one update: id + d stays invertible, as its smoothed gradient is far below one."""
MIN_JACOBIAN = 0.05
"""Fields are smoothed until area is nowhere squeezed to less than this."""


def warp(images: NDArray[np.float32], field: Field) -> NDArray[np.float32]:
    """Bilinear samples of images (..., n, rows, columns) at x + u(x); beyond the border its value goes on."""
    n, rows, columns = field.shape[1:]
    y = np.arange(rows, dtype=np.float32)[:, None] + field[0]
    x = np.arange(columns, dtype=np.float32) + field[1]
    # Half-open intervals keep the right neighbour inside without a second test.
    np.clip(y, 0, np.float32(rows - 1.001), out=y)
    np.clip(x, 0, np.float32(columns - 1.001), out=x)
    top, left = y.astype(np.int32), x.astype(np.int32)
    y -= top
    x -= left
    first = (np.arange(n, dtype=np.int32) * (rows * columns))[:, None, None] + top * columns + left
    index, down, right = first.ravel(), y.ravel(), x.ravel()
    flat = images.reshape(-1, n * rows * columns)
    result = np.empty_like(flat)
    for source, target in zip(flat, result, strict=True):
        upper = source.take(index)
        upper += right * (source.take(index + 1) - upper)
        lower = source.take(index + columns)
        lower += right * (source.take(index + (columns + 1)) - lower)
        lower -= upper
        lower *= down
        np.add(upper, lower, out=target)
    return result.reshape(images.shape)


def warp_labels(labels: NDArray[np.uint8], field: Field) -> NDArray[np.uint8]:
    """Labels (n, rows, columns) at x + u(x): each pixel gets the one with the largest interpolated share."""
    values = np.unique(labels)
    shares = np.stack([warp((labels == value).astype(np.float32), field) for value in values])
    return values[np.argmax(shares, axis=0)].astype(np.uint8)


def smooth(values: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Gaussian over the last two axes."""
    if sigma_px <= 0:
        return values
    for axis in (-1, -2):
        values = ndimage.gaussian_filter1d(values, sigma_px, axis=axis, mode="nearest", truncate=2.5)
    return values


def demons(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    weights: NDArray[np.float32],
    field: Field,
    *,
    iterations: int,
    fluid_px: float,
    elastic_px: float,
) -> Field:
    """Refine `field` at one resolution.

    Parameters
    ----------
    fixed, moving
        (channels, n, rows, columns), in units where differences of 1 are large.
    weights
        Broadcasts to the same: how much each channel counts where.
    field
        (2, n, rows, columns) to start from.
    iterations
        Number of updates.
    fluid_px, elastic_px
        Gaussian that smooths each update, and the field after it.
    """
    fixed_y, fixed_x = _gradient(fixed)
    for _ in range(iterations):
        warped = warp(moving, field)
        force_y, force_x = _gradient(warped)
        force_y += fixed_y
        force_y *= 0.5
        force_x += fixed_x
        force_x *= 0.5
        difference = fixed - warped
        weighted = weights * difference
        norm = np.sum(weights * (force_y * force_y + force_x * force_x) + weighted * difference, axis=0) + 1e-4
        update = np.stack([np.sum(weighted * force_y, axis=0) / norm, np.sum(weighted * force_x, axis=0) / norm])
        update = smooth(update, fluid_px)
        longest = np.sqrt(np.max(update[0] ** 2 + update[1] ** 2, axis=(-2, -1)))
        update *= np.minimum(1.0, MAX_STEP_PX / np.maximum(longest, 1e-6)).astype(np.float32)[None, :, None, None]
        field = smooth(warp(field, update) + update, elastic_px)
    return field


def halve(images: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Images at 1/factor of the resolution: smoothed, then averaged over blocks; sides must be multiples of it."""
    if factor == 1:
        return images
    images = smooth(images, 0.5 * factor)
    rows, columns = images.shape[-2:]
    blocks = images.reshape(*images.shape[:-2], rows // factor, factor, columns // factor, factor)
    return np.ascontiguousarray(blocks.mean(axis=(-3, -1)), dtype=np.float32)


def rescale_field(field: Field, shape: Sequence[int]) -> Field:
    """A field at another resolution (rows, columns): interpolated linearly, lengths scaled to the new pixels."""
    rows, columns = field.shape[-2:]
    if (rows, columns) == tuple(shape):
        return field
    scale = np.array([shape[0] / rows, shape[1] / columns], dtype=np.float32)
    down = _interpolate(field, (np.arange(shape[0]) + 0.5) / scale[0] - 0.5, -2)
    return _interpolate(down, (np.arange(shape[1]) + 0.5) / scale[1] - 0.5, -1) * scale[:, None, None, None]


def invert(field: Field, iterations: int = 12) -> Field:
    """The inverse field v, with v(x + u(x)) = -u(x), by fixed-point iteration v <- -u(x + v(x))."""
    inverse = -field
    for _ in range(iterations):
        inverse = -warp(field, inverse)
    return inverse


def jacobian(field: Field) -> NDArray[np.float32]:
    """(n, rows, columns) determinant of the gradient of x + u(x): local area ratio."""
    yy, yx = np.gradient(field[0], axis=(-2, -1))
    xy, xx = np.gradient(field[1], axis=(-2, -1))
    return np.asarray((1 + yy) * (1 + xx) - yx * xy, dtype=np.float32)


def unfold(field: Field) -> Field:
    """The field, smoothed where it folds until its Jacobian is above `MIN_JACOBIAN` everywhere."""
    for _ in range(50):
        folded = jacobian(field).min(axis=(-2, -1)) < MIN_JACOBIAN
        if not folded.any():
            return field
        field = field.copy()
        field[:, folded] = smooth(field[:, folded], 1.0)
    # Fifty passes are a Gaussian of 7 pixels; what still folds is no motion of a heart.
    field[:, folded] = 0.0
    return field


def _gradient(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    down, right = np.zeros_like(images), np.zeros_like(images)
    np.subtract(images[..., 2:, :], images[..., :-2, :], out=down[..., 1:-1, :])
    np.subtract(images[..., 2:], images[..., :-2], out=right[..., 1:-1])
    down *= 0.5
    right *= 0.5
    return down, right


def _interpolate(values: NDArray[np.float32], places: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    count = values.shape[axis]
    if count == 1:
        return np.repeat(values, len(places), axis=axis)
    places = np.clip(places, 0, count - 1)
    low = np.minimum(places.astype(np.intp), count - 2)
    shape = [1] * values.ndim
    shape[axis] = -1
    share = (places - low).astype(np.float32).reshape(shape)
    return np.take(values, low, axis) * (1 - share) + np.take(values, low + 1, axis) * share
