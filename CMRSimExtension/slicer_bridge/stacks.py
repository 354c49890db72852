"""Several single-slice cines, as DICOM import leaves them, put together to one short-axis stack by position."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
import vtk

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.hierarchy import item_of
from CMRSimExtension.slicer_bridge.scene import sequences_logic
from CMRSimExtension.slicer_bridge.sequences import browser_of, cine_of_node, sequence_of

PARALLEL_COSINE = 0.9999
"""Slices that are tilted by more than 0.8 degrees belong to another stack."""
EVEN_SPACING_MM = 0.5
"""Slice distances may differ by this much: operators' rounding, not a missing slice."""
OFF_GRID_MM = 1.0
"""No slice may lie farther from where the even stack has it: more is seen as a shift between slices."""


def sequences_beside(node: Any) -> list[Any]:
    """Proxy volumes of all volume sequences under the same subject hierarchy parent as `node`, itself included."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    children = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetItemParent(item_of(node)), children, False)
    beside = [hierarchy.GetItemDataNode(children.GetId(index)) for index in range(children.GetNumberOfIds())]
    return [
        other for other in beside
        if other is not None and other.IsA("vtkMRMLScalarVolumeNode") and not other.IsA("vtkMRMLLabelMapVolumeNode")
        and sequences_logic().GetFirstBrowserNodeForProxyNode(other) is not None]


def stack_of_node(node: Any) -> Cine:
    """The stack that a sequence, or its proxy volume, belongs to: all sequences beside it that are parallel to it.

    Raises
    ------
    InputError
        If `node` shows no sequence, there is no other parallel one, or they make no regular stack.
    """
    sequence = sequence_of(node)
    if sequence is None:
        raise InputError(
            f"'{node.GetName()}' is a single volume; a stack is put together from sequences. Untick 'stack', or choose "
            "the volume of a sequence")
    if node is sequence:  # it stands in no study or folder; its volume does
        browser = browser_of(sequence)
        if browser is None:
            raise InputError(
                f"sequence '{node.GetName()}' is shown by no browser, so nothing stands beside it; show it (Sequences "
                "module), or untick 'stack'")
        node = browser.GetProxyNode(sequence)
    first = cine_of_node(node)
    normal = _normal(first.grid)
    cines = []
    for other in sequences_beside(node):
        cine = first if other is node else cine_of_node(other)
        same_size = cine.grid.shape[1:] == first.grid.shape[1:]
        if same_size and abs(float(_normal(cine.grid) @ normal)) > PARALLEL_COSINE:
            cines.append(cine)
    if len(cines) < 2:
        raise InputError(
            f"there is no sequence parallel to '{node.GetName()}' beside it; put the series of the stack under one "
            "study or folder (Data module), or untick 'stack'")
    return assemble(cines)


def _normal(grid: ImageGrid) -> np.ndarray:
    columns, rows = grid.affine_ras[:3, 0], grid.affine_ras[:3, 1]
    normal = np.cross(columns, rows)
    return np.asarray(normal / np.linalg.norm(normal))


def assemble(cines: Sequence[Cine]) -> Cine:
    """One cine of parallel ones, ordered by position along their common normal.

    Parameters
    ----------
    cines
        Each of one or more slices, with the same frames and in-plane sampling.

    Raises
    ------
    InputError
        If they differ in frames, pixels or orientation, two lie at one position, a slice is missing between them, or
        they do not stand straight above one another.
    """
    frames = {len(cine.image) for cine in cines}
    if len(frames) > 1:
        raise InputError(f"the series have different numbers of frames ({sorted(frames)}); choose series of one stack")
    first = cines[0].grid
    slices = []
    for cine in cines:
        step = cine.grid.affine_ras
        if not np.allclose(step[:3, :2], first.affine_ras[:3, :2], atol=1e-3):
            raise InputError(
                "the series differ in orientation or pixel spacing; choose series of one stack, or untick 'stack'")
        for index in range(cine.grid.shape[0]):
            origin = step[:3, 3] + index * step[:3, 2]
            times = None if cine.times_ms is None else cine.times_ms[index]
            slices.append((float(origin @ _normal(first)), origin, cine.image[:, index], times))
    slices.sort(key=lambda entry: entry[0])
    positions = np.array([entry[1] for entry in slices])
    gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    if gaps.min() < EVEN_SPACING_MM:
        raise InputError(f"two series lie at the same position (within {gaps.min():.2f} mm); remove the repeated one")
    if gaps.max() - gaps.min() > EVEN_SPACING_MM:
        raise InputError(
            f"slice distances from {gaps.min():.2f} to {gaps.max():.2f} mm: a slice is missing between the series or "
            "one belongs to another stack; put only the series of one even stack beside each other")
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    away = np.linalg.norm(positions - (positions[0] + np.arange(len(slices))[:, None] * step), axis=1)
    slant = float(step @ _normal(first) / np.linalg.norm(step))
    if away.max() > OFF_GRID_MM or slant < PARALLEL_COSINE:
        raise InputError(
            f"the slices do not stand straight above one another (up to {away.max():.2f} mm beside the line from the "
            f"first to the last, which is {np.degrees(np.arccos(min(slant, 1.0))):.1f} degrees off their normal); put "
            "only the series of one stack beside each other, or segment them one by one")
    affine = np.array(first.affine_ras)
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    known = [entry[3] for entry in slices]
    return Cine(
        image=np.stack([entry[2] for entry in slices], axis=1),
        grid=ImageGrid(affine, (len(slices), *first.shape[1:]), first.slice_thickness_mm),
        times_ms=None if any(times is None for times in known) else np.stack([t for t in known if t is not None]),
    )
