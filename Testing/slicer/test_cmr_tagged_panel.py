"""CMRTagged's panel: what it asks of the library, what it adds to the scene, what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import slicer

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames, add_segmentation, labels_of_node
from CMRSimExtension.slicer_bridge.sequences import add_cine, cine_of_node
from CMRSimExtension.slicer_bridge.transforms import add_motion
from Testing.slicer.conftest import CHILD_SECONDS, node_ids

SHIFT_MM = 3.0
WALL, POOL = 16, 10
"""Outer and inner radius of the ring that beats, at rest, in pixels."""


@pytest.fixture
def cine() -> Cine:
    """Four frames of a ring that moves sideways by a known amount and back."""
    grid = ImageGrid(np.diag([1.5, 1.5, 8.0, 1.0]), (2, 64, 64), 8.0)
    rows, columns = np.indices(grid.shape[1:])
    labels = np.zeros((4, *grid.shape), dtype=np.uint8)
    displacement = np.zeros((4, *grid.shape, 3), dtype=np.float32)
    for frame, shift in enumerate((0.0, SHIFT_MM, SHIFT_MM, 0.0)):
        distance = np.hypot(rows - 32, columns - 32 - shift / 1.5)
        labels[frame, :, distance < 16] = 2
        labels[frame, :, distance < 10] = 1
        displacement[frame, ..., 0] = -shift
    image = np.choose(labels, [80.0, 400.0, 150.0]).astype(np.float32)
    times = np.tile(np.arange(4) * 200.0, (2, 1))
    return Cine(image, grid, times_ms=times, labels=labels, displacement_mm=displacement)


@pytest.fixture
def panel(open_panel, shown):
    opened = open_panel("CMRTagged")
    opened.logic.getParameterNode().inputNode = shown.proxy
    return opened


def with_truth(panel, cine, shown):
    """Choose the true motion and the true labels."""
    parameters = panel.logic.getParameterNode()
    parameters.motion = add_motion(cine.displacement_mm, cine.grid, "Motion", shown).proxy
    parameters.segmentation = add_label_frames(cine.labels, cine.grid, "Heart", shown).proxy
    return parameters


def test_apply_adds_a_tagged_cine_with_its_labels(panel, host, cine, shown):
    with_truth(panel, cine, shown)
    panel.ui.applyButton.click()
    assert host.run_until(lambda: not panel.job.running, CHILD_SECONDS)
    tagged = cine_of_node(slicer.util.getNode("Cine tagged"))
    assert tagged.image.shape == cine.image.shape
    np.testing.assert_allclose(tagged.grid.affine_ras, cine.grid.affine_ras, atol=1e-12)
    np.testing.assert_array_equal(labels_of_node(slicer.util.getNode("Cine tagged heart"))[0], cine.labels)
    assert panel.ui.applyStatusLabel.text == "The tags follow the true motion."


def test_the_tags_move_with_the_true_motion(panel, cine, shown):
    parameters = with_truth(panel, cine, shown)
    frames = cine_of_node(panel.logic.process(parameters).cine.proxy).image
    myocardium = (cine.labels[0, 0] == 2) & (np.hypot(*(np.indices((64, 64)) - 32)) > 11)
    moved_by = round(SHIFT_MM / 1.5)
    followed = np.roll(frames[1, 0], -moved_by, axis=-1)[myocardium]
    stayed = frames[1, 0][myocardium]
    first = frames[0, 0][myocardium]
    # Fading changes brightness, not the pattern: correlation is what tells where the lines are.
    assert np.corrcoef(first, followed)[0, 1] > 0.9 > np.corrcoef(first, stayed)[0, 1]


def test_the_static_grid_stays_where_it_is(panel, cine, shown):
    from CMRTagged import Method

    uniform = add_cine(replace(cine, image=np.full_like(cine.image, 100.0)), "Uniform")
    parameters = panel.logic.getParameterNode()
    parameters.inputNode, parameters.method = uniform.proxy, Method.PAPER
    panel.logic.applyMethodDefaults(parameters)
    frames = cine_of_node(panel.logic.process(parameters).cine.proxy).image
    np.testing.assert_array_equal(frames[0], frames[2])
    assert frames[0].std() > 0.1 * frames[0].mean()


def test_a_segmentation_of_end_diastole_alone_is_enough(panel, cine, shown):
    parameters = with_truth(panel, cine, shown)
    parameters.segmentation = add_segmentation(cine.labels[0], cine.grid, "ED", source=shown.proxy)
    nodes = panel.logic.process(parameters)
    labels, _ = labels_of_node(nodes.labels.sequence)
    pool, truth = labels[1] == 1, cine.labels[1] == 1
    assert 2 * (pool & truth).sum() / (pool.sum() + truth.sum()) > 0.95  # one voxel of the edge at most


def test_of_a_segmentation_of_some_frames_end_diastole_is_taken(panel, cine, shown):
    some = cine.labels * np.array([1, 0, 1, 0], dtype=np.uint8)[:, None, None, None]
    parameters = panel.logic.getParameterNode()
    parameters.segmentation = add_label_frames(some, cine.grid, "Some", shown, present=(1, 2, 3)).proxy
    np.testing.assert_array_equal(panel.logic.task(parameters).values["labels"], cine.labels[0])


def test_a_segmentation_without_end_diastole_is_refused_with_the_cure(panel, cine, shown, slot_errors):
    late = cine.labels * np.array([0, 0, 1, 0], dtype=np.uint8)[:, None, None, None]
    panel.logic.getParameterNode().segmentation = add_label_frames(
        late, cine.grid, "Late", shown, present=(1, 2, 3)).proxy
    panel.ui.applyButton.click()
    assert "segment it, or all frames" in str(slot_errors[0])


def test_the_motion_can_be_kept(panel, cine, shown):
    from CMRSimExtension.slicer_bridge.transforms import displacement_of_node

    parameters = with_truth(panel, cine, shown)
    parameters.keepMotion = True
    nodes = panel.logic.process(parameters)
    np.testing.assert_array_equal(displacement_of_node(nodes.motion.sequence)[0], cine.displacement_mm)


def test_the_method_s_defaults_are_taken_over_when_it_is_picked(panel):
    panel.ui.methodComboBox.currentIndex = 1
    panel.ui.methodComboBox.activated.emit(1)
    parameters = panel.logic.getParameterNode()
    assert (parameters.spacing, parameters.spacingUnit.value, parameters.flipDeg) == (5.0, "px", 70.0)


def test_what_the_static_grid_lacks_cannot_be_set(panel):
    panel.ui.methodComboBox.currentIndex = 1
    assert not panel.ui.readoutComboBox.enabled
    panel.ui.methodComboBox.currentIndex = 0
    assert panel.ui.readoutComboBox.enabled


def test_tags_fade_by_the_tissues_of_the_field_strength_that_is_chosen(panel, cine, shown):
    """Muscle's T1 is longer at 3 T: the tags of the last frame stand out more."""
    parameters = with_truth(panel, cine, shown)
    wall = cine.labels[3, 0] == 2
    contrast = {}
    for index, name in enumerate(("OWN", "T1_5", "T3")):
        panel.ui.fieldTComboBox.currentIndex = index
        assert parameters.fieldT.name == name
        late = cine_of_node(panel.logic.process(parameters).cine.proxy).image[3, 0][wall]
        contrast[name] = float(late.std() / late.mean())
    assert contrast["OWN"] == contrast["T1_5"]  # this cine does not say where it was scanned
    assert contrast["T3"] > 1.02 * contrast["T1_5"]


