"""Volume nodes <-> arrays and grids.

Our arrays are ``(slices, rows, columns)``, which is the (k, j, i) order of Slicer's volume arrays, and our affine maps
``(i, j, k)`` to RAS at voxel centres, which is the volume's IJK to RAS matrix: nothing is flipped or reordered, so the
geometry stays exact for any obliqueness.
"""

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.scene import get_attribute, set_attribute

THICKNESS = "SliceThicknessMm"
FIRST_SLICE = "FirstSliceRas"
"""Where slice 0 lies. Slicer's readers of sequences turn a left-handed stack of slices round (same voxels at the same
places, last slice first), and a short-axis stack from base to apex is left-handed as often as not."""
SAME_GEOMETRY_MM = 1e-3
"""Two grids whose voxel centres differ by less are the same: DICOM's decimal strings carry about 1e-5 mm."""


def to_vtk_matrix(matrix: NDArray[np.floating]) -> vtk.vtkMatrix4x4:
    """A (4, 4) array as VTK's matrix."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=float).ravel().tolist())
    return result


def to_array(matrix: vtk.vtkMatrix4x4) -> NDArray[np.float64]:
    """VTK's matrix as a (4, 4) array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def refuse_transformed(node: Any) -> None:
    """Raise an `InputError` if a node stands under a transform: its voxels lie elsewhere than its own geometry says.

    For a sequence this has to be asked of its proxy, which the user has moved; the frames know nothing of it.
    """
    if node.IsA("vtkMRMLTransformableNode") and node.GetParentTransformNode() is not None:
        raise InputError(
            f"'{node.GetName()}' stands under the transform '{node.GetParentTransformNode().GetName()}'; take it out "
            "of the transform, or harden the transform if it is no sequence (Transforms module), and try again")


def grid_of_volume(volume: Any) -> ImageGrid:
    """The grid of a volume node, in RAS, with its parent transform not applied.

    Raises
    ------
    InputError
        If the node holds no image, or stands under a transform (whose effect the grid could not hold).
    """
    image = volume.GetImageData()
    if image is None or min(image.GetDimensions()) < 1:
        raise InputError(f"volume '{volume.GetName()}' holds no image; load one into it or choose another volume")
    refuse_transformed(volume)
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    columns, rows, slices = image.GetDimensions()
    thickness = get_attribute(volume, THICKNESS)
    return ImageGrid(
        affine_ras=to_array(matrix),
        shape=(slices, rows, columns),
        slice_thickness_mm=volume.GetSpacing()[2] if thickness is None else float(thickness),
    )


def array_of_volume(volume: Any) -> NDArray[Any]:
    """(slices, rows, columns) copy of a scalar volume's voxels.

    Raises
    ------
    InputError
        If the volume has several components (a colour image).
    """
    image = volume.GetImageData()
    if image is None:
        raise InputError(f"volume '{volume.GetName()}' holds no image; load one into it or choose another volume")
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(
            f"volume '{volume.GetName()}' has {image.GetNumberOfScalarComponents()} components a voxel, so it is a "
            "colour or vector image; choose a greyscale volume")
    # A copy, because the node may be shown, edited or deleted while the array is still in use.
    array: NDArray[Any] = np.array(slicer.util.arrayFromVolume(volume))
    return array


def fill_volume(volume: Any, array: NDArray[Any], grid: ImageGrid) -> None:
    """Put an array and its geometry into a volume node.

    Raises
    ------
    InputError
        If the array's shape is not the grid's, or Slicer cannot hold its type (bool, int64).
    """
    if array.shape != grid.shape:
        raise InputError(f"an array of shape {array.shape} does not fit a grid of shape {grid.shape}")
    if array.dtype == np.bool_ or array.dtype.itemsize == 8 and array.dtype.kind in "iu":
        raise InputError(f"a volume cannot hold {array.dtype} voxels; convert them to uint8, int16 or float32")
    slicer.util.updateVolumeFromArray(volume, np.ascontiguousarray(array))
    volume.SetIJKToRASMatrix(to_vtk_matrix(grid.affine_ras))
    mark_slices(volume, grid)


def mark_slices(node: Any, grid: ImageGrid) -> None:
    """Note on a node what its geometry alone does not keep: slice thickness, and which slice is the first."""
    set_attribute(node, THICKNESS, repr(float(grid.slice_thickness_mm)))
    set_attribute(node, FIRST_SLICE, " ".join(repr(float(value)) for value in grid.affine_ras[:3, 3]))


def in_marked_order(node: Any, grid: ImageGrid) -> tuple[ImageGrid, bool]:
    """The grid with the slice first that was first when `mark_slices` noted it, and whether that turns the slices."""
    marked = get_attribute(node, FIRST_SLICE)
    if marked is None:
        return grid, False
    first = np.array([float(value) for value in marked.split()])
    last = grid.affine_ras[:3, 3] + (grid.shape[0] - 1) * grid.affine_ras[:3, 2]
    if np.linalg.norm(last - first) > SAME_GEOMETRY_MM or np.allclose(last, grid.affine_ras[:3, 3]):
        return grid, False
    affine = np.array(grid.affine_ras)
    affine[:3, 3], affine[:3, 2] = last, -affine[:3, 2]
    return ImageGrid(affine, grid.shape, grid.slice_thickness_mm), True


def same_grid(first: ImageGrid, second: ImageGrid) -> bool:
    """Whether two grids have the same voxels, to `SAME_GEOMETRY_MM` at the corner that differs most."""
    if first.shape != second.shape:
        return False
    slices, rows, columns = first.shape
    corners = np.array(
        [[i, j, k, 1] for i in (0, columns - 1) for j in (0, rows - 1) for k in (0, slices - 1)], dtype=float)
    difference = corners @ (first.affine_ras - second.affine_ras).T
    return bool(np.linalg.norm(difference[:, :3], axis=1).max() < SAME_GEOMETRY_MM)


def require_same_grid(first: ImageGrid, second: ImageGrid, what: str) -> None:
    """Raise an `InputError` that names both geometries if they differ."""
    if not same_grid(first, second):
        def text(grid: ImageGrid) -> str:
            sizes = " x ".join(f"{size:.2f}" for size in grid.spacing_mm)
            return f"{grid.shape[2]} x {grid.shape[1]} x {grid.shape[0]} voxels of {sizes} mm"

        raise InputError(
            f"{what} differ in geometry ({text(first)} against {text(second)}, or elsewhere in space); resample one "
            "to the other (Resample Image module) and try again")
