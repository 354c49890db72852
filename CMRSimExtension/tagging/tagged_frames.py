"""Tagging the frames of a cine: contrast, tags at the rest position of the tissue, fading."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.stack_order import begins_at_apex
from CMRSimExtension.anatomy.tissues import TissueValues
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.tagging.contrast import (
    TissueLevels,
    TissueMap,
    guessed_levels,
    known_and_chamber,
    labelled_levels,
    moving_part,
    steady,
    take_apart,
    unlabelled_blood,
)
from CMRSimExtension.tagging.frame_times import Resampling
from CMRSimExtension.tagging.pattern import TaggedAcquisition
from CMRSimExtension.tagging.registration import warp, warp_labels
from CMRSimExtension.tagging.rendering import PlanarPattern, render, tissue_states

Progress = Callable[[float, str], None]
Images = NDArray[np.float32]

MOST_LABEL = 254
"""Highest label number that a series may have."""

_MORE_BLOOD = np.uint8(MOST_LABEL + 1)
"""Stands for blood that nobody labelled, while a series is tagged."""


@dataclass
class TaggedFrames:
    """The frames of one series, tagged.

    Attributes
    ----------
    cine, labels
        What is tagged, and labels of all its frames (1 LV blood pool, 2 LV myocardium, 3 RV blood pool) or None.
    to_rest
        (2, frames, slices, rows, columns) pixels from where tissue is to where it was at end diastole.
    plan
        Which frames of the cine make those of the series.
    acquisition, tissues
        The tags and their readout, and what fades them.
    contrast_source
        Where the contrast comes from, in words, for the record.
    """

    cine: Cine
    labels: NDArray[np.uint8] | None
    to_rest: Images
    plan: Resampling
    acquisition: TaggedAcquisition
    tissues: TissueValues
    contrast_source: str = ""

    def __post_init__(self) -> None:
        image, (width, height, _) = self.cine.image, self.cine.grid.spacing_mm
        self._guess: TissueLevels | None = None
        self._heart = moving_part(image, 0.5 * (width + height))
        self._labelled = self.labels is not None and bool(np.any(self.labels == 2))
        if self.labels is not None and self._labelled:
            # Readers label ventricles; the blood above and beside them flows as theirs does, and loses its tags too.
            apex_first = begins_at_apex(self.labels)
            more = steady(np.stack([
                np.zeros(labels.shape, bool) if level is None
                else unlabelled_blood(frame, labels, level, self._heart, (height, width), apex_first=apex_first)
                for frame, labels, level in zip(image, self.labels, self._levels_per_frame(), strict=True)
            ]))  # fmt: skip
            self.labels = np.where(more, _MORE_BLOOD, self.labels)
            beside = " and in the blood next to it" if more.any() else ""
            self.contrast_source = f"tissue by tissue where labelled{beside}, square root elsewhere"
            return
        self.labels = None if self.labels is None or not self.labels.any() else self.labels
        self._guess = guessed_levels(image[0], self._heart)
        self.contrast_source = "square root"
        if self._guess is not None:
            self.contrast_source += "; blood guessed from its brightness within the moving heart (no labels given)"

    def run(self, threads: int, progress: Progress | None) -> tuple[Images, NDArray[np.uint8] | None, Images]:
        """Images (frames, slices, rows, columns), their labels or None, and `to_rest` of the new frames."""
        slices, frames = self.plan.before.shape
        shape = (frames, *self.cine.grid.shape)
        image = np.empty(shape, np.float32)
        labels = None if self.labels is None else np.empty(shape, np.uint8)
        rest = np.empty((2, *shape), np.float32)
        patterns = [PlanarPattern.on_slice(self.acquisition.pattern, self.cine.grid, k) for k in range(slices)]
        levels = self._levels_per_frame()

        def one(frame: int) -> None:
            part, part_labels, part_rest = self._resampled(frame)
            tissue = self._tissue(part, part_labels, levels, frame)
            for k in range(slices):
                time = float(self.plan.times.times_ms[k, frame])
                states = tissue_states(self.acquisition, self.tissues, time)
                slice_tissue = TissueMap(tissue.amplitude[k], tissue.blood[k])
                image[frame, k] = render(
                    self.acquisition, patterns[k], states, slice_tissue, time, part_rest[:, k]
                )
            rest[:, frame] = part_rest
            if labels is not None and part_labels is not None:
                labels[frame] = np.where(part_labels == _MORE_BLOOD, 0, part_labels)

        with ThreadPoolExecutor(threads) as pool:
            for done, _ in enumerate(pool.map(one, range(frames))):
                if progress is not None:
                    progress((done + 1) / frames, f"tags of frame {done + 1} of {frames}")
        return self._scaled(image), labels, rest

    def _levels_per_frame(self) -> list[TissueLevels | None]:
        """Of every frame of the cine; frames whose labels are missing take those of the nearest frame that has them."""
        if self.labels is None or not self._labelled:
            return [self._guess] * len(self.cine.image)
        found = [
            labelled_levels(image, labels) for image, labels in zip(self.cine.image, self.labels, strict=True)
        ]
        known = [i for i, level in enumerate(found) if level is not None]
        if not known:
            return found
        return [found[min(known, key=lambda i: abs(i - t))] for t in range(len(found))]

    def _tissue(
        self, image: Images, labels: NDArray[np.uint8] | None, levels: list[TissueLevels | None], frame: int
    ) -> TissueMap:
        near = self.plan.before[:, frame]
        found = [levels[t] for t in near]
        if any(level is None for level in found):
            scale = np.percentile(self.cine.image[0], 75, axis=(-2, -1), keepdims=True)
            return TissueMap(np.sqrt(np.maximum(image, 0) / np.maximum(scale, 1e-6)), np.zeros_like(image))
        muscle = np.stack([level.muscle[k] for k, level in enumerate(found) if level is not None])
        blood = np.stack([level.blood[k] for k, level in enumerate(found) if level is not None])
        here = TissueLevels(muscle, blood)
        if labels is None or not self._labelled:
            # Without labels the square root holds everywhere; the guess only says which bright pixels are blood.
            split = take_apart(image, here, np.broadcast_to(self._heart, image.shape), None)
            outside = np.sqrt(np.maximum(image, 0) / muscle)
            return TissueMap(outside * (1 - split.blood) + split.amplitude * split.blood, split.blood)
        known, chamber = known_and_chamber(np.where(labels == _MORE_BLOOD, np.uint8(3), labels))
        return take_apart(image, here, known, chamber)

    def _resampled(self, frame: int) -> tuple[Images, NDArray[np.uint8] | None, Images]:
        """Image, labels and field of one new frame: taken over, or interpolated along the motion."""
        slices = len(self.plan.before)
        index = np.arange(slices)
        a, b, share = self.plan.before[:, frame], self.plan.after[:, frame], self.plan.share[:, frame]
        image_a, rest_a = self.cine.image[a, index], self.to_rest[:, a, index]
        labels_a = None if self.labels is None else self.labels[a, index]
        if not share.any():
            return image_a, labels_a, rest_a
        image_b, rest_b = self.cine.image[b, index], self.to_rest[:, b, index]
        w = share[:, None, None]
        rest = rest_a + w * (rest_b - rest_a)
        # What is now at y has the rest position y + rest(y), and was in frame a where y_a + rest_a(y_a) equals it:
        # between neighbouring frames the field hardly changes over the way from y to y_a.
        from_a, from_b = rest - rest_a, rest - rest_b
        image = (1 - w) * warp(image_a, from_a) + w * warp(image_b, from_b)
        if self.labels is None:
            return image, None, rest
        nearer_b = share > 0.5
        source = np.where(nearer_b[:, None, None], self.labels[b, index], self.labels[a, index])
        return image, warp_labels(source, np.where(nearer_b[:, None, None], from_b, from_a)), rest

    def _scaled(self, image: Images) -> Images:
        """In the units of the cine: untagged muscle is as bright as muscle was."""
        states = tissue_states(self.acquisition, self.tissues, 0.0)
        reference = abs(states.muscle[0]) or 1.0
        levels = [level for level in self._levels_per_frame() if level is not None]
        muscle = float(np.median(levels[0].muscle)) if levels else float(np.percentile(self.cine.image[0], 75))
        image *= np.float32(muscle / reference)
        return image