def test_one_frame_is_refused_with_the_cure(panel, cine, slot_errors):
    from CMRSimExtension.slicer_bridge.volumes import fill_volume

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Still")
    fill_volume(volume, cine.image[0], cine.grid)
    panel.logic.getParameterNode().inputNode = volume
    panel.ui.applyButton.click()
    assert "choose a sequence, or the static grid" in str(slot_errors[0])


def test_motion_of_a_single_slice_is_refused_before_anything_runs(panel, cine, slot_errors):
    grid = ImageGrid(cine.grid.affine_ras, (1, *cine.grid.shape[1:]), 8.0)
    one = add_cine(replace(cine, image=cine.image[:, :1], grid=grid, times_ms=cine.times_ms[:1], labels=None), "One")
    parameters = panel.logic.getParameterNode()
    parameters.inputNode, parameters.keepMotion = one.proxy, True
    panel.ui.applyButton.click()
    assert "'One' has one; untick the motion" in str(slot_errors[0])
    assert not panel.job.running
    parameters.keepMotion = False
    panel.logic.task(parameters)  # the tags may still move


def test_a_view_that_fails_does_not_take_the_result_away(panel, host, slot_errors):
    from CMRTagged import Method

    def broken(nodes):
        raise RuntimeError("no such view")

    parameters = panel.logic.getParameterNode()
    parameters.method = Method.PAPER
    panel.logic.applyMethodDefaults(parameters)
    panel.job.run(replace(panel.logic.task(parameters), show=broken))
    assert host.run_until(lambda: not panel.job.running, CHILD_SECONDS)
    assert "no such view" in str(slot_errors[0])
    assert slicer.mrmlScene.GetFirstNodeByName("Cine tagged") is not None
    assert panel.ui.applyStatusLabel.text == "The tags do not move."


