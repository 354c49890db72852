"""Where in the field of view the heart lies, and how large it appears where the file does not say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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

SMALLEST_SIDE = 32
"""Pixels that a slice has at least, along its rows and its columns."""

_MARGIN = 8
"""Pixels of a border of one value that are kept."""

_CANDIDATES = 4
"""Places that are looked at for a left ventricle."""

_CANDIDATE_SHARE = 0.1
"""Of the likeliest place's left ventricle, what another place must show: specks are none."""

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
    others
        Where the heart may lie instead, likelier places first.
    """

    window: Window
    confidence: float
    slices: tuple[int, ...]
    pixel_mm: tuple[float, float]
    others: tuple["HeartPlace", ...] = ()

    @property
    def candidates(self) -> tuple["HeartPlace", ...]:
        """This place and the others."""
        return (self, *self.others)

    def moved(self, rows: int, columns: int) -> "HeartPlace":
        """The same place in an image that has so many more rows and columns before its first."""
        centre = (self.window.centre[0] + rows, self.window.centre[1] + columns)
        others = tuple(other.moved(rows, columns) for other in self.others)
        return replace(self, window=replace(self.window, centre=centre), others=others)


def find_heart(volumes: Tensor, spacing_mm: Sequence[float], trusted: bool, predictor: Predictor) -> HeartPlace:
    """Find the heart in some frames of a stack.

    The network itself looks at the whole field of view in two orientations; its largest connected finding over the
    slices, weighed by probability, is the heart, and the next ones are where it may lie instead. Where the pixel size
    is not trusted it looks at several magnifications, keeps the one it is surest about, and takes the pixel size at
    which the left ventricle found would be of typical size.

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
    findings = _findings(heart.sum(-1), left)
    rows, columns = volumes.shape[-2:]
    if not findings:
        side = [model.pixel_mm / size for size in pixel_mm]
        window = Window(((rows - 1) / 2.0, (columns - 1) / 2.0), (side[0], side[1]), model.size)
        return HeartPlace(window, 0.0, (), pixel_mm)
    places = []
    for mask, centre in findings:
        scale = 1.0 if trusted else _apparent_scale(left, mask, pixel_mm)
        real = (pixel_mm[0] * scale, pixel_mm[1] * scale)
        window = Window(centre, (model.pixel_mm / real[0], model.pixel_mm / real[1]), model.size)
        found = tuple(int(index) for index in np.flatnonzero(mask.any(axis=(0, 2, 3))))
        places.append(HeartPlace(window, float(heart.sum(-1)[mask].mean()), found, real))
    return replace(places[0], others=tuple(places[1:]))


def without_border(image: NDArray[Any]) -> tuple[slice, slice]:
    """Rows and columns of (frames, slices, rows, columns) without a border of one value that is wider than a margin.

    Padding would else count as air where intensities are normalised. The margin, of 8 pixels, keeps what is cut out on
    its background. Each slice of each frame has a value of its own, as where they were scaled one by one after they
    were padded; what any of them shows is kept, so that frames may lie differently in their padding.
    """
    inner = []
    for axis in (2, 3):
        low, high = image.min(axis=5 - axis), image.max(axis=5 - axis)
        ends = []
        for lows, highs in ((low, high), (low[..., ::-1], high[..., ::-1])):
            shown = np.flatnonzero(((lows != lows[..., :1]) | (highs != lows[..., :1])).any(axis=(0, 1)))
            ends.append(max(0, int(shown[0]) - _MARGIN) if len(shown) else 0)
        side = image.shape[axis]
        # Thinner than the smallest image that is taken: left as it is.
        if side - sum(ends) < SMALLEST_SIDE:
            ends = [0, 0]
        inner.append(slice(ends[0], side - ends[1]))
    return inner[0], inner[1]


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
    findings = _findings(total, heart[..., 0] + heart[..., 1])
    if not findings:
        return 0.0
    mask, _ = findings[0]
    sure = float(heart.max(-1)[mask].mean())
    whole = float(mask.sum() / (total > _HEART).sum())
    slices = float(mask.any(axis=(0, 2, 3)).mean())
    return sure * whole * slices**0.5


def _findings(
    heart: NDArray[np.float32], left: NDArray[np.float32]
) -> list[tuple[NDArray[np.bool_], tuple[float, float]]]:
    """Connected findings in slices and frames and their centres, by summed probability of the left ventricle."""
    # Frames are joined by their sum: the heart stays in its place, chance findings come and go.
    together = heart.mean(0)
    parts, count = ndimage.label(together > _HEART, structure=np.ones((3, 3, 3)))
    weight = ndimage.sum_labels(left.mean(0), parts, np.arange(1, count + 1))
    findings = []
    for index in np.argsort(-weight, kind="stable")[:_CANDIDATES]:
        if weight[index] < _CANDIDATE_SHARE * weight.max():
            break
        mask = parts == 1 + index
        _, row, column = ndimage.center_of_mass(together * mask)
        everywhere = np.broadcast_to(mask, heart.shape) & (heart > _HEART)
        findings.append((everywhere, (float(row), float(column))))
    return findings


def _apparent_scale(left: NDArray[np.float32], mask: NDArray[np.bool_], pixel_mm: Sequence[float]) -> float:
    """Factor on the stated pixel size that gives the left ventricle its typical outer diameter."""
    area = ((left > 0.5) & mask).sum(axis=(2, 3)) * pixel_mm[0] * pixel_mm[1]
    shown = area[area > 0]
    if not shown.size:
        return 1.0
    # The upper quartile of the slices: base and middle, where the diameter is that of the ventricle.
    diameter = 2.0 * np.sqrt(np.quantile(shown, 0.75) / np.pi)
    return float(np.clip(TYPICAL_EPICARDIAL_MM / diameter, _SMALLEST_SCALE, _LARGEST_SCALE))
