"""A cine goes into the scene and comes back the same."""

from dataclasses import replace

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.sequences import add_cine, cine_of_node, display_window, index_values
from CMRSimExtension.slicer_bridge.volumes import fill_volume, grid_of_volume, to_vtk_matrix

SPACING_ROUND_OFF_MM = 1e-12
"""Slicer keeps directions and spacing apart: multiplying them again costs the last bit."""


def test_voxels_come_back_from_the_proxy_of_the_sequence(scene, cine):
    nodes = add_cine(cine, "Cine")
    np.testing.assert_array_equal(cine_of_node(nodes.proxy).image, cine.image)


def test_an_oblique_geometry_comes_back_exactly(scene, cine):
    back = cine_of_node(add_cine(cine, "Cine").sequence).grid
    np.testing.assert_allclose(back.affine_ras, cine.grid.affine_ras, rtol=0, atol=SPACING_ROUND_OFF_MM)
    assert back.shape == cine.grid.shape


def test_the_slice_thickness_is_kept_apart_from_the_slice_distance(scene, cine):
    back = cine_of_node(add_cine(cine, "Cine").sequence).grid
    assert back.slice_thickness_mm == 8.0
    assert back.spacing_mm[2] == pytest.approx(9.6, abs=1e-12)


def test_a_voxel_lies_where_the_grid_says(scene, cine):
    proxy = add_cine(cine, "Cine").proxy
    ijk_to_ras = vtk.vtkMatrix4x4()
    proxy.GetIJKToRASMatrix(ijk_to_ras)
    position = ijk_to_ras.MultiplyPoint((7, 11, 3, 1))[:3]
    np.testing.assert_allclose(position, cine.grid.points_mm()[3, 11, 7], atol=1e-10)


def test_the_index_is_the_mean_time_in_ms(scene, cine):
    sequence = add_cine(cine, "Cine").sequence
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("time", "ms")
    index = [float(sequence.GetNthIndexValue(frame)) for frame in range(5)]
    np.testing.assert_allclose(index, cine.times_ms.mean(axis=0), atol=1e-6)


def test_the_times_of_each_slice_come_back(scene, cine):
    np.testing.assert_array_equal(cine_of_node(add_cine(cine, "Cine").sequence).times_ms, cine.times_ms)


def test_the_sidecar_comes_back(scene, cine):
    assert cine_of_node(add_cine(cine, "Cine").sequence).sidecar == cine.sidecar


def test_frames_without_times_are_numbered(scene, cine):
    sequence = add_cine(replace(cine, times_ms=None), "Cine").sequence
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("frame", "")
    assert cine_of_node(sequence).times_ms is None


def test_times_that_do_not_rise_are_no_index():
    assert index_values(np.zeros((3, 4)), 4) == (["0", "1", "2", "3"], "frame", "")


def test_the_browser_shows_the_frame_that_is_selected(scene, cine):
    nodes = add_cine(cine, "Cine")
    nodes.browser.SetSelectedItemNumber(3)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(nodes.proxy), cine.image[3])


def test_the_proxy_keeps_its_name_when_the_frame_changes(scene, cine):
    nodes = add_cine(cine, "Cine")
    nodes.browser.SetSelectedItemNumber(2)
    assert nodes.proxy.GetName() == "Cine"


def test_all_frames_share_one_display_window(scene, cine):
    nodes = add_cine(cine, "Cine")
    low, high = display_window(cine.image, cine.labels)
    nodes.browser.SetSelectedItemNumber(4)
    display = nodes.proxy.GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((low, high), rel=1e-6)


def test_the_heart_plays_at_its_own_rate(scene, cine):
    slow = replace(cine, times_ms=cine.times_ms * 3)
    step_ms = slow.times_ms.mean(axis=0)[1]
    assert add_cine(slow, "Cine").browser.GetPlaybackRateFps() == pytest.approx(1000 / step_ms, rel=1e-6)


def test_two_cines_of_one_name_get_names_of_their_own(scene, cine):
    first, second = add_cine(cine, "Cine"), add_cine(cine, "Cine")
    assert first.proxy.GetName() != second.proxy.GetName()


def test_a_single_volume_is_a_cine_of_one_frame(scene, cine):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "still")
    fill_volume(volume, cine.image[0], cine.grid)
    back = cine_of_node(volume)
    assert back.image.shape == (1, *cine.grid.shape)
    np.testing.assert_array_equal(back.image[0], cine.image[0])


