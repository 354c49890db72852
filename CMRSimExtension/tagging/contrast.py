"""From the contrast of a balanced SSFP cine to that of a tagged gradient echo.

Where a segmentation says what is blood and what is muscle, each pixel is taken apart into the two by its brightness
(so papillary muscles and partial volume come out right), and each part gets the signal that the tagged readout gives
that tissue at that moment. Blood that readers do not label, above and beside the base, is found and joins them.
Elsewhere nothing is known, and the square root of P4 stands in for the change of contrast.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.anatomy.stack_order import basal_third
from CMRSimExtension.errors import InputError
from CMRSimExtension.tagging.motion import moving_mask
from CMRSimExtension.tagging.registration import smooth

EDGE_PX = 1.0
"""Over this the two rules pass into each other, in pixels."""
MOVING_EDGE_MM = 4.0
"""Over this the moving heart passes into what lies still."""
BLOOD_SHARE = (0.4, 1.7)
"""Unlabelled blood is as bright as this, muscle being 0 and labelled blood 1; fat near a coil is brighter. On six
simulated cines 0.94 of what is found is blood, and 0.56 (end systole) to 0.70 (end diastole) of such blood is found."""
BLOOD_RADIUS_MM = 7.0
"""Unlabelled blood fills discs of this radius: atria and great vessels do, the fat of the grooves does not."""
SIMILAR = (0.75, 1.33)
"""A slice's brightness of a tissue is believed within this of the series' median; beyond, in a slice that is cut by the
annulus or the apex, what carries the label is mostly something else."""

Images = NDArray[np.float32]


@dataclass(frozen=True)
class TissueLevels:
    """Brightness of muscle and blood in the cine, (slices, 1, 1) each."""

    muscle: Images
    blood: Images


@dataclass(frozen=True)
class TissueMap:
    """One frame of a cine taken apart: (slices, rows, columns) each.

    Attributes
    ----------
    amplitude
        Signal relative to what the known mixture of blood and muscle would give; about 1 in the heart.
    blood
        Share of blood, 0 to 1; 0 where nothing is known.
    """

    amplitude: Images
    blood: Images


def labelled_levels(image: Images, labels: NDArray[np.uint8]) -> TissueLevels | None:
    """Medians over the labels of one frame; None without any.

    Slices without labels, and those that are not `SIMILAR` to the others, take the medians of their neighbours.
    """
    muscle = _median_per_slice(image, labels == 2)
    blood = _median_per_slice(image, labels == 1)
    if blood is None:
        blood = _median_per_slice(image, labels == 3)
    if muscle is None or blood is None:
        return None
    # An end-systolic apex shows no blood worth the name, and its median would call muscle blood.
    return TissueLevels(muscle, np.maximum(blood, 1.3 * muscle))


def moving_part(images: Images, pixel_mm: float) -> Images:
    """(rows, columns) 0 to 1: `moving_mask` with a soft edge."""
    return smooth(moving_mask(images, pixel_mm).astype(np.float32), MOVING_EDGE_MM / pixel_mm)


def guessed_levels(diastole: Images, heart: Images) -> TissueLevels | None:
    """Muscle and blood of an unlabelled heart: the two sides of Otsu's threshold within `heart`, over all slices.

    None where there is too little of a heart, or its darker side is black (an image of labels, say).
    """
    values = diastole[:, heart > 0.5]
    if values.size < 200 or not np.ptp(values) > 0:
        return None
    threshold = _otsu(values.ravel())
    dark, bright = values[values < threshold], values[values >= threshold]
    # The dark side holds lung as well as muscle: muscle is its brighter half.
    muscle = np.median(dark[dark >= np.median(dark)])
    blood = np.median(bright)
    if not muscle > 0:
        return None
    shape = (len(diastole), 1, 1)
    return TissueLevels(np.full(shape, muscle, np.float32), np.full(shape, max(blood, 1.3 * muscle), np.float32))


def take_apart(image: Images, levels: TissueLevels, known: Images, chamber: Images | None) -> TissueMap:
    """Amplitude and blood share of one frame.

    Parameters
    ----------
    image
        (slices, rows, columns).
    levels
        Brightness of the two tissues.
    known
        (slices, rows, columns) or (rows, columns), 0 to 1: where the two-tissue rule holds; elsewhere the square root.
    chamber
        (slices, rows, columns) 0 to 1: where blood may be, or None for wherever the rule holds.
    """
    muscle, blood = levels.muscle, levels.blood
    share = np.clip((image - muscle) / (blood - muscle), 0.0, 1.0) * (known if chamber is None else chamber)
    inside = image / (share * blood + (1.0 - share) * muscle)
    # Far above the level of muscle lies fat, in or at the heart: it is no brighter than the square root makes it.
    outside = np.sqrt(np.maximum(image, 0.0) / muscle)
    inside = np.minimum(inside, np.maximum(outside, 1.0))
    amplitude = known * inside + (1.0 - known) * outside
    return TissueMap(np.asarray(amplitude, dtype=np.float32), np.asarray(share, dtype=np.float32))


def known_and_chamber(labels: NDArray[np.uint8]) -> tuple[Images, Images]:
    """Soft masks of the labelled heart and, a pixel wider than drawn, of its chambers."""
    heart = np.isin(labels, (1, 2, 3))
    chamber = np.isin(labels, (1, 3))
    grown = np.stack([ndimage.binary_dilation(mask) for mask in chamber])
    return smooth(heart.astype(np.float32), EDGE_PX), smooth(grown.astype(np.float32), 0.5 * EDGE_PX)


def unlabelled_blood(
    image: Images,
    labels: NDArray[np.uint8],
    levels: TissueLevels,
    heart: Images,
    pixel_mm: tuple[float, float],
    *,
    apex_first: bool,
) -> NDArray[np.bool_]:
    """Blood above and beside the base of a labelled heart: atria, aortic root, outflow tract.

    What is as bright as labelled blood, thick, within the moving part of the image, and connected with the labelled
    heart in its own slice or through those beside it. Further down readers label all blood, and what else is bright
    there is fat.

    Parameters
    ----------
    image, labels
        (slices, rows, columns) of one frame.
    levels
        Brightness of the two tissues.
    heart
        (rows, columns) 0 to 1: the moving part (`moving_part`).
    pixel_mm
        Size (row, column) of a pixel.
    apex_first
        Whether slice 0 is the most apical (`anatomy.stack_order.begins_at_apex` of the whole series: single frames,
        of a part of a stack above all, may contradict each other).

    Returns
    -------
    NDArray
        (slices, rows, columns) bool.
    """
    labelled = np.isin(labels, (1, 2, 3))
    result = np.zeros(labels.shape, bool)
    part = (_basal_slices(labels, apex_first), *_box(labelled.any(axis=0) | (heart > 0.2)))
    image, labels, labelled = image[part], labels[part], labelled[part]
    if not labelled.any():
        return result
    share = (image - levels.muscle[part[0]]) / (levels.blood[part[0]] - levels.muscle[part[0]])
    low, high = BLOOD_SHARE
    # The labelled chambers count as blood here, or an atrium would lose its rim next to the ventricle.
    bright = ((share > low) & (share < high) & (heart[part[1:]] > 0.2) & ~labelled) | np.isin(labels, (1, 3))
    y, x = (np.arange(-reach, reach + 1) for reach in (max(round(BLOOD_RADIUS_MM / side), 1) for side in pixel_mm))
    disc = np.hypot(y[:, None] * pixel_mm[0], x * pixel_mm[1]) <= BLOOD_RADIUS_MM
    disc[len(y) // 2, len(x) // 2] = True
    thick = ndimage.binary_opening(bright, disc[None])
    parts, _ = ndimage.label(thick | labelled, structure=np.ones((3, 3, 3)))
    near = np.unique(parts[labelled])
    result[part] = np.isin(parts, near[near > 0]) & ~labelled
    return result


def steady(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(frames, ...) masks without what flickers: in each frame what most of it and its neighbours in the cycle show.

    Series of fewer than five frames stay as they are.
    """
    if len(masks) < 5:
        return masks
    return np.asarray(np.roll(masks, 1, axis=0) & masks | masks & np.roll(masks, -1, axis=0)
                      | np.roll(masks, 1, axis=0) & np.roll(masks, -1, axis=0))  # fmt: skip


