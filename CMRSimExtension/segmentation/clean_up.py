"""Anatomical clean-up: what a network says, made into one heart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LV, MYOCARDIUM, RV = 1, 2, 3
_TOUCHING = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class CleanUp:
    """Which corrections to make.

    Attributes
    ----------
    one_heart
        Keep the largest connected left ventricle (blood and wall together) and the right ventricle beside it. A frame
        of a stack without any LV blood has no ventricle; a single slice may lose its blood where it contracts.
    fill_wall
        Fill holes: within the outer contour of the left ventricle there is nothing but blood and wall.
    blood_inside
        A piece of LV blood off the pool that is not within the wall's outer contour becomes background. One within it
        stays blood: that is where papillary muscles cut off a part of the pool, and readers count both as blood.
    smallest_fraction
        A second piece within a slice survives when it is at least this fraction of the largest.
    enclosed
        At either end of the stack a slice counts as ventricle when at least this fraction of the blood's border is
        wall: one half, from the guideline's rule for the base (Schulz-Menger et al., JCMR 2020;22:19), beyond which
        there is atrium or outflow tract. The guideline has no such rule for the apex; ours is the same one.
    enclosed_still
        In a series, a slice that is ventricle in one frame stays so in the frames next to it down to this fraction.
    right_with_left
        Slices without a left ventricle have no right one, as readers of cines label it.
    """

    one_heart: bool = True
    fill_wall: bool = True
    blood_inside: bool = True
    smallest_fraction: float = 0.35
    enclosed: float = 0.5
    enclosed_still: float = 0.4
    right_with_left: bool = True

    def __call__(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Clean one frame, (slices, rows, columns); other labels than 1 to 3 stay where they are."""
        return self.of_series(labels[None], steady=False)[0]

    def of_series(
        self, labels: NDArray[np.uint8], *, steady: bool = True, goes_round: bool = False
    ) -> NDArray[np.uint8]:
        """Clean all frames of a series, (frames, slices, rows, columns).

        Parameters
        ----------
        labels
            Other labels than 1 to 3 stay where they are.
        steady
            Decide from each frame and those about it which slices at the ends are ventricle: the base of a heart moves
            through a slice about twice in a heartbeat, where frames judged one by one flicker about the limit.
        goes_round
            The last frame is followed by the first.
        """
        result = labels.copy()
        box = (slice(None), *_box(labels.max(axis=0)))
        hearts = result[box]
        for heart in hearts:
            if self.one_heart:
                heart[:] = self._one_heart(heart)
            for plane in heart:
                plane[:] = self._slice(plane)
        self._ends(hearts, steady, goes_round)
        if self.one_heart:
            blood = _shown(hearts, LV).any(axis=1)
            bloodless = ~(blood | (hearts.shape[1] == 1 and blood.any()))
            hearts[bloodless] = np.where(np.isin(hearts[bloodless], (MYOCARDIUM, RV)), 0, hearts[bloodless])
        if self.right_with_left:
            without = ~_shown(hearts, LV, MYOCARDIUM)
            hearts[without] = np.where(hearts[without] == RV, 0, hearts[without])
        if steady:
            # Beside a left ventricle that stays, a right one does not come for a frame and go.
            left = _shown(hearts, LV, MYOCARDIUM)
            stays = _over_time(left & _shown(hearts, RV), left, goes_round) >= 0.5
            hearts[~stays] = np.where(hearts[~stays] == RV, 0, hearts[~stays])
        result[box] = hearts
        return result

    def _ends(self, labels: NDArray[np.uint8], steady: bool, goes_round: bool) -> None:
        """Take half-open slices off both ends of each frame, in place, until one is closed or shows no blood."""
        wall, border = np.moveaxis(np.array([[_border(plane) for plane in heart] for heart in labels]), -1, 0)
        if steady:
            enclosure = _over_time(wall, border, goes_round)
            stays = _lasting(enclosure >= self.enclosed, enclosure >= self.enclosed_still, goes_round)
        else:
            stays = wall >= self.enclosed * border
        for heart, shown, kept in zip(labels, _shown(labels, LV, MYOCARDIUM), stays, strict=True):
            numbers = np.flatnonzero(shown)
            for order in (numbers, numbers[::-1]):
                for number in order:
                    if kept[number]:
                        break
                    heart[number][np.isin(heart[number], (LV, MYOCARDIUM))] = 0

    def _one_heart(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        result = labels.copy()
        left = np.isin(labels, (LV, MYOCARDIUM))
        if not left.any():
            # Without a left ventricle a lone right one cannot be told from an atrium or a vessel.
            result[labels == RV] = 0
            return result
        kept = _largest_part(left)
        result[left & ~kept] = 0
        right = labels == RV
        if right.any():
            parts, count = ndimage.label(right, structure=_TOUCHING)
            near = ndimage.binary_dilation(kept, structure=_TOUCHING, iterations=2)
            sizes = ndimage.sum_labels(right, parts, np.arange(1, count + 1))
            contact = ndimage.sum_labels(near & right, parts, np.arange(1, count + 1))
            # The right ventricle is the largest piece that lies against the left one.
            score = np.where(contact > 0, sizes, 0.0)
            if score.max() > 0:
                result[right & (parts != 1 + int(np.argmax(score)))] = 0
            else:
                result[right] = 0
        return result

    def _slice(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        result = labels.copy()
        left = np.isin(result, (LV, MYOCARDIUM))
        if left.any():
            kept = self._main_parts(left)
            result[left & ~kept] = 0
            blood = result == LV
            if self.blood_inside and blood.any():
                detached = blood & ~self._main_parts(blood)
                ventricle = np.isin(result, (LV, MYOCARDIUM)) & ~detached
                result[detached & ~_enclosed_pieces(detached, ventricle)] = 0
            if self.fill_wall:
                left = np.isin(result, (LV, MYOCARDIUM))
                holes = ndimage.binary_fill_holes(left) & ~left
                result = _fill(result, holes)
                # A speck of wall that the blood encloses is a papillary muscle, which readers count as blood.
                blood = result == LV
                enclosed = ndimage.binary_fill_holes(blood) & ~blood
                result[enclosed] = LV
        right = result == RV
        if right.any():
            result[right & ~self._main_parts(right)] = 0
            holes = ndimage.binary_fill_holes(result == RV) & (result == 0)
            result[holes] = RV
        return result

    def _main_parts(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        parts, count = ndimage.label(mask)
        if count < 2:
            return mask
        sizes = ndimage.sum_labels(mask, parts, np.arange(1, count + 1))
        return np.isin(parts, 1 + np.flatnonzero(sizes >= self.smallest_fraction * sizes.max()))


def _enclosed_pieces(pieces: NDArray[np.bool_], ventricle: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of some pieces that have nothing but the ventricle around them."""
    return pieces & ndimage.binary_fill_holes(ventricle)


def _shown(labels: NDArray[np.uint8], *parts: int) -> NDArray[np.bool_]:
    """(frames, slices): whether a slice has any of these labels."""
    return np.asarray(np.isin(labels, parts).any(axis=(2, 3)))


def _border(labels: NDArray[np.uint8]) -> tuple[int, int]:
    """How many pixels lie about the LV blood, and how many of them are wall: (wall, all)."""
    blood = labels == LV
    border = ndimage.binary_dilation(blood) & ~blood
    return int((labels[border] == MYOCARDIUM).sum()), int(border.sum())


def _over_time(part: NDArray[Any], whole: NDArray[Any], goes_round: bool) -> NDArray[np.float64]:
    """(frames, slices): the share that `part` has in `whole` over some frames about each; 1 where there is no whole."""
    # A sixth to a fifth of a heartbeat; odd, so that as many frames before count as after.
    weights = np.ones(2 * round(len(part) / 12) + 1)
    some, all_of_it = (
        ndimage.correlate1d(counts.astype(float), weights, 0, mode="wrap" if goes_round else "constant")
        for counts in (part, whole)
    )
    return np.divide(some, all_of_it, out=np.ones(part.shape), where=all_of_it > 0)


def _lasting(surely: NDArray[np.bool_], likely: NDArray[np.bool_], goes_round: bool) -> NDArray[np.bool_]:
    """(frames, slices): what is sure, and what is likely for as long as it is, before and after."""
    frames, along = len(surely), np.zeros((3, 3), bool)
    along[:, 1] = True
    if goes_round:
        surely, likely = np.tile(surely, (3, 1)), np.tile(likely, (3, 1))
    kept = np.asarray(ndimage.binary_propagation(surely, structure=along, mask=likely))
    return kept[frames : 2 * frames] if goes_round else kept


def _largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, count = ndimage.label(mask, structure=_TOUCHING)
    if count < 2:
        return mask
    sizes = ndimage.sum_labels(mask, parts, np.arange(1, count + 1))
    return parts == 1 + int(np.argmax(sizes))


def _fill(labels: NDArray[np.uint8], holes: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Give each pixel of a hole the label, blood or wall, of the nearest pixel that has one."""
    if not holes.any():
        return labels
    other = ~np.isin(labels, (LV, MYOCARDIUM))
    nearest = ndimage.distance_transform_edt(other, return_distances=False, return_indices=True)
    result = labels.copy()
    result[holes] = labels[tuple(nearest)][holes]
    return result


def _box(labels: NDArray[np.uint8]) -> tuple[slice, slice, slice]:
    """All slices, and the rows and columns that hold a label, with a margin of three pixels."""
    where = np.argwhere(labels.any(axis=0))
    if not len(where):
        return slice(None), slice(0), slice(0)
    low, high = np.maximum(where.min(0) - 3, 0), where.max(0) + 4
    return slice(None), slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))
