"""One slice at one moment, shown while the sliders move."""

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Anatomy
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.planning import plan
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.slicer_bridge.scene import new_node
from CMRSimExtension.slicer_bridge.views import show_volume
from CMRSimExtension.slicer_bridge.volumes import fill_volume

PREVIEW_SUB_SAMPLES = 2
"""Fewer points a voxel than a scan takes: a preview is for contrast and position, and has to follow the slider."""
PREVIEW_NAME = "CMRSimulate preview"


def preview_slice(
    anatomy: Anatomy, protocol: Protocol, seed: int, plane: str, slice_share: float, cardiac_phase: float
) -> tuple[NDArray[np.float32], ImageGrid]:
    """Scan one slice.

    Parameters
    ----------
    slice_share
        Where in the planned stack: 0 the most basal slice, 1 the last one.
    cardiac_phase
        Moment in [0, 1), rounded to a frame of the protocol.

    Returns
    -------
    image, grid
        (1, rows, columns) and its geometry, RAS.
    """
    from CMRSimExtension.simulation.simulate import simulate

    stack = plan(anatomy.heart_frame, protocol, plane)
    index = round(slice_share * (stack.shape[0] - 1))
    affine = np.array(stack.affine_ras)
    affine[:3, 3] += index * affine[:3, 2]
    grid = ImageGrid(affine, (1, *stack.shape[1:]), stack.slice_thickness_mm)
    frame = min(int(cardiac_phase * protocol.phases), protocol.phases - 1)
    # A scan has its phases evenly over the heartbeat; the fewest that contain the wanted one cost least.
    phases = next(
        count for count in range(1, protocol.phases + 1)
        if protocol.phases % count == 0 and frame % (protocol.phases // count) == 0)
    cine = simulate(
        anatomy, protocol.replace(phases=phases), seed, grid=grid, truth=(), sub_samples=PREVIEW_SUB_SAMPLES)
    return cine.image[frame * phases // protocol.phases], grid


class PreviewVolume:
    """A volume that shows the preview, is offered in no selector and saved with no scene."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}
        self._volume: Any = None

    def show(self, image: NDArray[np.float32], grid: ImageGrid) -> Any:
        """Show an image; returns the volume node."""
        first = self._volume is None
        if first:
            for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
                self._before[composite.GetID()] = composite.GetBackgroundVolumeID()
            self._volume = new_node("vtkMRMLScalarVolumeNode", PREVIEW_NAME)
            self._volume.SetHideFromEditors(True)
            self._volume.SetSaveWithScene(False)
        fill_volume(self._volume, image, grid)
        if first:
            self._volume.CreateDefaultDisplayNodes()
            display = self._volume.GetDisplayNode()
            if display is not None:
                display.SetSaveWithScene(False)
        show_volume(self._volume, fit=first)
        return self._volume

    def remove(self) -> None:
        """Take the volume out of the scene; the slice views show again what they showed before."""
        if self._volume is None:
            return
        for node_id, background in self._before.items():
            composite = slicer.mrmlScene.GetNodeByID(node_id)
            if composite is not None and composite.GetBackgroundVolumeID() == self._volume.GetID():
                composite.SetBackgroundVolumeID(background)
        display = self._volume.GetDisplayNode()
        slicer.mrmlScene.RemoveNode(self._volume)
        if display is not None and slicer.mrmlScene.IsNodePresent(display):
            slicer.mrmlScene.RemoveNode(display)
        self._volume = None