def _basal_slices(labels: NDArray[np.uint8], apex_first: bool) -> slice:
    """From beyond the base to the end of the basal third of the slices with muscle."""
    basal = basal_third(labels, apex_first)
    if not len(basal):
        return slice(0, 0)
    return slice(int(basal[-1]), len(labels)) if apex_first else slice(0, int(basal[-1]) + 1)


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that hold all of a (rows, columns) mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _median_per_slice(image: Images, masks: NDArray[np.bool_]) -> Images | None:
    pixels = masks.sum(axis=(1, 2))
    values = np.array([np.median(i[m]) if n > 15 else np.nan for i, m, n in zip(image, masks, pixels, strict=True)])
    values[values <= 0] = np.nan
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return None
    relative = values[known] / np.median(values[known])
    similar = known[(relative >= SIMILAR[0]) & (relative <= SIMILAR[1])]
    # Of two slices that contradict each other neither is like their middle: the one that shows more of it is believed.
    known = similar if len(similar) else known[[np.argmax(pixels[known])]]
    return np.interp(np.arange(len(values)), known, values[known])[:, None, None].astype(np.float32)


def _otsu(values: NDArray[np.floating]) -> float:
    """Threshold with the largest variance between its sides (Otsu, IEEE Trans SMC 1979;9:62)."""
    high = float(np.percentile(values, 99.5))
    counts, edges = np.histogram(values, bins=256, range=(float(values.min()), max(high, float(values.min()) + 1e-6)))
    if counts.sum() == 0:
        raise InputError("the images are constant; a cine with contrast is needed")
    centres = 0.5 * (edges[:-1] + edges[1:])
    weight = np.cumsum(counts) / counts.sum()
    mean = np.cumsum(counts * centres) / counts.sum()
    between = (mean[-1] * weight - mean) ** 2 / np.maximum(weight * (1 - weight), 1e-12)
    return float(centres[int(np.argmax(between[:-1]))])
