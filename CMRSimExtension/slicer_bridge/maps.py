"""Maps of what a network is sure of, as volumes that keep step with their cine."""

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.hierarchy import place_beside
from CMRSimExtension.slicer_bridge.scene import new_node
from CMRSimExtension.slicer_bridge.sequences import CineNodes, show_frames
from CMRSimExtension.slicer_bridge.volumes import fill_volume

COLOURS = "vtkMRMLColorTableNodeFileViridis.txt"


def add_map(
    percent: NDArray[np.uint8], grid: ImageGrid, name: str, source: Any, cine: CineNodes | None
) -> Any:
    """Show a map as a volume, or as a volume sequence in the cine's browser; returns the volume node.

    Parameters
    ----------
    percent
        (frames, slices, rows, columns), 0 to 100: whole percents are all that an eye tells apart, in a quarter of the
        memory.
    source
        Volume node that it is placed beside.
    cine
        Nodes of the cine; None for a single volume.
    """
    if cine is None:
        proxy = new_node("vtkMRMLScalarVolumeNode", name)
        fill_volume(proxy, percent[0], grid)
    else:
        sequence = new_node("vtkMRMLSequenceNode", f"{name} sequence")
        sequence.CopySequenceIndex(cine.sequence)
        sequence.RemoveAllDataNodes()
        frame_node = slicer.vtkMRMLScalarVolumeNode()
        frame_node.SetName(name)
        for frame, values in enumerate(percent):
            fill_volume(frame_node, values, grid)
            sequence.SetDataNodeAtValue(frame_node, cine.sequence.GetNthIndexValue(frame))
        cine.browser.AddSynchronizedSequenceNode(sequence)
        proxy = show_frames(cine.browser, sequence, name)
    proxy.CreateDefaultDisplayNodes()
    display = proxy.GetDisplayNode()
    if display is not None:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0.0, 100.0)
        if slicer.mrmlScene.GetNodeByID(COLOURS) is not None:  # without the application there are no colour tables
            display.SetAndObserveColorNodeID(COLOURS)
    place_beside(proxy, source)
    return proxy
