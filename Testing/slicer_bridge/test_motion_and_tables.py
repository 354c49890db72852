"""Motion as transforms, function as tables and charts."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.bare_scene import BareScene
from CMRSimExtension.slicer_bridge.tables import (
    RESEARCH_ONLY,
    add_function_table,
    add_table,
    add_volume_curves,
    function_of_table,
    volume_curves_ml,
)
from CMRSimExtension.slicer_bridge.transforms import add_motion, displacement_of_node, fill_transform


@pytest.fixture
def motion(shown, cine):
    return add_motion(cine.displacement_mm, cine.grid, "Motion", shown)


def test_displacements_come_back_exactly(motion, cine):
    np.testing.assert_array_equal(displacement_of_node(motion.proxy)[0], cine.displacement_mm)


def test_the_grid_of_the_motion_comes_back(motion, cine):
    back = displacement_of_node(motion.sequence)[1]
    np.testing.assert_allclose(back.affine_ras, cine.grid.affine_ras, rtol=0, atol=1e-12)
    assert back.slice_thickness_mm == 8.0


def test_the_transform_takes_a_present_position_to_its_place_at_end_diastole(motion, cine):
    motion.browser.SetSelectedItemNumber(2)
    present = cine.grid.points_mm()[3, 7, 9]
    rest = np.zeros(3)
    motion.proxy.GetTransformFromParent().TransformPoint(present, rest)
    np.testing.assert_allclose(rest, present + cine.displacement_mm[2, 3, 7, 9], atol=1e-5)  # float32 field


def test_a_point_of_end_diastole_under_the_transform_moves_with_the_heart(scene, shown, cine):
    smooth = np.zeros_like(cine.displacement_mm)
    smooth[..., 0] = 2.5  # all tissue was 2.5 mm further right at rest, so now it lies 2.5 mm further left
    nodes = add_motion(smooth, cine.grid, "Shift", shown)
    nodes.browser.SetSelectedItemNumber(1)
    rest = cine.grid.points_mm()[3, 20, 15]
    moved = np.zeros(3)
    nodes.proxy.GetTransformToParent().TransformPoint(rest, moved)
    np.testing.assert_allclose(moved, rest - (2.5, 0, 0), atol=1e-3)  # the inverse is found by iteration


def test_a_scene_that_was_saved_shows_its_motion_with_the_node_that_it_had(scene, motion, cine, tmp_path):
    assert scene.WriteToMRB(str(tmp_path / "Motion.mrb"))
    bare = BareScene()
    reopened = bare.scene
    reopened.SetURL(str(tmp_path / "Motion.mrb"))
    assert reopened.ReadFromMRB(str(tmp_path / "Motion.mrb"), True)
    browser = reopened.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    for frame in (0, 3):
        browser.SetSelectedItemNumber(frame)
    assert reopened.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 1
    displacement, _ = displacement_of_node(reopened.GetFirstNodeByName("Motion"))
    np.testing.assert_allclose(displacement, cine.displacement_mm, atol=1e-6)


def test_a_single_slice_has_no_grid_transform(scene):
    import slicer

    grid = ImageGrid(np.eye(4), (1, 8, 8), 8.0)
    with pytest.raises(InputError, match="at least 2 voxels along each axis"):
        fill_transform(slicer.vtkMRMLGridTransformNode(), np.zeros((1, 8, 8, 3)), grid)


def test_a_linear_transform_is_no_motion(scene):
    with pytest.raises(InputError, match="holds no displacement grid"):
        displacement_of_node(scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "linear"))


def test_function_comes_back_from_its_table(scene):
    function = CardiacFunction(150.5, 60.25, 110.0, 160.0, 80.0)
    # The table is for reading: its numbers have two decimals.
    assert function_of_table(add_function_table(function, "Function")) == pytest.approx(function.as_dict(), abs=0.005)


def test_a_single_frame_has_no_row_for_the_ejection_fraction(scene):
    table = add_function_table(CardiacFunction(150.0, None, 110.0), "Function")
    assert set(function_of_table(table)) == {"lv_edv_ml", "lv_mass_g"}


def test_indexed_values_and_normal_ranges_stand_in_the_table(scene):
    table = add_function_table(
        CardiacFunction(150.0, 60.0, 110.0), "Function", indexed={"lv_edv_ml_per_m2": 75.0},
        normal_ranges={"lv_edv_ml_per_m2": (57.4, 105.6), "lv_ef_percent": (50.0, 70.0)})
    grid = table.GetTable()
    assert function_of_table(table)["lv_edv_ml_per_m2"] == 75.0
    rows = {grid.GetValue(row, 0).ToString(): row for row in range(grid.GetNumberOfRows())}
    assert grid.GetValue(rows["LV end-diastolic volume index"], 2).ToString() == "ml/m²"
    assert grid.GetValue(rows["LV end-diastolic volume index"], 3).ToString() == "57 to 106"
    assert grid.GetValue(rows["LV myocardial mass"], 3).ToString() == ""


def test_every_table_says_that_it_is_for_research(scene):
    assert RESEARCH_ONLY in add_table("any", {"a": [1.0]}).GetDescription()


def test_columns_of_different_length_are_refused(scene):
    with pytest.raises(InputError, match="different lengths"):
        add_table("bad", {"a": [1.0], "b": [1.0, 2.0]})


def test_volumes_are_counted_per_frame():
    labels = np.zeros((2, 1, 4, 4), dtype=np.uint8)
    labels[0, 0, :2] = 1
    labels[1, 0, 0] = 1
    labels[1, 0, 3] = 2
    curves = volume_curves_ml(labels, 0.5)
    np.testing.assert_array_equal(curves["LV"], [4.0, 2.0])
    np.testing.assert_array_equal(curves["Myocardium"], [0.0, 2.0])
    assert "RV" not in curves


def test_the_chart_shows_one_series_per_chamber(scene, shown, cine):
    curves = volume_curves_ml(cine.labels, 0.1)
    nodes = add_volume_curves(
        cine.times_ms.mean(axis=0), curves, "Volumes", source=shown.proxy, time_title="Time (ms)")
    assert nodes.chart.GetNumberOfPlotSeriesNodes() == 3
    table = nodes.table.GetTable()
    assert [table.GetColumnName(c) for c in range(2)] == ["Time (ms)", "LV volume (ml)"]
    assert table.GetValue(2, 1).ToDouble() == curves["LV"][2]


def test_motion_under_a_transform_is_refused_with_the_cure(motion, scene):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    motion.proxy.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="stands under the transform 'moved'; take it out"):
        displacement_of_node(motion.proxy)
