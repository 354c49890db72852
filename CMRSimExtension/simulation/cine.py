"""What one simulated (or read) cine is: images, truths, geometry, times and the record that makes them again."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.scanner.geometry import ImageGrid


@dataclass(frozen=True)
class Cine:
    """A cine stack; slice 0 is the most basal, frame 0 the R wave.

    Attributes
    ----------
    image
        (frames, slices, rows, columns) float32 magnitude.
    grid
        Geometry of every frame.
    times_ms
        (slices, frames) time of each image after the R wave of its own heartbeat, or None where nothing is known.
    labels
        (frames, slices, rows, columns) uint8 clinical labels (1 LV blood, 2 LV myocardium, 3 RV blood), or None.
    anatomy
        (frames, slices, rows, columns) uint8 `Structure` labels, or None.
    fractions
        (tissues, frames, slices, rows, columns) float32 in [0, 1], summing to one over the first axis: how much of
        each voxel each `Tissue` fills; or None.
    displacement_mm
        (frames, slices, rows, columns, 3) float32, RAS: rest position minus present position, so that adding it to
        a voxel's centre gives where its tissue was at end diastole; or None.
    function
        True function, or None where it is not known.
    heartbeats_ms
        (slices,) length of the heartbeat each slice was acquired in (DICOM's Nominal Interval), or None.
    slice_origins_mm
        (slices, 3) RAS position of the first voxel of each slice, only where the slices are not evenly spaced, so that
        `grid`, which then carries their mean distance, does not say it; None where `grid` is exact.
    sidecar
        JSON-able record: every drawn parameter, seed, protocol, versions. It makes the same cine again.
    """

    image: NDArray[np.float32]
    grid: ImageGrid
    times_ms: NDArray[np.float64] | None = None
    labels: NDArray[np.uint8] | None = None
    anatomy: NDArray[np.uint8] | None = None
    fractions: NDArray[np.float32] | None = None
    displacement_mm: NDArray[np.float32] | None = None
    function: CardiacFunction | None = None
    heartbeats_ms: NDArray[np.float64] | None = None
    slice_origins_mm: NDArray[np.float64] | None = None
    sidecar: dict[str, Any] = field(default_factory=dict)
