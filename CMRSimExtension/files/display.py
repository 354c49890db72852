"""How a slice is turned, scaled and coloured for the eye."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.terminology import TERMS
from CMRSimExtension.errors import InputError

LABEL_COLOURS: dict[int, tuple[int, int, int]] = {label: TERMS[Structure(label)].rgb for label in (1, 2, 3)}
"""RGB of the clinical labels, 0 to 255: those of their terms."""

# What a reader expects on the right and at the bottom of a picture, as weights of patient left, posterior and inferior:
# left on the right in transverse and coronal planes, back on the right in sagittal ones; back at the bottom in
# transverse planes, feet at the bottom in all others.
_RIGHT = np.array([1.0, 0.4, 0.0])
_DOWN = np.array([0.0, 0.6, 1.0])


@dataclass(frozen=True)
class Turn:
    """How the array of a slice becomes the picture that a reader expects.

    Attributes
    ----------
    transpose
        Swap rows and columns first.
    flip_rows, flip_columns
        Then reverse these.
    """

    transpose: bool
    flip_rows: bool
    flip_columns: bool

    def apply(self, array: NDArray) -> NDArray:
        """Turn the last two axes of `array`, (..., rows, columns)."""
        if self.transpose:
            array = np.swapaxes(array, -1, -2)
        if self.flip_rows:
            array = array[..., ::-1, :]
        if self.flip_columns:
            array = array[..., ::-1]
        return array

    def spacing_mm(self, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
        """(across, down) pixel size of the turned picture from the grid's (x, y, z)."""
        dx, dy, _ = spacing_mm
        return (dy, dx) if self.transpose else (dx, dy)


_CLEARLY_BETTER_OBLIQUE, _CLEARLY_BETTER = 1.5, 0.2
"""Score that a turn must gain over no turn. Scanners (and this simulator) order rows and columns for the eye already,
with habits of their own in oblique planes (long-axis views gain up to 1.3), which must not be overruled; a file that a
converter has turned gains about 2. Planes along the body's own axes leave no doubt."""


def reader_turn(affine_ras: NDArray[np.floating]) -> Turn:
    """The turn that shows slices of this geometry as a reader expects them; images from a scanner stay as they are.

    Parameters
    ----------
    affine_ras
        (4, 4): (column, row, slice, 1) to RAS mm.
    """
    axes = affine_ras[:3, :2] / np.linalg.norm(affine_ras[:3, :2], axis=0)
    towards = np.array([-1.0, -1.0, -1.0])[:, None] * axes  # left, posterior, inferior
    best = Turn(False, False, False)
    oblique = bool(np.any(np.abs(towards).max(axis=0) < 0.95))
    best_score = float(towards[:, 0] @ _RIGHT + towards[:, 1] @ _DOWN)
    best_score += _CLEARLY_BETTER_OBLIQUE if oblique else _CLEARLY_BETTER
    for transpose in (False, True):
        across, down = (towards[:, 1], towards[:, 0]) if transpose else (towards[:, 0], towards[:, 1])
        for flip_rows in (False, True):
            for flip_columns in (False, True):
                score = (-1 if flip_columns else 1) * across @ _RIGHT + (-1 if flip_rows else 1) * down @ _DOWN
                if score > best_score:
                    best, best_score = Turn(transpose, flip_rows, flip_columns), score
    return best


def window(image: NDArray[np.floating]) -> tuple[float, float]:
    """(black, white) levels that show soft tissue: 1st to 99th percentile.

    Bright spots (fat in coil hot spots, spikes) take no part, as a reader's window would not follow them.
    """
    sample = np.asarray(image).reshape(-1)[:: max(1, image.size // 2_000_000)]
    low, high = np.percentile(sample, [1.0, 99.0])
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def heart_window(image: NDArray[np.floating], labels: NDArray[np.uint8] | None) -> tuple[float, float]:
    """(black, white) levels as a reader sets them for the heart: its blood bright, with some room above.

    Parameters
    ----------
    image
        Any shape.
    labels
        Clinical labels of the same shape; without a heart in them the levels are those of `window`.
    """
    low, high = window(image)
    if labels is None:
        return low, high
    heart = image[labels > 0]
    if heart.size < 20:
        return low, high
    # Fat in front of the coils may be twice as bright as blood; a reader lets it saturate.
    return low, max(low + 1e-6, min(high, low + 1.3 * (float(np.percentile(heart, 95)) - low)))


def to_bytes(image: NDArray[np.floating], levels: tuple[float, float]) -> NDArray[np.uint8]:
    """Grey values 0 to 255 of `image` between the two levels."""
    low, high = levels
    return np.clip((image - low) * (255.0 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


def overlay(grey: NDArray[np.uint8], labels: NDArray[np.uint8] | None, opacity: float = 0.35) -> NDArray[np.uint8]:
    """(rows, columns, 3) colour picture: labels filled at `opacity`, their outlines at twice that.

    Parameters
    ----------
    grey
        (rows, columns) grey values.
    labels
        (rows, columns) clinical labels; None for a plain picture.
    opacity
        0 to 1.
    """
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity is {opacity}, outside 0 to 1")
    colour = np.repeat(grey[..., np.newaxis], 3, axis=-1).astype(np.float32)
    if labels is None:
        return colour.astype(np.uint8)
    edge = outline(labels)
    for label, rgb in LABEL_COLOURS.items():
        inside = labels == label
        for mask, share in ((inside & ~edge, opacity), (inside & edge, min(1.0, 2 * opacity))):
            colour[mask] = (1 - share) * colour[mask] + share * np.array(rgb, dtype=np.float32)
    return (colour + 0.5).astype(np.uint8)


def outline(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels with a 4-neighbour of another label."""
    edge = np.zeros(labels.shape, dtype=bool)
    rows = labels[1:] != labels[:-1]
    columns = labels[:, 1:] != labels[:, :-1]
    edge[1:] |= rows
    edge[:-1] |= rows
    edge[:, 1:] |= columns
    edge[:, :-1] |= columns
    return edge
