"""The comparison of two segmentations between CMRSegment's parameters and the scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.slicer_bridge.label_tables import is_label_volume, structures_of_node
from CMRSimExtension.slicer_bridge.segmentations import labels_of_node, segmented_frames
from CMRSimExtension.slicer_bridge.segmenting import current_frame
from CMRSimExtension.slicer_bridge.tables import CurveNodes, add_curves, add_table


@dataclass(frozen=True)
class ComparisonNodes:
    """Table of Dice and HD95, and Dice over the frames as a chart, where there are two frames or more."""

    table: Any
    curves: CurveNodes | None


def frames_to_compare(predicted: Any, reference: Any, label_map: str) -> dict[str, Any]:
    """``predicted``, ``reference`` (frames, slices, rows, columns) and more that `jobs.compare` takes.

    Frames that were not segmented are left out. The reference is put on the predicted one's grid; if it is a label map
    volume, `label_map` says what its numbers mean. A single segmentation is compared with the frame of the sequence
    that is on show.

    Raises
    ------
    InputError
        If either is missing, they have different numbers of frames, or the frame on show was not segmented.
    """
    found, grid = labels_of_node(predicted)
    truth, _ = structures_of_node(reference, label_map, grid)
    frames = segmented_frames(predicted, len(found))
    if len(truth) == 1 and len(found) > 1:
        shown = current_frame(predicted)
        if shown not in frames:
            raise InputError(
                f"frame {shown}, which is on show, is not segmented in '{predicted.GetName()}'; show one of the "
                f"frames {', '.join(map(str, frames))}, or segment all")
        frames = [shown]
        found = found[frames]
    elif len(found) == 1 and len(truth) > 1:
        truth = truth[[current_frame(reference)]]
    elif len(found) == len(truth):
        found, truth = found[frames], truth[frames]
    if len(found) != len(truth):
        raise InputError(
            f"'{predicted.GetName()}' has {len(found)} frames and '{reference.GetName()}' has {len(truth)}; choose a "
            "reference of the same cine")
    dx, dy, dz = grid.spacing_mm
    return {
        "predicted": found, "reference": truth, "spacing_mm": [dz, dy, dx], "frames": frames,
        "labels_map": label_map if is_label_volume(reference) else None}


def add_comparison(rows: Sequence[dict[str, Any]], name: str, source: Any) -> ComparisonNodes:
    """Dice and HD95 per structure and frame, rounded for reading, beside the segmentation `source`."""
    table = add_table(
        name,
        {
            "Frame": [float(row["frame"]) for row in rows],
            "Structure": [str(row["structure"]) for row in rows],
            "Dice": [round(float(row["dice"]), 4) for row in rows],
            "HD95 (mm)": [round(float(row["hd95_mm"]), 2) for row in rows],
        },
        source=source, description="Comparison with a reference segmentation.")
    frames = sorted({int(row["frame"]) for row in rows})
    if len(frames) < 2:
        return ComparisonNodes(table, None)
    dice = {(int(row["frame"]), str(row["structure"])): float(row["dice"]) for row in rows}
    structures = list(dict.fromkeys(str(row["structure"]) for row in rows))
    curves = add_curves(
        frames, {f"{what} Dice": [dice.get((frame, what), float("nan")) for frame in frames] for what in structures},
        f"{name} over frames", source=source, time_title="Frame", value_title="Dice", legend=structures)
    return ComparisonNodes(table, curves)