def test_tags_under_two_pixels_are_refused_before_anything_runs(panel, host, slot_errors):
    panel.logic.getParameterNode().spacing = 2.5  # 1.5 mm pixels
    before = node_ids()
    panel.ui.applyButton.click()
    assert not panel.job.running
    assert "pixel" in str(slot_errors[0])
    assert node_ids() == before


def test_labels_of_another_cine_are_refused(panel, cine, shown, slot_errors):
    other = add_cine(replace(cine, image=cine.image[:3], labels=cine.labels[:3], times_ms=None), "Other")
    parameters = panel.logic.getParameterNode()
    parameters.segmentation = add_label_frames(cine.labels[:3], cine.grid, "Other heart", other).proxy
    panel.ui.applyButton.click()
    assert "has 3 frames and the cine 4" in str(slot_errors[0])


def test_motion_of_another_geometry_is_refused(panel, cine, shown, slot_errors):
    moved = np.array(cine.grid.affine_ras)
    moved[0, 3] += 20.0
    parameters = panel.logic.getParameterNode()
    parameters.motion = add_motion(
        cine.displacement_mm, ImageGrid(moved, cine.grid.shape, 8.0), "Elsewhere", shown).proxy
    panel.ui.applyButton.click()
    assert "differ in geometry" in str(slot_errors[0])


def test_cancel_leaves_the_scene_as_it_was(panel, host):
    before = node_ids()
    panel.ui.applyButton.click()
    panel.ui.applyButton.click()
    host.run_until(lambda: False, 0.2)
    assert node_ids() == before


def test_the_choices_are_those_of_the_library():
    from typing import get_args

    from CMRSimExtension.anatomy.tissues import FIELDS_T
    from CMRSimExtension.tagging.options import METHODS
    from CMRSimExtension.tagging.pattern import PatternKind
    from CMRSimExtension.tagging.preparation import TagTrain
    from CMRSimExtension.tagging.readout import ReadoutKind
    from CMRTagged import Method, Pattern, Readout, TissueField, Train

    assert [member.tesla for member in TissueField] == [None, *FIELDS_T]
    assert {member.value for member in Method} == set(METHODS)
    assert {member.value for member in Pattern} == set(get_args(PatternKind))
    assert {member.value for member in Readout} == set(get_args(ReadoutKind))
    for train in Train:
        TagTrain(train.value, 90.0)


