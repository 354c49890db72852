"""Real MRML nodes from slicer-core, and small oblique cines with everything that can go wrong in geometry."""

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core (pip extra 'slicer')")

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.sequences import add_cine


@pytest.fixture
def scene():
    """A new scene of real nodes, and `slicer.mrmlScene` is it."""
    from CMRSimExtension.slicer_bridge.bare_scene import BareScene

    bare = BareScene()
    yield bare.scene
    bare.scene.Clear(True)


@pytest.fixture(params=["right-handed", "left-handed"])
def grid(request) -> ImageGrid:
    """Oblique, anisotropic, not square, with a gap between slices; of either handedness, as short-axis stacks are."""
    rng = np.random.default_rng(5)
    directions = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    directions *= np.sign(np.linalg.det(directions)) * (1 if request.param == "right-handed" else -1)
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag([1.3, 1.45, 9.6])
    affine[:3, 3] = (-31.25, 12.5, 7.125)
    return ImageGrid(affine, (6, 40, 30), slice_thickness_mm=8.0)


@pytest.fixture
def labels(grid) -> np.ndarray:
    """Five frames of a crude beating heart; the RV is absent from frame 3."""
    frames = np.zeros((5, *grid.shape), dtype=np.uint8)
    for frame, radius in enumerate((6, 5, 4, 4, 5)):
        rows, columns = np.indices(grid.shape[1:])
        distance = np.hypot(rows - 20, columns - 18)
        frames[frame, 1:5, distance < radius + 3] = 2
        frames[frame, 1:5, distance < radius] = 1
        if frame != 3:
            frames[frame, 2:4, 16:24, 2:7] = 3
    return frames


@pytest.fixture
def cine(grid, labels) -> Cine:
    """Image, labels, motion and per-slice times that differ between slices, as heartbeats do."""
    rng = np.random.default_rng(6)
    frames = len(labels)
    times = np.arange(frames)[None, :] * np.linspace(33.1, 35.9, grid.shape[0])[:, None]
    return Cine(
        image=rng.random((frames, *grid.shape), dtype=np.float32) * 900,
        grid=grid,
        times_ms=times,
        labels=labels,
        displacement_mm=rng.normal(size=(frames, *grid.shape, 3)).astype(np.float32),
        sidecar={"seed": 6, "protocol": {"name": "test; with: odd % characters \"quoted\""}},
    )


@pytest.fixture
def shown(scene, cine):
    """The cine in the scene."""
    return add_cine(cine, "Cine")
