"""CMRSimulate's work between its parameters and the scene."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.hierarchy import place_in_folder
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames
from CMRSimExtension.slicer_bridge.sequences import CineNodes, add_cine
from CMRSimExtension.slicer_bridge.tables import (
    CurveNodes,
    add_function_table,
    add_volume_curves,
    volume_curves_ml,
)
from CMRSimExtension.slicer_bridge.transforms import add_motion


@dataclass(frozen=True)
class SimulationNodes:
    """What one simulated subject adds to the scene; what was not asked for is None."""

    cine: CineNodes
    labels: CineNodes | None
    anatomy: CineNodes | None
    motion: CineNodes | None
    function: Any
    curves: CurveNodes | None


def voxel_volume_ml(cine: Cine) -> float:
    """Volume of one voxel with its share of the gap to the next slice, in ml: slice distance, not thickness."""
    return float(abs(np.linalg.det(cine.grid.affine_ras[:3, :3]))) / 1000.0


def frame_axis(cine: Cine) -> tuple[list[float], str]:
    """Abscissa of a curve over frames, and its title."""
    frames = cine.image.shape[0]
    if cine.times_ms is None:
        return [float(frame) for frame in range(frames)], "Frame"
    return [float(time) for time in cine.times_ms.mean(axis=0)], "Time (ms)"


def add_simulation(cine: Cine, name: str) -> SimulationNodes:
    """Show a simulated cine with all its truths, gathered in one folder of the subject hierarchy."""
    nodes = add_cine(cine, name)
    labels = anatomy = motion = curves = function = None
    shown = [nodes.proxy]
    if cine.labels is not None:
        labels = add_label_frames(cine.labels, cine.grid, f"{name} heart", nodes)
        shown.append(labels.proxy)
        if cine.labels.shape[0] > 1:
            times, title = frame_axis(cine)
            curves = add_volume_curves(
                times, volume_curves_ml(cine.labels, voxel_volume_ml(cine)), f"{name} volume curves",
                source=nodes.proxy, time_title=title)
            shown += [curves.table, curves.chart, *curves.series]
    if cine.anatomy is not None:
        anatomy = add_label_frames(cine.anatomy, cine.grid, f"{name} anatomy", nodes)
        shown.append(anatomy.proxy)
    if cine.displacement_mm is not None:
        motion = add_motion(cine.displacement_mm, cine.grid, f"{name} motion", nodes)
        shown.append(motion.proxy)
    if cine.function is not None:
        function = add_function_table(cine.function, f"{name} true function", source=nodes.proxy)
        shown.append(function)
    place_in_folder(shown, name)
    return SimulationNodes(nodes, labels, anatomy, motion, function, curves)
