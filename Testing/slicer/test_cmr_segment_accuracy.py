"""CMRSegment compares a segmentation with a reference: table, chart, and which frames are counted."""

import numpy as np
import pytest
import slicer

from CMRSimExtension.slicer_bridge.segmentations import add_label_frames
from Testing.slicer.segmented_rings import CHILD_SECONDS, found, reference_of

pytest.importorskip("torch", reason="needs torch (pip extra 'segment')")


@pytest.fixture
def panel(segment_panel):
    return segment_panel


def test_a_segmentation_agrees_with_itself(panel, host, cine, shown):
    parameters = panel.logic.getParameterNode()
    parameters.outputSegmentation = parameters.reference = reference_of(cine, shown)
    table = panel.logic.compare(parameters).table.GetTable()
    assert [table.GetColumnName(index) for index in range(4)] == ["Frame", "Structure", "Dice", "HD95 (mm)"]
    assert table.GetNumberOfRows() == 3 * 3
    assert all(table.GetValue(row, 2).ToDouble() == 1.0 for row in range(9))
    assert all(table.GetValue(row, 3).ToDouble() == 0.0 for row in range(9))


def test_the_compare_button_gives_dice_of_a_shifted_reference(panel, host, cine, shown):
    moved = np.roll(cine.labels, 2, axis=-1)
    parameters = panel.logic.getParameterNode()
    parameters.outputSegmentation = reference_of(cine, shown)
    parameters.reference = add_label_frames(moved, cine.grid, "Moved", shown).proxy
    panel.ui.compareButton.click()
    assert host.run_until(lambda: not panel.comparison.running, CHILD_SECONDS)
    table = slicer.util.getNode("Reference accuracy").GetTable()
    pool, other = cine.labels[0] == 1, moved[0] == 1
    expected = 2 * (pool & other).sum() / (pool.sum() + other.sum())
    assert table.GetValue(0, 2).ToDouble() == pytest.approx(expected, abs=5e-5)  # rounded to four decimals


def test_dice_over_the_frames_is_a_chart(panel, host, cine, shown):
    parameters = panel.logic.getParameterNode()
    parameters.outputSegmentation = parameters.reference = reference_of(cine, shown)
    chart = panel.logic.compare(parameters).curves.chart
    names = [chart.GetNthPlotSeriesNode(index).GetName() for index in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names == ["LV blood pool", "LV myocardium", "RV blood pool"]
    table = chart.GetNthPlotSeriesNode(2).GetTableNode().GetTable()
    assert [table.GetValueByName(row, "RV blood pool Dice").ToDouble() for row in range(3)] == [1.0, 1.0, 1.0]


def test_frames_that_were_not_segmented_are_not_compared(panel, cine, shown):
    parameters = panel.logic.getParameterNode()
    done = cine.labels * np.array([1, 0, 1], dtype=np.uint8)[:, None, None, None]
    parameters.reference = reference_of(cine, shown)
    parameters.outputSegmentation = panel.logic.task(parameters).add(
        found(cine, labels=done, frames=[0, 2])).segmentation
    values = panel.logic.comparisonTask(parameters).values
    assert values["frames"] == [0, 2]
    np.testing.assert_array_equal(values["predicted"], values["reference"])


def test_a_frame_that_was_not_segmented_cannot_be_compared_with_a_single_reference(panel, cine, shown, slot_errors):
    from CMRSimExtension.slicer_bridge.segmentations import add_segmentation

    parameters = panel.logic.getParameterNode()
    parameters.outputSegmentation = panel.logic.task(parameters).add(found(cine, frames=[0, 2])).segmentation
    parameters.reference = add_segmentation(cine.labels[1], cine.grid, "One", source=shown.proxy)
    shown.browser.SetSelectedItemNumber(1)
    panel.ui.compareButton.click()
    assert "show one of the frames 0, 2" in str(slot_errors[0])


def test_a_reference_of_other_numbers_is_read_by_its_table(panel, host, cine, shown):
    from CMRSimExtension.slicer_bridge.segmentations import add_label_volume

    parameters = panel.logic.getParameterNode()
    parameters.outputSegmentation = reference_of(cine, shown)
    acdc = np.array([0, 3, 2, 1], dtype=np.uint8)[cine.labels[0]]
    assert not panel.ui.labelMapWidget.isVisibleTo(panel.parent)
    parameters.reference = add_label_volume(acdc, cine.grid, "ACDC")
    assert panel.ui.labelMapWidget.isVisibleTo(panel.parent)
    parameters.referenceLabelMap = "acdc"
    values = panel.logic.comparisonTask(parameters).values
    assert values["labels_map"] == "acdc"
    np.testing.assert_array_equal(values["reference"], values["predicted"])


def test_a_reference_whose_ventricles_seem_exchanged_gets_the_hint_at_the_label_table(panel, host, cine, shown):
    from CMRSimExtension.slicer_bridge.segmentations import add_label_volume

    parameters = panel.logic.getParameterNode()
    parameters.outputSegmentation = reference_of(cine, shown)
    parameters.reference = add_label_volume(np.array([0, 3, 2, 1], dtype=np.uint8)[cine.labels[0]], cine.grid, "ACDC")
    panel.ui.compareButton.click()
    assert host.run_until(lambda: not panel.comparison.running, CHILD_SECONDS)
    done, note = panel.ui.compareStatusLabel.text.splitlines()
    assert done == "Done" and "exchanged" in note and note.endswith("set the label table to acdc")


def test_a_reference_of_named_segments_gets_no_hint_at_a_label_table(panel, cine, shown):
    parameters = panel.logic.getParameterNode()
    parameters.outputSegmentation = parameters.reference = reference_of(cine, shown)
    assert panel.logic.comparisonTask(parameters).values["labels_map"] is None