@pytest.fixture
def beating(host) -> Cine:
    """Ten frames of a ring with an RV beside it that turns as one piece and swells by 10 % in frame 5: strain is known.

    A similarity with the factor s has the Green-Lagrange strain (s^2 - 1) / 2 in every direction of the plane.
    """
    grid = ImageGrid(np.diag([1.5, 1.5, 8.0, 1.0]), (3, 64, 64), 8.0)
    frames = 10
    scales = 1.0 + 0.1 * np.sin(np.pi * np.arange(frames) / frames) ** 2
    points = grid.points_mm()
    centre = np.array([32 * 1.5, 32 * 1.5, 0.0])
    labels = np.zeros((frames, *grid.shape), dtype=np.uint8)
    displacement = np.zeros((frames, *grid.shape, 3), dtype=np.float32)
    for frame, scale in enumerate(scales):
        rest = (points - centre) / [scale, scale, 1.0]
        distance = np.hypot(rest[..., 0], rest[..., 1]) / 1.5
        labels[frame][np.hypot(rest[..., 0] + 33.0, rest[..., 1]) < 13.5] = 3
        labels[frame][distance < WALL] = 2
        labels[frame][distance < POOL] = 1
        displacement[frame] = rest + centre - points
    image = np.choose(labels, [80.0, 400.0, 150.0, 390.0]).astype(np.float32)
    times = np.tile(np.arange(frames) * 80.0, (3, 1))
    return Cine(image, grid, times_ms=times, labels=labels, displacement_mm=displacement)


def column(table, title: str) -> list[float]:
    values = table.GetTable().GetColumnByName(title)
    return [values.GetValue(row) for row in range(values.GetNumberOfValues())]


@pytest.fixture
def measured(host, open_panel, beating):
    """The panel with a plain cine, its true labels and its true motion chosen for strain."""
    shown = add_cine(beating, "Beating")
    panel = open_panel("CMRTagged")
    parameters = panel.logic.getParameterNode()
    parameters.strainInput = shown.proxy
    parameters.strainSegmentation = add_label_frames(beating.labels, beating.grid, "Heart", shown).proxy
    parameters.strainMotion = add_motion(beating.displacement_mm, beating.grid, "Motion", shown).proxy
    return panel


def test_the_strain_button_gives_the_known_strain_as_curves(measured, host):
    measured.ui.strainButton.click()
    assert host.run_until(lambda: not measured.strainJob.running, CHILD_SECONDS)
    assert measured.ui.strainStatusLabel.text == "Strain of the true motion."
    table = slicer.util.getNode("Beating strain, true motion values")
    expected = 100.0 * ((1.1**2 - 1.0) / 2.0)
    assert column(table, "Time (ms)")[5] == 400.0
    # A linear field has its exact gradient away from the edges; the table rounds to 0.01 %.
    assert column(table, "Circumferential (%)")[5] == pytest.approx(expected, abs=0.02)
    assert column(table, "Radial (%)")[5] == pytest.approx(expected, abs=0.02)
    assert column(table, "Radial (%)")[0] == 0.0


def test_the_bull_s_eye_has_the_peak_of_every_segment_that_is_in_the_image(measured):
    nodes = measured.logic.measureStrain(measured.logic.getParameterNode())
    peaks = column(nodes.bulls_eye, "Peak circumferential (%)")
    assert peaks == pytest.approx([10.5] * len(peaks), abs=0.02)
    assert column(nodes.bulls_eye, "Segment") == sorted(column(nodes.bulls_eye, "Segment"))
    frames, segments = column(nodes.segments, "Frame"), column(nodes.segments, "Segment")
    assert len(frames) == 10 * len(peaks) and set(segments) == set(column(nodes.bulls_eye, "Segment"))


def test_the_bull_s_eye_is_plotted_as_a_bar_for_each_segment_and_direction(measured):
    nodes = measured.logic.measureStrain(measured.logic.getParameterNode())
    for series, direction in zip(nodes.peaks.series, ("radial", "circumferential", "longitudinal"), strict=True):
        assert series.GetTableNode() == nodes.bulls_eye
        assert (series.GetXColumnName(), series.GetYColumnName()) == ("Segment", f"Peak {direction} (%)")
        assert series.GetPlotType() == slicer.vtkMRMLPlotSeriesNode.PlotTypeScatterBar
        assert series.GetName() == f"peak {direction}"
    assert nodes.peaks.chart.GetYAxisTitle() == "Peak Green-Lagrange strain (%)"


