"""Cine <-> volume sequence with its browser.

A cine becomes a ``vtkMRMLSequenceNode`` of scalar volumes whose numeric index is the time in ms, and a browser whose
proxy volume the slice views show. The times of a frame's own slices stay with it as an attribute, which
``.seq.nrrd`` keeps as well; the sidecar stays with the sequence, in the scene.
"""

import json
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.files.nrrd_times import MS_PER_UNIT, FrameAxis, frame_times
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.hierarchy import place_beside
from CMRSimExtension.slicer_bridge.scene import (
    get_attribute,
    new_node,
    require,
    sequences_logic,
    set_attribute,
)
from CMRSimExtension.slicer_bridge.volumes import (
    array_of_volume,
    fill_volume,
    grid_of_volume,
    in_marked_order,
    refuse_transformed,
    require_same_grid,
)

SLICE_TIMES = "SliceTimesMs"
SIDECAR = "Sidecar"
TIME_NAME, TIME_UNIT = "time", "ms"
FRAME_NAME = "frame"
PLAYBACK_FPS_LIMIT = 30.0
"""Slice views cannot follow much faster; a longer list of phases then simply plays slower than the heart beats."""


@dataclass(frozen=True)
class CineNodes:
    """The nodes of one cine in the scene.

    Attributes
    ----------
    sequence
        ``vtkMRMLSequenceNode`` of the frames.
    browser
        ``vtkMRMLSequenceBrowserNode`` that plays it.
    proxy
        Volume node that shows the selected frame.
    """

    sequence: Any
    browser: Any
    proxy: Any


def index_values(times_ms: NDArray[np.float64] | None, frames: int) -> tuple[list[str], str, str]:
    """Index value of each frame, index name and unit.

    `times_ms` is (slices, frames); the index is the mean over slices. Where no times are known, or their means do not
    rise from frame to frame, the index is the frame number and has no unit.
    """
    if times_ms is not None:
        means = np.asarray(times_ms, dtype=float).mean(axis=0)
        if np.all(np.diff(means) > 0):
            # repr is the shortest text that reads back as the same number.
            return [repr(round(float(mean), 6)) for mean in means], TIME_NAME, TIME_UNIT
    return [str(frame) for frame in range(frames)], FRAME_NAME, ""


HEART_HEADROOM = 1.25
"""Room above the heart's brightest blood, so that it does not saturate while fat near the coils may."""


def display_window(image: NDArray[np.floating], labels: NDArray[np.uint8] | None = None) -> tuple[float, float]:
    """(minimum, maximum) of the display window.

    From the 0.5th percentile of the whole cine to, where the heart is labelled, `HEART_HEADROOM` times the 99.5th
    percentile of the heart, as readers set it; else to that of the whole cine. One window for all frames keeps the
    brightness steady while the heart beats.
    """
    coarse = image[:, :, ::2, ::2]
    low, high = (float(value) for value in np.percentile(coarse, (0.5, 99.5)))
    heart = None if labels is None else labels[:, :, ::2, ::2] > 0
    if heart is not None and heart.any():
        high = min(high, HEART_HEADROOM * float(np.percentile(coarse[heart], 99.5)))
    return low, max(high, low + 1e-6)


