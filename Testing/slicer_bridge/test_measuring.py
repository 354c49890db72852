"""Function follows the corrections of a segmentation."""

from dataclasses import replace

import numpy as np
import pytest
import slicer

from CMRSimExtension.errors import InputError
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.slicer_bridge.measuring import update_function
from CMRSimExtension.slicer_bridge.segmentations import (
    CLINICAL_LABELS,
    add_label_frames,
    add_segmentation,
    oriented_image,
)
from CMRSimExtension.slicer_bridge.sequences import add_cine
from CMRSimExtension.slicer_bridge.tables import function_of_table
from CMRSimExtension.slicer_bridge.volumes import fill_volume

NOBODY = {"sex": None, "age_years": None, "height_cm": None, "weight_kg": None}


@pytest.fixture
def segmented(scene, cine):
    return add_label_frames(cine.labels, cine.grid, "Heart", add_cine(cine, "Cine"))


def erase_lv_in_slice(proxy, cine, frame: int, index: int) -> float:
    """Correct the frame on show as the Segment Editor does; gives the volume in ml that goes."""
    left = cine.labels[frame] == 1
    gone = int(left[index].sum())
    left[index] = False
    assert slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        oriented_image(left.astype(np.uint8), cine.grid), proxy, "lv_blood", 0)
    return gone * float(np.prod(cine.grid.spacing_mm)) / 1000.0


def volume_tables() -> list[str]:
    return sorted(node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLTableNode"))


def test_a_correction_of_the_frame_on_show_is_in_the_function_at_once(segmented, cine):
    before = function_of_table(update_function(segmented.proxy, NOBODY).table)
    segmented.browser.SetSelectedItemNumber(2)  # end systole: the first of the smallest pools
    gone = erase_lv_in_slice(segmented.proxy, cine, 2, 3)
    after = function_of_table(update_function(segmented.proxy, NOBODY).table)
    assert gone > 0
    # Tables have two decimals.
    assert after["lv_esv_ml"] == pytest.approx(before["lv_esv_ml"] - gone, abs=0.011)
    assert after["lv_edv_ml"] == before["lv_edv_ml"]


def test_the_new_function_takes_the_place_of_the_old(segmented, scene):
    update_function(segmented.proxy, NOBODY)
    kinds = ("vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode")
    counts, names = [scene.GetNumberOfNodesByClass(kind) for kind in kinds], volume_tables()
    nodes = update_function(segmented.proxy, NOBODY)
    assert [scene.GetNumberOfNodesByClass(kind) for kind in kinds] == counts
    assert volume_tables() == names == ["Heart function", "Heart volume curves values"]
    assert scene.IsNodePresent(nodes.table) and scene.IsNodePresent(nodes.curves.chart)


def test_the_curve_is_that_of_the_cine_s_times(segmented, cine):
    table = update_function(segmented.proxy, NOBODY).curves.table.GetTable()
    times = [table.GetValue(row, 0).ToDouble() for row in range(table.GetNumberOfRows())]
    np.testing.assert_allclose(times, cine.times_ms.mean(axis=0), rtol=0, atol=1e-5)  # the index has six decimals


def test_who_it_is_gives_indexed_values(segmented):
    person = NOBODY | {"height_cm": 180.0, "weight_kg": 80.0}
    values = function_of_table(update_function(segmented.proxy, person).table)
    # Mosteller: sqrt(180 * 80 / 3600) = 2 m2.
    assert values["lv_edv_ml_per_m2"] == pytest.approx(values["lv_edv_ml"] / 2.0, abs=0.011)


def test_a_ventricle_that_leaves_the_stack_is_told(segmented, cine, scene):
    shown = np.flatnonzero(np.isin(cine.labels, (1, 2)).any(axis=(0, 2, 3)))
    whole = shown[0] > 0 and shown[-1] < cine.grid.shape[0] - 1
    assert (update_function(segmented.proxy, NOBODY).note is None) == whole
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "cut")
    middle = len(cine.labels[0]) // 2
    cut = replace(cine.grid, shape=(1, *cine.grid.shape[1:]))
    fill_volume(volume, cine.image[0, middle : middle + 1], cut)
    nodes = update_function(add_segmentation(cine.labels[0, middle : middle + 1], cut, "Cut", source=volume), NOBODY)
    assert "of that slice, not of the ventricle" in nodes.note


def test_a_single_frame_has_volumes_and_no_curve(scene, cine):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "still")
    fill_volume(volume, cine.image[0], cine.grid)
    nodes = update_function(add_segmentation(cine.labels[0], cine.grid, "Heart", source=volume), NOBODY)
    assert nodes.curves is None and "lv_esv_ml" not in function_of_table(nodes.table)


def test_voxel_sizes_that_cannot_be_true_give_no_volumes(scene, cine):
    grid = ImageGrid(np.eye(4), cine.grid.shape, 1.0)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "still")
    fill_volume(volume, cine.image[0], grid)
    segmentation = add_segmentation(cine.labels[0], grid, "Heart", source=volume, present=CLINICAL_LABELS)
    with pytest.raises(InputError, match="cannot be true"):
        update_function(segmentation, NOBODY)
    assert volume_tables() == []
