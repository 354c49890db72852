"""True displacement <-> grid transforms.

The library's displacement maps a present position to where its tissue was at end diastole. As a MRML transform *from
parent* that is exactly what resampling wants: anything drawn at end diastole (image, segmentation, model, markups) that
is put under the transform of a frame appears where it is in that frame, and under the transform sequence it beats.
"""

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.hierarchy import place_beside
from CMRSimExtension.slicer_bridge.scene import get_attribute, new_node, require
from CMRSimExtension.slicer_bridge.sequences import CineNodes, sequence_of, show_frames
from CMRSimExtension.slicer_bridge.volumes import THICKNESS, in_marked_order, mark_slices, refuse_transformed


def fill_transform(node: Any, displacement_mm: NDArray[np.floating], grid: ImageGrid) -> None:
    """Put one frame's displacement into a grid transform node.

    Parameters
    ----------
    displacement_mm
        (slices, rows, columns, 3), RAS, rest position minus present position.
    grid
        Geometry, RAS.

    Raises
    ------
    InputError
        If the field does not fit the grid, or the grid has one slice only (a grid transform needs a volume).
    """
    if displacement_mm.shape != (*grid.shape, 3):
        raise InputError(
            f"a displacement of shape {displacement_mm.shape} does not fit a grid of shape {grid.shape} with 3 "
            "components")
    if min(grid.shape) < 2:
        raise InputError(
            f"a grid transform needs at least 2 voxels along each axis, this grid has {grid.shape}; simulate two or "
            "more slices to get motion")
    slices, rows, columns = grid.shape
    image = vtk.vtkImageData()
    image.SetDimensions(columns, rows, slices)
    image.SetOrigin(*grid.affine_ras[:3, 3])
    image.SetSpacing(*grid.spacing_mm)
    vectors = numpy_to_vtk(
        np.ascontiguousarray(displacement_mm, dtype=np.float32).reshape(-1, 3), deep=True, array_type=vtk.VTK_FLOAT)
    vectors.SetName("ImageScalars")
    image.GetPointData().SetScalars(vectors)
    directions = vtk.vtkMatrix4x4()
    for axis in range(3):
        for row in range(3):
            directions.SetElement(row, axis, float(grid.affine_ras[row, axis] / grid.spacing_mm[axis]))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    transform.SetGridDirectionMatrix(directions)
    transform.SetInterpolationModeToLinear()
    node.SetAndObserveTransformFromParent(transform)
    mark_slices(node, grid)


def displacement_of_transform(node: Any) -> tuple[NDArray[np.float32], ImageGrid]:
    """(slices, rows, columns, 3) displacement in mm, RAS, and its grid, of a grid transform node.

    Raises
    ------
    InputError
        If the node holds no displacement grid.
    """
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False)
    image = None if transform is None else transform.GetDisplacementGrid()
    if image is None:
        raise InputError(
            f"transform '{node.GetName()}' holds no displacement grid; choose a grid transform (or convert it in the "
            "Transforms module)")
    columns, rows, slices = image.GetDimensions()
    directions = transform.GetGridDirectionMatrix()
    affine = np.eye(4)
    for axis in range(3):
        for row in range(3):
            direction = directions.GetElement(row, axis) if directions is not None else float(row == axis)
            affine[row, axis] = direction * image.GetSpacing()[axis]
    affine[:3, 3] = image.GetOrigin()
    field = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(slices, rows, columns, 3)
    thickness = get_attribute(node, THICKNESS)
    grid = ImageGrid(
        affine_ras=affine, shape=(slices, rows, columns),
        slice_thickness_mm=image.GetSpacing()[2] if thickness is None else float(thickness))
    displacement = (field * transform.GetDisplacementScale() + transform.GetDisplacementShift()).astype(np.float32)
    grid, turned = in_marked_order(node, grid)
    return displacement[::-1] if turned else displacement, grid


def add_motion(displacement_mm: NDArray[np.floating], grid: ImageGrid, name: str, cine: CineNodes) -> CineNodes:
    """Displacement frames as a transform sequence in the cine's browser.

    Parameters
    ----------
    displacement_mm
        (frames, slices, rows, columns, 3), RAS, rest position minus present position.

    Raises
    ------
    InputError
        If the frames are not as many as the cine's, or do not fit the grid.
    """
    count = cine.sequence.GetNumberOfDataNodes()
    if len(displacement_mm) != count:
        raise InputError(f"{len(displacement_mm)} displacement frames do not fit a cine of {count} frames")
    sequence = new_node("vtkMRMLSequenceNode", f"{name} sequence")
    sequence.CopySequenceIndex(cine.sequence)
    sequence.RemoveAllDataNodes()
    for frame in range(count):
        # The class that Slicer's reader of transform sequences makes: a node of another could not show its frames.
        node = slicer.vtkMRMLTransformNode()
        node.SetName(name)
        fill_transform(node, displacement_mm[frame], grid)
        sequence.SetDataNodeAtValue(node, cine.sequence.GetNthIndexValue(frame))
    cine.browser.AddSynchronizedSequenceNode(sequence)
    proxy = show_frames(cine.browser, sequence, name)
    place_beside(proxy, cine.proxy)
    return CineNodes(sequence, cine.browser, proxy)


def displacement_of_node(node: Any) -> tuple[NDArray[np.float32], ImageGrid]:
    """(frames, slices, rows, columns, 3) displacement of a grid transform, its sequence, or the proxy of one.

    Raises
    ------
    InputError
        If the node holds no displacement grids, or stands under a transform itself.
    """
    node = require(node, ("vtkMRMLTransformNode", "vtkMRMLSequenceNode"), "grid transform or a sequence of them")
    refuse_transformed(node)
    sequence = sequence_of(node)
    nodes = [node] if sequence is None else [
        sequence.GetNthDataNode(frame) for frame in range(sequence.GetNumberOfDataNodes())]
    fields = [displacement_of_transform(frame) for frame in nodes]
    if not fields:
        raise InputError(f"sequence '{node.GetName()}' is empty; choose one that holds transforms")
    return np.stack([field for field, _ in fields]), fields[0][1]
