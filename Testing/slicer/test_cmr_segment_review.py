"""What CMRSegment shows of a finished segmentation: function, maps, surfaces, and the way to corrections."""

from dataclasses import asdict

import numpy as np
import pytest
import slicer

from CMRSimExtension.evaluation.function import function_from_labels
from CMRSimExtension.slicer_bridge.segmentations import labels_of_node, oriented_image
from CMRSimExtension.slicer_bridge.tables import function_of_table
from Testing.slicer.segmented_rings import found, reference_of

pytest.importorskip("torch", reason="needs torch (pip extra 'segment')")


@pytest.fixture
def panel(segment_panel):
    return segment_panel


def test_maps_of_probability_and_uncertainty_keep_step_with_the_cine(panel, cine, shown):
    from CMRSimExtension.slicer_bridge.jobs import maps_percent

    frames = [0, 2]
    shares = np.stack([cine.labels[frames] == label for label in range(4)], axis=1) * np.float16(0.75)
    maps = maps_percent(shares, np.full(shares[:, 0].shape, 0.5, np.float16), {1: 1, 2: 2, 3: 3})
    nodes = panel.logic.task(panel.logic.getParameterNode()).add(found(cine, frames=frames, maps_percent=maps))
    names = [node.GetName().removeprefix("Cine segmentation ") for node in nodes.maps]
    assert names == [
        "uncertainty", "LV blood pool probability", "LV myocardium probability", "RV blood pool probability"]
    for frame, share in ((2, 75), (1, 0), (0, 75)):  # frame 1 was not asked for
        shown.browser.SetSelectedItemNumber(frame)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(nodes.maps[2]), (cine.labels[frame] == 2) * share)


def test_a_class_beyond_the_ventricles_gets_a_segment_of_its_own(panel, cine, shown):
    labels = cine.labels.copy()
    labels[:, :, :6, :6] = 44
    nodes = panel.logic.task(panel.logic.getParameterNode()).add(found(cine) | {"labels": labels})
    segmentation = nodes.segmentation.GetSegmentation()
    names = [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]
    assert names == ["LV blood pool", "LV myocardium", "RV blood pool", "Liver"]


def test_function_is_updated_in_place_when_it_is_asked_for(panel, cine, shown):
    assert not panel.ui.functionButton.enabled
    nodes = panel.logic.task(panel.logic.getParameterNode()).add(found(cine))
    before, name = function_of_table(nodes.function), nodes.function.GetName()
    smaller = np.where(cine.labels[0] == 1, 0, cine.labels[0]).astype(np.uint8)
    smaller[0] = cine.labels[0, 0]
    # The largest pool now stands in one slice of three, so another frame is end diastole.
    assert slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        oriented_image((smaller == 1).astype(np.uint8), cine.grid), nodes.segmentation, "lv_blood", 0)
    panel.ui.functionButton.click()
    after = function_of_table(slicer.util.getNode(name))
    assert after["lv_edv_ml"] < before["lv_edv_ml"]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 1


def test_the_frames_can_be_stepped_through_in_the_toolbar(panel, cine, shown):
    panel.logic.showResult(panel.logic.task(panel.logic.getParameterNode()).add(found(cine)))
    assert slicer.modules.sequences.browser_in_toolbar == shown.browser


def test_function_is_indexed_where_height_and_weight_are_known(panel, cine, shown):
    values = function_of_table(panel.logic.task(panel.logic.getParameterNode()).add(found(cine)).function)
    # Mosteller: sqrt(180 x 80 / 3600) = 2 m2; the table rounds to 0.01.
    assert values["lv_edv_ml_per_m2"] == pytest.approx(values["lv_edv_ml"] / 2.0, abs=0.01)


def test_function_tells_the_wall_thickness_of_every_segment(panel, cine, shown):
    """Of the job's result, and measured anew after a correction."""
    near = cine.labels.copy()
    beside = near[:, :, 28:44, 24:30]
    beside[beside == 0] = 3  # the RV reaches the wall, which tells where the septum is
    curves = asdict(function_from_labels(near, (9.0, 2.0, 2.0)))
    walls = {"wall_ed_mm_mid_anterior": 10.04, "wall_es_mm_mid_anterior": 10.1}
    nodes = panel.logic.task(panel.logic.getParameterNode()).add(
        found(cine, labels=near, curves=curves | {"wall_mm": walls}))
    assert function_of_table(nodes.function).items() >= walls.items()
    panel.ui.functionButton.click()
    after = function_of_table(slicer.util.getNode("Cine segmentation function"))
    known = {key: value for key, value in after.items() if key.startswith("wall_")}
    # Rings of 5 pixels of 2 mm in all frames, whose edges are those of pixels; the apex is below the cavity.
    assert len(known) == 32 and all(value == pytest.approx(10.0, abs=1.0) for value in known.values())


def test_the_review_buttons_wait_for_a_segmentation(panel, host):
    assert not panel.ui.editButton.enabled
    assert not panel.ui.compareButton.enabled
    panel.logic.process(panel.logic.getParameterNode())
    assert panel.ui.editButton.enabled


def test_edit_opens_the_segment_editor_on_the_result(panel, host, cine, shown):
    panel.logic.getParameterNode().outputSegmentation = reference_of(cine, shown)
    shown.browser.SetPlaybackActive(True)
    panel.ui.editButton.click()
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    assert editor.segmentationNode().GetName() == "Reference"
    assert editor.sourceVolumeNode().GetID() == shown.proxy.GetID()
    assert not shown.browser.GetPlaybackActive()


def test_a_correction_stays_with_its_frame(panel, host, cine, shown):
    segmentation = reference_of(cine, shown)
    panel.logic.getParameterNode().outputSegmentation = segmentation
    panel.ui.editButton.click()
    shown.browser.SetSelectedItemNumber(1)
    corrected = (cine.labels[1] == 3).astype(np.uint8)
    corrected[1, 60:64, 60:64] = 1
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        oriented_image(corrected, cine.grid), segmentation, "rv_blood", 0)
    shown.browser.SetSelectedItemNumber(2)
    labels, _ = labels_of_node(segmentation)
    assert (labels[1, 1, 60:64, 60:64] == 3).all()
    np.testing.assert_array_equal(labels[[0, 2]], cine.labels[[0, 2]])


def test_surfaces_are_shown(panel, host, cine, shown):
    import vtk

    segmentation = reference_of(cine, shown)
    panel.logic.getParameterNode().outputSegmentation = segmentation
    panel.ui.show3dButton.click()
    surface = vtk.vtkPolyData()
    assert segmentation.GetClosedSurfaceRepresentation("lv_blood", surface) and surface.GetNumberOfPoints() > 0


def test_function_and_curve_are_those_of_the_labels(panel, cine, shown):
    result = found(cine)
    nodes = panel.logic.task(panel.logic.getParameterNode()).add(result)
    voxel_ml = 2.0 * 2.0 * 9.0 / 1000.0
    pools = [(frame == 1).sum() * voxel_ml for frame in cine.labels]
    expected = 100.0 * (1.0 - min(pools) / max(pools))
    assert function_of_table(nodes.function)["lv_ef_percent"] == pytest.approx(expected, abs=0.005)
    assert nodes.curves.table.GetTable().GetValue(1, 0).ToDouble() == 300.0
