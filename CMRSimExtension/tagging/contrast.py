"""From the contrast of a balanced SSFP cine to that of a tagged gradient echo.

Where a segmentation says what is blood and what is muscle, each pixel is taken apart into the two by its brightness
(so papillary muscles and partial volume come out right), and each part gets the signal that the tagged readout gives
that tissue at that moment. Elsewhere nothing is known, and the square root of P4 stands in for the change of contrast.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.errors import InputError
from CMRSimExtension.tagging.motion import moving_mask
from CMRSimExtension.tagging.registration import smooth

EDGE_PX = 1.0
"""Over this the two rules pass into each other, in pixels."""
MOVING_EDGE_MM = 4.0
"""Over this the moving heart passes into what lies still."""
BLOOD_SHARE = (0.4, 1.7)
"""Unlabelled blood is as bright as this, muscle being 0 and labelled blood 1; what is brighter is fat near a coil."""
BLOOD_RADIUS_MM = 7.0
"""Unlabelled blood fills discs of this radius: atria and great vessels do, the fat of the grooves does not. With the
limits above, nine tenths of what is found in simulated cines is blood, and seven tenths of such blood is found."""

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
    """Medians over the labels of one frame; slices without labels take those of their neighbours; None without any."""
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
    image: Images, labels: NDArray[np.uint8], levels: TissueLevels, heart: Images, pixel_mm: float
) -> NDArray[np.bool_]:
    """Blood next to a labelled heart: atria, aortic root, outflow tract, ventricles above the labelled slices.

    What is as bright as labelled blood, thick, within the moving part of the image, and connected with the labelled
    heart in its own slice or through those beside it.

    Parameters
    ----------
    image, labels
        (slices, rows, columns) of one frame.
    levels
        Brightness of the two tissues.
    heart
        (rows, columns) 0 to 1: the moving part (`moving_part`).
    pixel_mm
        Pixel size.

    Returns
    -------
    NDArray
        (slices, rows, columns) bool.
    """
    share = (image - levels.muscle) / (levels.blood - levels.muscle)
    labelled = np.isin(labels, (1, 2, 3))
    low, high = BLOOD_SHARE
    # The labelled chambers count as blood here, or an atrium would lose its rim next to the ventricle.
    bright = ((share > low) & (share < high) & (heart > 0.2) & ~labelled) | np.isin(labels, (1, 3))
    reach = max(round(BLOOD_RADIUS_MM / pixel_mm), 1)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    thick = ndimage.binary_opening(bright, (y * y + x * x <= reach * reach)[None])
    parts, _ = ndimage.label(thick | labelled, structure=np.ones((3, 3, 3)))
    near = np.unique(parts[labelled])
    return np.asarray(np.isin(parts, near[near > 0]) & ~labelled)


def _median_per_slice(image: Images, masks: NDArray[np.bool_]) -> Images | None:
    values = np.array([np.median(i[m]) if m.sum() > 15 else np.nan for i, m in zip(image, masks, strict=True)])
    values[values <= 0] = np.nan
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return None
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
