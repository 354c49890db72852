"""Where in the field of view the heart lies, and how large it appears where the file does not say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.voxel_sizes import PIXEL_MM, pixels_are_plausible
from CMRSimExtension.segmentation.model import Predictor
from CMRSimExtension.segmentation.sampling import View, Window, whole_slice

TYPICAL_EPICARDIAL_MM = 62.0
"""Outer diameter of the left ventricle that an image of unknown pixel size is scaled to: in ACDC's patients the blood
pool's diameter half way down is 33 to 69 mm from group to group and phase to phase, the walls add 14 to 40 mm."""

_HEART = 0.4
"""Probability from which on a pixel may be heart, while it is searched for: rather too much than too little."""

_SMALLEST_SCALE, _LARGEST_SCALE = 0.55, 1.8
"""How far an apparent size may move the working pixel; beyond, a wrong finding is likelier than such a heart."""


@dataclass(frozen=True)
class HeartPlace:
    """What the search found.

    Attributes
    ----------
    window
        The square to segment in.
    confidence
        Mean probability of heart within what was found, 0 to 1; 0 when nothing was.
    slices
        Indices of the slices in which something was found.
    pixel_mm
        Pixel size (row, column) that the image appears to have; the given one where that is trusted.
    """

    window: Window
    confidence: float
    slices: tuple[int, ...]
    pixel_mm: tuple[float, float]


def find_heart(volumes: Tensor, spacing_mm: Sequence[float], trusted: bool, predictor: Predictor) -> HeartPlace:
    """Find the heart in some frames of a stack.

    The network itself looks at the whole field of view in two orientations; its largest connected finding over the
    slices, weighed by probability, is the heart. Where the pixel size is not trusted it looks at several
    magnifications, keeps the one it is surest about, and takes the pixel size at which the left ventricle found would
    be of typical size.

    Parameters
    ----------
    volumes
        (frames, slices, rows, columns).
    spacing_mm
        (slice, row, column) distances that the file states.
    trusted
        Whether to believe the last two.

    Raises
    ------
    InputError
        When sizes that are to be believed are no pixels of a heart's image.
    """
    model, pixel_mm = predictor.model, (float(spacing_mm[1]), float(spacing_mm[2]))
    if not pixels_are_plausible(pixel_mm):
        if trusted:
            raise InputError(
                f"the pixels are said to be {pixel_mm[0]:g} x {pixel_mm[1]:g} mm, images of hearts have "
                f"{PIXEL_MM[0]:g} to {PIXEL_MM[1]:g} mm; correct the file's header, or do not trust its voxel sizes"
            )
        # In proportion to each other they may still be right.
        mean = (pixel_mm[0] * pixel_mm[1]) ** 0.5
        pixel_mm = (pixel_mm[0] / mean, pixel_mm[1] / mean)
        spacing_mm = (float(spacing_mm[0]), *pixel_mm)
    magnifications = (1.0,) if trusted else (0.8, 1.0, 1.25, 1.5)
    best: tuple[float, NDArray[np.float32], float] | None = None
    for magnification in magnifications:
        heart = _probability_of_heart(volumes, spacing_mm, magnification, predictor)
        score = _score(heart)
        if best is None or score > best[0]:
            best = (score, heart, magnification)
    assert best is not None
    heart = best[1]
    left = heart[..., 0] + heart[..., 1]
    mask, centre = _largest(heart.sum(-1), left)
    rows, columns = volumes.shape[-2:]
    if mask is None:
        side = [model.pixel_mm / size for size in pixel_mm]
        window = Window(((rows - 1) / 2.0, (columns - 1) / 2.0), (side[0], side[1]), model.size)
        return HeartPlace(window, 0.0, (), pixel_mm)
    scale = 1.0 if trusted else _apparent_scale(left, mask, pixel_mm)
    real = (pixel_mm[0] * scale, pixel_mm[1] * scale)
    window = Window(centre, (model.pixel_mm / real[0], model.pixel_mm / real[1]), model.size)
    found = tuple(int(index) for index in np.flatnonzero(mask.any(axis=(0, 2, 3))))
    return HeartPlace(window, float(heart.sum(-1)[mask].mean()), found, real)