def test_a_multivolume_comes_in_frame_by_frame(scene, cine):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "multi")
    image = vtk.vtkImageData()
    slices, rows, columns = cine.grid.shape
    image.SetDimensions(columns, rows, slices)
    interleaved = np.ascontiguousarray(np.moveaxis(cine.image, 0, -1)).reshape(-1, len(cine.image))
    image.GetPointData().SetScalars(numpy_to_vtk(interleaved, deep=True))
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(to_vtk_matrix(cine.grid.affine_ras))
    node.SetAttribute("MultiVolume.FrameLabels", "0,30,60,90,120")
    node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagUnits", "ms")
    back = cine_of_node(node)
    np.testing.assert_array_equal(back.image, cine.image)
    np.testing.assert_array_equal(back.times_ms[2], [0, 30, 60, 90, 120])


def test_a_sequence_timed_in_seconds_is_read_in_ms(scene, cine):
    sequence = add_cine(replace(cine, times_ms=None), "Cine").sequence
    for frame in range(len(cine.image)):
        sequence.UpdateIndexValue(str(frame), str(0.03 * frame))
    sequence.SetIndexUnit("s")
    np.testing.assert_allclose(cine_of_node(sequence).times_ms[0], 30.0 * np.arange(len(cine.image)))


def test_an_index_that_counts_the_frames_is_no_time(scene, cine):
    # Slicer's sequences are in seconds unless somebody says otherwise.
    sequence = add_cine(replace(cine, times_ms=None), "Cine").sequence
    sequence.SetIndexUnit("s")
    with pytest.warns(CMRSimWarning, match="merely counts"):
        assert cine_of_node(sequence).times_ms is None


def test_no_node_is_refused_with_the_cure(scene):
    with pytest.raises(InputError, match="choose one and press Apply again"):
        cine_of_node(None)


def test_a_table_is_no_cine(scene):
    with pytest.raises(InputError, match="where a volume, volume sequence or MultiVolume is needed"):
        cine_of_node(scene.AddNewNodeByClass("vtkMRMLTableNode", "table"))


def test_an_empty_volume_is_refused(scene):
    with pytest.raises(InputError, match="holds no image"):
        cine_of_node(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))


def test_an_empty_sequence_is_refused(scene):
    with pytest.raises(InputError, match="is empty"):
        cine_of_node(scene.AddNewNodeByClass("vtkMRMLSequenceNode", "empty"))


def test_frames_of_different_geometry_are_refused(scene, cine):
    sequence = add_cine(cine, "Cine").sequence
    sequence.GetNthDataNode(2).SetSpacing(1.0, 1.0, 1.0)
    with pytest.raises(InputError, match="frames 0 and 2 .* differ in geometry"):
        cine_of_node(sequence)


def test_a_volume_under_a_transform_is_refused_with_the_cure(scene, cine):
    proxy = add_cine(cine, "Cine").proxy
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    proxy.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="harden the transform"):
        grid_of_volume(proxy)


def test_a_colour_image_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colour")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="3 components a voxel"):
        cine_of_node(node)


def test_a_grid_of_another_shape_than_its_array_is_refused(scene, cine):
    bad = replace(cine, grid=ImageGrid(cine.grid.affine_ras, (6, 30, 40), 8.0))
    with pytest.raises(InputError, match="does not fit a grid"):
        add_cine(bad, "Cine")


def test_a_file_that_slicer_turns_round_comes_back_in_its_own_slice_order(scene, cine, tmp_path):
    sequence = add_cine(cine, "Cine").sequence
    path = str(tmp_path / "cine.seq.nrrd")
    sequence.AddDefaultStorageNode(path)
    sequence.GetStorageNode().SetFileName(path)
    assert sequence.GetStorageNode().WriteData(sequence)
    back = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "back")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeSequenceStorageNode")
    storage.SetFileName(path)
    assert storage.ReadData(back)
    read = cine_of_node(back)
    np.testing.assert_array_equal(read.image, cine.image)
    np.testing.assert_allclose(read.grid.affine_ras, cine.grid.affine_ras, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(read.times_ms, cine.times_ms)
    assert read.grid.slice_thickness_mm == cine.grid.slice_thickness_mm


def test_fat_near_the_coils_does_not_darken_the_heart():
    image = np.full((1, 1, 40, 40), 10.0)
    labels = np.zeros(image.shape, dtype=np.uint8)
    labels[0, 0, 10:20, 10:20] = 1
    image[labels == 1] = 100.0
    image[0, 0, :4] = 1000.0
    assert display_window(image, labels) == (10.0, 125.0)
    assert display_window(image)[1] == 1000.0


@pytest.mark.parametrize("kind", ["sequence", "multivolume"])
def test_a_cine_under_a_transform_is_refused_with_the_cure(scene, cine, kind):
    node = add_cine(cine, "Cine").proxy
    if kind == "multivolume":
        node.SetAttribute("MultiVolume.FrameLabels", "0,30,60,90,120")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="'Cine' stands under the transform 'moved'; take it out"):
        cine_of_node(node)
