"""What the registration compares: grey values, and what a segmentation makes of them.

Grey values alone mislead between end diastole and end systole: blood loses signal, trabeculae are pressed into the
wall, and the lateral wall is hardly brighter than lung. A segmentation of end diastole gives the grey values of blood
and of muscle in each frame (as the registration proceeds, in every frame anew), and with them two channels that mean
the same thing in all frames: how much a pixel looks like blood, and how much like this part of the muscle.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.tagging.registration import Field, invert, smooth, warp

GREY_WEIGHT, BLOOD_WEIGHT, MUSCLE_WEIGHT = 0.3, 1.0, 1.0
"""Weights of the three channels."""
LABEL_SHARE_BLOOD, LABEL_SHARE_MUSCLE = 0.5, 0.75
"""How far the fixed channels follow the segmentation rather than the grey values of end diastole: a reader's contour
runs smoothly through trabeculae and along lung, where grey values alone would not."""
MUSCLE_TOLERANCE_SD = 1.5
"""Grey values this many (robust) standard deviations off the local muscle count little as muscle."""
LOCAL_PX = 8.0
"""Length over which muscle brightness may vary, in pixels: coils make the anterior wall brighter."""
BAND_PX, CORE_PX = 6.0, 3.0
"""The guided channels count fully up to CORE_PX from the muscle and fade over BAND_PX."""

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Channels:
    """(channels, n, rows, columns) of fixed and moving images, and weights."""

    fixed: Images
    moving: Images
    weights: Images


def grey(images: Images) -> Images:
    """(n, rows, columns) over the 98th percentile of each, so that bright fat does not set the scale."""
    high = np.percentile(images, 98, axis=(-2, -1), keepdims=True)
    return (images / np.maximum(high, 1e-6)).astype(np.float32)


class SegmentedDiastole:
    """End diastole with its segmentation, of one stack: (slices, rows, columns)."""

    def __init__(self, image: Images, labels: NDArray[np.uint8]) -> None:
        self.image, self.grey = image, grey(image)
        self.pool, self.muscle = labels == 1, labels == 2
        self.known = labels > 0
        self.blood_map = smooth(np.isin(labels, (1, 3)).astype(np.float32), 0.6)
        self.muscle_map = smooth(self.muscle.astype(np.float32), 0.6)
        distance = np.stack([_distance(mask) for mask in self.muscle])
        self.near = np.exp(-((np.maximum(distance - CORE_PX, 0.0) / BAND_PX) ** 2)).astype(np.float32)
        self.guides = bool(self.muscle.any() and self.pool.any())

    def channels(self, moving: Images, field: Field) -> Channels:
        """Channels to register one frame, whose registration stands at `field`; grey alone where no label helps."""
        moving_grey = grey(moving)
        plain = Channels(self.grey[None], moving_grey[None], np.ones((1, 1, 1, 1), np.float32))
        if not self.guides:
            return plain
        warped = warp(moving, field)
        blood_0, blood_t = _medians(self.image, self.pool), _medians(warped, self.pool)
        muscle_0, spread_0 = _local_muscle(self.image, self.muscle)
        muscle_t, spread_t = _local_muscle(warped, self.muscle)
        if blood_0 is None or blood_t is None or muscle_0 is None or muscle_t is None:
            return plain
        # The map of local brightness was made in end-diastolic coordinates; the moving image lives in its own.
        muscle_t = warp(muscle_t, invert(field, 6))
        share = np.where(self.known, np.float32(LABEL_SHARE_BLOOD), np.float32(0.0))
        fixed_blood = share * self.blood_map + (1 - share) * _bloodlike(self.image, blood_0, muscle_0)
        fixed_muscle = LABEL_SHARE_MUSCLE * self.muscle_map + (1 - LABEL_SHARE_MUSCLE) * _musclelike(
            self.image, muscle_0, spread_0
        )
        blood, muscle = _bloodlike(moving, blood_t, muscle_t), _musclelike(moving, muscle_t, spread_t)
        return Channels(
            np.stack([self.grey, fixed_blood, fixed_muscle]).astype(np.float32),
            np.stack([moving_grey, blood, muscle]).astype(np.float32),
            np.stack([np.full_like(self.near, GREY_WEIGHT), BLOOD_WEIGHT * self.near, MUSCLE_WEIGHT * self.near]),
        )

    def misfit(self, moving: Images, field: Field) -> NDArray[np.float64]:
        """(slices,) mean difference of the guided channels near the muscle, with a frame registered by `field`."""
        channels = self.channels(moving, field)
        if len(channels.fixed) < 3:
            return np.full(len(moving), np.inf)
        difference = np.abs(channels.fixed[1:] - warp(np.ascontiguousarray(channels.moving[1:]), field)).mean(axis=0)
        near = self.near > 0.5
        return np.array([d[n].mean() if n.any() else np.inf for d, n in zip(difference, near, strict=True)])

    def labelled_channels(self, moving: Images, labels: NDArray[np.uint8]) -> Channels:
        """Channels where the moving frame is segmented too: its labels take the place of its grey values."""
        blood = smooth(np.isin(labels, (1, 3)).astype(np.float32), 0.6)
        muscle = smooth((labels == 2).astype(np.float32), 0.6)
        # A slice that shows the ventricle in one frame only (the base, which moves through) has nothing to match.
        both = (labels == 2).any(axis=(-2, -1)) & self.muscle.any(axis=(-2, -1))
        near = self.near * both[:, None, None].astype(np.float32)
        weights = np.stack([np.full_like(near, GREY_WEIGHT), 2 * BLOOD_WEIGHT * near, 2 * MUSCLE_WEIGHT * near])
        return Channels(
            np.stack([self.grey, self.blood_map, self.muscle_map]), np.stack([grey(moving), blood, muscle]), weights
        )


def _distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, 1e3)


def _medians(images: Images, masks: NDArray[np.bool_]) -> Images | None:
    """(n, 1, 1) median within each mask; of slices with too few pixels that of their neighbours."""
    values = np.array([np.median(i[m]) if m.sum() > 15 else np.nan for i, m in zip(images, masks, strict=True)])
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return None
    return np.interp(np.arange(len(values)), known, values[known])[:, None, None].astype(np.float32)


def _local_muscle(images: Images, masks: NDArray[np.bool_]) -> tuple[Images | None, Images]:
    """Brightness of muscle around every pixel, and (n, 1, 1) robust SD of the muscle about it."""
    middle = _medians(images, masks)
    none = np.ones((len(images), 1, 1), np.float32)
    if middle is None:
        return None, none
    spread = _medians(np.abs(images - middle), masks)
    if spread is None:
        return None, none
    # 1.48 turns a median absolute deviation into the SD of a normal distribution.
    typical = (masks & (np.abs(images - middle) < 2.5 * 1.48 * spread)).astype(np.float32)
    prior = np.float32(0.02)
    local = (smooth(typical * images, LOCAL_PX) + prior * middle) / (smooth(typical, LOCAL_PX) + prior)
    spread = _medians(np.abs(images - local), masks)
    return local, none if spread is None else np.maximum(1.48 * spread, 1e-3 * np.abs(middle) + 1e-6)


def _bloodlike(images: Images, blood: Images, muscle: Images) -> Images:
    """0 for muscle, 1 for blood; a little beyond for darker and brighter."""
    return np.clip((images - muscle) / np.maximum(blood - muscle, 1e-3), -0.3, 1.3)


def _musclelike(images: Images, muscle: Images, spread: Images) -> Images:
    return np.exp(-0.5 * ((images - muscle) / (MUSCLE_TOLERANCE_SD * spread)) ** 2)