def _probability_of_heart(
    volumes: Tensor, spacing_mm: Sequence[float], magnification: float, predictor: Predictor
) -> NDArray[np.float32]:
    """(frames, slices, rows, columns, 3): probability of LV blood, myocardium and RV blood over the whole slices."""
    model = predictor.model
    frames, slices, rows, columns = volumes.shape
    images = volumes.reshape(-1, 1, rows, columns)
    pixel = [model.pixel_mm / size / magnification for size in spacing_mm[1:]]
    window = whole_slice((rows, columns), pixel, model.multiple()[-1])
    total: Tensor | None = None
    views = (View(0), View(3))
    for view in views:
        seen = window.look(images, view).view(frames, slices, 1, window.size, window.size)
        found = torch.cat([predictor.of_stack(stack, float(spacing_mm[0])) for stack in seen])
        probabilities = window.back(found, (rows, columns), view)
        total = probabilities if total is None else total + probabilities
    assert total is not None
    heart = torch.stack([_of_label(total, model.labels, label) for label in (1, 2, 3)], -1) / len(views)
    return heart.view(frames, slices, rows, columns, 3).numpy()


def _of_label(probabilities: Tensor, labels: dict | object, label: int) -> Tensor:
    """Probability (n, rows, columns) of all classes that stand for `label`."""
    assert hasattr(labels, "items")
    channels = [number for number, own in labels.items() if own == label]
    return probabilities[:, channels].sum(1) if channels else torch.zeros_like(probabilities[:, 0])


def _score(heart: NDArray[np.float32]) -> float:
    """How much like a heart a finding is: sure, in one piece, and seen in many slices."""
    total = heart.sum(-1)
    mask, _ = _largest(total, heart[..., 0] + heart[..., 1])
    if mask is None:
        return 0.0
    sure = float(heart.max(-1)[mask].mean())
    whole = float(mask.sum() / (total > _HEART).sum())
    slices = float(mask.any(axis=(0, 2, 3)).mean())
    return sure * whole * slices**0.5


def _largest(
    heart: NDArray[np.float32], left: NDArray[np.float32]
) -> tuple[NDArray[np.bool_] | None, tuple[float, float]]:
    """Largest connected finding in slices and frames, by summed probability of the left ventricle, and its centre."""
    # Frames are joined by their sum: the heart stays in its place, chance findings come and go.
    together = heart.mean(0)
    parts, count = ndimage.label(together > _HEART, structure=np.ones((3, 3, 3)))
    if not count:
        return None, (0.0, 0.0)
    weight = ndimage.sum_labels(left.mean(0), parts, np.arange(1, count + 1))
    mask = parts == 1 + int(np.argmax(weight))
    _, row, column = ndimage.center_of_mass(together * mask)
    return np.broadcast_to(mask, heart.shape) & (heart > _HEART), (float(row), float(column))


def _apparent_scale(left: NDArray[np.float32], mask: NDArray[np.bool_], pixel_mm: Sequence[float]) -> float:
    """Factor on the stated pixel size that gives the left ventricle its typical outer diameter."""
    area = ((left > 0.5) & mask).sum(axis=(2, 3)) * pixel_mm[0] * pixel_mm[1]
    shown = area[area > 0]
    if not shown.size:
        return 1.0
    # The upper quartile of the slices: base and middle, where the diameter is that of the ventricle.
    diameter = 2.0 * np.sqrt(np.quantile(shown, 0.75) / np.pi)
    return float(np.clip(TYPICAL_EPICARDIAL_MM / diameter, _SMALLEST_SCALE, _LARGEST_SCALE))
