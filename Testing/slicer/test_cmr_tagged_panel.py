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

CHILD_SECONDS = 120
"""A child tags four small frames; only a hang takes this long."""
SHIFT_MM = 3.0


def node_ids() -> set[str]:
    scene = slicer.mrmlScene
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


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
def shown(host, cine):
    return add_cine(cine, "Cine")


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


def test_one_frame_is_refused_with_the_cure(panel, cine, slot_errors):
    from CMRSimExtension.slicer_bridge.volumes import fill_volume

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Still")
    fill_volume(volume, cine.image[0], cine.grid)
    panel.logic.getParameterNode().inputNode = volume
    panel.ui.applyButton.click()
    assert "choose a sequence, or the static grid" in str(slot_errors[0])


def test_tags_under_two_pixels_are_refused_and_leave_the_scene(panel, host, slot_errors):
    panel.logic.getParameterNode().spacing = 2.5  # 1.5 mm pixels
    before = node_ids()
    panel.ui.applyButton.click()
    assert host.run_until(lambda: not panel.job.running, CHILD_SECONDS)
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

    from CMRSimExtension.tagging.options import METHODS
    from CMRSimExtension.tagging.pattern import PatternKind
    from CMRSimExtension.tagging.preparation import TagTrain
    from CMRSimExtension.tagging.readout import ReadoutKind
    from CMRTagged import Method, Pattern, Readout, Train

    assert {member.value for member in Method} == set(METHODS)
    assert {member.value for member in Pattern} == set(get_args(PatternKind))
    assert {member.value for member in Readout} == set(get_args(ReadoutKind))
    for train in Train:
        TagTrain(train.value, 90.0)