def test_the_strain_chart_shows_one_curve_per_direction(measured):
    chart = measured.logic.measureStrain(measured.logic.getParameterNode()).curves.chart
    names = [chart.GetNthPlotSeriesNode(index).GetName() for index in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names == ["radial", "circumferential", "longitudinal"]


def test_what_apply_made_is_chosen_for_strain(panel, cine, shown):
    parameters = with_truth(panel, cine, shown)
    nodes = panel.logic.process(parameters)
    assert parameters.strainInput == nodes.cine.proxy
    assert parameters.strainSegmentation == nodes.labels.proxy
    assert panel.ui.strainButton.enabled


def test_strain_of_tags_too_coarse_in_time_is_refused_and_leaves_the_scene(measured, host, slot_errors):
    from CMRTagged import StrainMethod

    measured.logic.getParameterNode().strainMethod = StrainMethod.HARP
    before = node_ids()
    measured.ui.strainButton.click()
    assert host.run_until(lambda: not measured.strainJob.running, CHILD_SECONDS)
    assert "HARP" in str(slot_errors[0])  # a plain cine has no tags to follow
    assert node_ids() == before


def test_strain_of_one_frame_is_refused_with_the_cure(panel, cine, slot_errors):
    from CMRSimExtension.slicer_bridge.volumes import fill_volume

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Still")
    fill_volume(volume, cine.image[0], cine.grid)
    panel.logic.getParameterNode().strainInput = volume
    panel.ui.strainButton.click()
    assert "choose the volume of a sequence" in str(slot_errors[0])


def test_a_label_map_volume_is_read_by_the_label_table(panel, cine, shown):
    from CMRSimExtension.slicer_bridge.segmentations import add_label_volume

    acdc = np.array([0, 3, 2, 1], dtype=np.uint8)[cine.labels[0]]
    parameters = panel.logic.getParameterNode()
    assert not panel.ui.labelMapWidget.isVisibleTo(panel.parent)
    parameters.segmentation = add_label_volume(acdc, cine.grid, "ED as ACDC has it")
    assert panel.ui.labelMapWidget.isVisibleTo(panel.parent)
    parameters.labelMap = "acdc"
    np.testing.assert_array_equal(panel.logic.task(parameters).values["labels"], cine.labels[0])


def test_a_label_outside_the_table_is_refused_with_the_cure(panel, cine, slot_errors):
    from CMRSimExtension.slicer_bridge.segmentations import add_label_volume

    odd = cine.labels[0].copy()
    odd[0, 0, 0] = 200
    panel.logic.getParameterNode().segmentation = add_label_volume(odd, cine.grid, "Odd")
    panel.ui.applyButton.click()
    assert "holds the labels 200" in str(slot_errors[0]) and "1=rv,2=myo,3=lv" in str(slot_errors[0])


def test_a_label_map_is_no_cine(panel, cine, slot_errors):
    from CMRSimExtension.slicer_bridge.segmentations import add_label_volume

    panel.logic.getParameterNode().inputNode = add_label_volume(cine.labels[0], cine.grid, "Labels")
    panel.ui.applyButton.click()
    assert "choose the image" in str(slot_errors[0])


def test_a_saved_scene_restores_the_panel(panel, cine, shown, tmp_path):
    with_truth(panel, cine, shown)
    panel.ui.spacingSlider.value = 9.5
    panel.ui.cspammCheckBox.checked = True
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    slicer.mrmlScene.Clear(False)
    assert panel.ui.spacingSlider.value == 7.0 and not panel.ui.cspammCheckBox.checked
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Connect()
    assert panel.ui.spacingSlider.value == 9.5 and panel.ui.cspammCheckBox.checked
    assert panel.ui.inputSelector.currentNode().GetName() == "Cine"