def add_cine(cine: Cine, name: str, *, source: Any = None) -> CineNodes:
    """Show a cine as a new volume sequence.

    Parameters
    ----------
    cine
        Its image, grid, times and sidecar are taken; labels and motion have functions of their own.
    name
        Name of the sequence and of its proxy volume.
    source
        Node beside which the proxy volume is placed in the subject hierarchy; None for the scene's top level.

    Returns
    -------
    CineNodes
        The nodes; the browser shows the first frame.
    """
    frames = cine.image.shape[0]
    values, index_name, unit = index_values(cine.times_ms, frames)
    sequence = new_node("vtkMRMLSequenceNode", f"{name} sequence")
    sequence.SetIndexName(index_name)
    sequence.SetIndexUnit(unit)
    sequence.SetIndexType(slicer.vtkMRMLSequenceNode.NumericIndex)
    # The data node lives outside the scene: entering each frame there would redraw every view each time.
    frame_node = slicer.vtkMRMLScalarVolumeNode()
    frame_node.SetName(name)
    for frame, value in enumerate(values):
        fill_volume(frame_node, cine.image[frame], cine.grid)
        if cine.times_ms is not None:
            set_attribute(frame_node, SLICE_TIMES, json.dumps(cine.times_ms[:, frame].tolist()))
        sequence.SetDataNodeAtValue(frame_node, value)
    if cine.sidecar:
        set_attribute(sequence, SIDECAR, json.dumps(cine.sidecar))
    browser = new_node("vtkMRMLSequenceBrowserNode", f"{name} browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetIndexDisplayMode(slicer.vtkMRMLSequenceBrowserNode.IndexDisplayAsIndexValue)
    if unit == TIME_UNIT and frames > 1:
        step_ms = (float(values[-1]) - float(values[0])) / (frames - 1)
        browser.SetPlaybackRateFps(min(1000.0 / step_ms, PLAYBACK_FPS_LIMIT))
    proxy = show_frames(browser, sequence, name)
    proxy.CreateDefaultDisplayNodes()
    display = proxy.GetDisplayNode()
    if display is not None:
        low, high = display_window(cine.image, cine.labels)
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(low, high)
    if source is not None:
        place_beside(proxy, source)
    return CineNodes(sequence, browser, proxy)


def show_frames(browser: Any, sequence: Any, name: str) -> Any:
    """Make the browser's proxy node of `sequence` exist, named `name`, and return it."""
    # The proxy keeps its own name: one that changes with the frame would confuse every node selector.
    browser.SetOverwriteProxyName(sequence, False)
    sequences_logic().UpdateProxyNodesFromSequences(browser)
    proxy = browser.GetProxyNode(sequence)
    if proxy is None:
        raise RuntimeError(f"the sequence browser made no node for '{sequence.GetName()}'")
    proxy.SetName(slicer.mrmlScene.GenerateUniqueName(name))
    return proxy


def sequence_of(node: Any) -> Any:
    """The sequence a node stands for: itself, or the sequence whose proxy it is; None for a lone node."""
    if node is None or node.IsA("vtkMRMLSequenceNode"):
        return node
    browser = sequences_logic().GetFirstBrowserNodeForProxyNode(node)
    return None if browser is None else browser.GetSequenceNode(node)


def browser_of(sequence: Any) -> Any:
    """The first browser that plays a sequence, or None."""
    return sequences_logic().GetFirstBrowserNodeForSequenceNode(sequence)


def times_of_sequence(sequence: Any, slices: int) -> NDArray[np.float64] | None:
    """(slices, frames) times in ms, of each slice where the frames have them, else from the index; or None.

    The index is believed as that of a file is (`files.nrrd_times`): one that merely counts the frames, as it does in a
    sequence whose times nobody told, or lasts longer than any heartbeat, is no time, and a `CMRSimWarning` says so.
    """
    frames = sequence.GetNumberOfDataNodes()
    kept = [get_attribute(sequence.GetNthDataNode(frame), SLICE_TIMES) for frame in range(frames)]
    own = [json.loads(text) for text in kept if text is not None]
    if len(own) == frames and all(len(times) == slices for times in own):
        return np.array(own, dtype=float).T
    unit = sequence.GetIndexUnit()
    if unit.lower() not in MS_PER_UNIT:
        return None
    index = " ".join(sequence.GetNthIndexValue(frame) for frame in range(frames))
    found = frame_times(FrameAxis(unit, is_time=True), {"axis 0 index values": index}, frames)
    for note in found.notes:
        warnings.warn(f"sequence '{sequence.GetName()}': {note}", CMRSimWarning, stacklevel=2)
    return None if found.times_ms is None else np.tile(found.times_ms, (slices, 1))


def is_multivolume(node: Any) -> bool:
    """Whether a node keeps its frames as components of one image."""
    return bool(node.IsA("vtkMRMLMultiVolumeNode")) or node.GetAttribute("MultiVolume.FrameLabels") is not None


def cine_of_node(node: Any) -> Cine:
    """Read a cine from a volume node, a volume sequence or the proxy of one, or a MultiVolume.

    Returns
    -------
    Cine
        Image, grid, times where the index is a time in ms or s, and the sidecar where one was kept. A single volume
        gives a cine of one frame.

    Raises
    ------
    InputError
        If the node holds no greyscale volumes, stands under a transform, or its frames differ in geometry.
    """
    node = require(
        node, ("vtkMRMLScalarVolumeNode", "vtkMRMLSequenceNode", "vtkMRMLMultiVolumeNode"),
        "volume, volume sequence or MultiVolume")
    refuse_transformed(node)
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(
            f"'{node.GetName()}' is a label map, where an image is needed; choose the image, or convert the label map "
            "to a scalar volume if it is one (Volumes module)")
    if is_multivolume(node):
        return _cine_of_multivolume(node)
    sequence = sequence_of(node)
    if sequence is None:
        image = array_of_volume(node)[np.newaxis].astype(np.float32)
        return Cine(image=image, grid=grid_of_volume(node))
    frames = sequence.GetNumberOfDataNodes()
    if frames == 0:
        raise InputError(f"sequence '{sequence.GetName()}' is empty; choose one that holds volumes")
    grid: ImageGrid | None = None
    arrays = []
    for frame in range(frames):
        data = require(sequence.GetNthDataNode(frame), ("vtkMRMLScalarVolumeNode",), "sequence of volumes")
        frame_grid = grid_of_volume(data)
        if grid is None:
            grid = frame_grid
        require_same_grid(grid, frame_grid, f"frames 0 and {frame} of sequence '{sequence.GetName()}'")
        arrays.append(array_of_volume(data))
    assert grid is not None  # frames > 0
    grid, turned = in_marked_order(sequence.GetNthDataNode(0), grid)
    image = np.stack(arrays).astype(np.float32)
    sidecar = get_attribute(sequence, SIDECAR)
    return Cine(
        image=np.ascontiguousarray(image[:, ::-1]) if turned else image,
        grid=grid,
        times_ms=times_of_sequence(sequence, grid.shape[0]),
        sidecar={} if sidecar is None else json.loads(sidecar),
    )


def _cine_of_multivolume(node: Any) -> Cine:
    """A MultiVolume keeps its frames as components of one image and their times in an attribute."""
    image = node.GetImageData()
    if image is None:
        raise InputError(f"MultiVolume '{node.GetName()}' holds no image; load one into it or choose another volume")
    columns, rows, slices = image.GetDimensions()
    frames = image.GetNumberOfScalarComponents()
    # The node's class has no array function of Slicer's own outside the MultiVolume extensions.
    scalars = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(slices, rows, columns, frames)
    times = None
    labels = node.GetAttribute("MultiVolume.FrameLabels")
    factor = MS_PER_UNIT.get(node.GetAttribute("MultiVolume.FrameIdentifyingDICOMTagUnits") or "")
    if labels and factor is not None:
        values = np.array([float(value) for value in labels.split(",")]) * factor
        if len(values) == frames:
            times = np.tile(values, (slices, 1))
    return Cine(
        image=np.ascontiguousarray(np.moveaxis(scalars, -1, 0), dtype=np.float32),
        grid=grid_of_volume(node), times_ms=times)
