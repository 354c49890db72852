"""A small cine of rings, and what the tests of CMRSegment's panel do with it."""

from dataclasses import asdict

import numpy as np

from CMRSimExtension.evaluation.function import function_from_labels
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames

CHILD_SECONDS = 180
"""A child imports torch and runs a tiny network; only a hang takes this long."""


def rings() -> Cine:
    """Three frames of a bright pool in a grey ring, with a bright crescent beside it; oblique."""
    rng = np.random.default_rng(2)
    directions = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag([2.0, 2.0, 9.0])
    shape = (3, 72, 80)
    rows, columns = np.indices(shape[1:])
    distance = np.hypot(rows - 36, columns - 42)
    labels = np.zeros((3, *shape), dtype=np.uint8)
    for frame, radius in enumerate((11, 7, 9)):
        labels[frame, :, distance < radius + 5] = 2
        labels[frame, :, distance < radius] = 1
        labels[frame, :, 28:44, 14:24] = 3
    image = np.choose(labels, [60.0, 400.0, 150.0, 380.0]) + rng.normal(0, 10, labels.shape)
    times = np.tile([0.0, 300.0, 600.0], (3, 1))
    return Cine(image.astype(np.float32), ImageGrid(affine, shape, 8.0), times_ms=times, labels=labels)


def apply(panel, host):
    """Press Apply and wait for the child."""
    panel.ui.applyButton.click()
    assert host.run_until(lambda: not panel.job.running, CHILD_SECONDS)


def reference_of(cine, shown):
    """The cine's own labels as a segmentation beside it."""
    return add_label_frames(cine.labels, cine.grid, "Reference", shown).proxy


def found(cine: Cine, **others) -> dict:
    """What the ``segment`` job gives when it finds what is there."""
    dx, dy, dz = cine.grid.spacing_mm
    curves = function_from_labels(cine.labels, (dz, dy, dx), height_cm=180.0, weight_kg=80.0)
    return {
        "labels": cine.labels, "frames": [0, 1, 2], "curves": asdict(curves), "normal_ranges": {}, "maps_percent": {},
        "notes": []} | others
