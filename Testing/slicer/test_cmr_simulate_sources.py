"""What CMRSimulate scans besides its virtual patient: segmentations of the scene, and phantoms of XCAT."""

from typing import Any

import numpy as np
import pytest
import slicer

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames, add_segmentation, labels_of_node
from CMRSimExtension.slicer_bridge.sequences import add_cine, cine_of_node
from CMRSimExtension.slicer_bridge.volumes import fill_volume
from Testing.anatomy import xcat_phantom


@pytest.fixture
def panel(open_panel):
    return open_panel("CMRSimulate")


def drawn_heart(scale: float) -> tuple[np.ndarray, ImageGrid]:
    """A ring with a pool of a size, and a second pool beside it, on eight slices."""
    grid = ImageGrid(np.diag([-1.5, -1.5, 8.0, 1.0]), (8, 96, 96), 8.0)
    rows, columns = np.indices(grid.shape[1:])
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for index in range(1, 7):
        radius = scale * (16 - abs(index - 3.5) * 1.5)
        distance = np.hypot(rows - 48, columns - 52)
        labels[index][np.hypot(rows - 48, columns - 32) < radius] = 3
        labels[index][distance < radius + 6] = 2
        labels[index][distance < radius] = 1
    return labels, grid


@pytest.fixture
def still(host) -> Any:
    """A drawn heart, as one segmentation."""
    labels, grid = drawn_heart(1.0)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Image")
    fill_volume(volume, labels.astype(np.float32), grid)
    return add_segmentation(labels, grid, "Drawn", source=volume)


def scan_of(panel, node, phases: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The labels that come back from a small scan of a segmentation, and the record of its anatomy."""
    from CMRSimulate import SourceKind

    parameters = panel.logic.getParameterNode()
    parameters.source, parameters.anatomyNode = SourceKind.LABELS, node
    parameters.matrixSize, parameters.slices, parameters.phases = 96, 3, phases
    nodes = panel.logic.process(parameters)
    return labels_of_node(nodes.labels.sequence)[0], cine_of_node(nodes.cine.sequence).sidecar["anatomy"]


def test_no_segmentation_is_refused_with_the_cure(tiny, slot_errors):
    from CMRSimulate import SourceKind

    tiny.logic.getParameterNode().source = SourceKind.LABELS
    tiny.ui.applyButton.click()
    assert "choose one and press Apply again" in str(slot_errors[0])


def test_a_segmentation_of_the_scene_is_lent_the_motion_of_a_heart(panel, still):
    found, record = scan_of(panel, still, 2)
    assert {1, 2} <= set(np.unique(found[0]))
    assert (found[0] == 1).sum() > (found[1] == 1).sum()  # frame 1 of 2 is half-way through the beat: systole
    assert record["motion"] == "shells fitted to one label map"


def test_a_segmentation_sequence_beats_as_its_frames_do(panel, host):
    sizes = (1.0, 0.9, 0.75, 0.9)
    frames = [drawn_heart(size)[0] for size in sizes]
    grid = drawn_heart(1.0)[1]
    labels = np.stack(frames)
    shown = add_cine(Cine(labels.astype(np.float32), grid, times_ms=np.tile(np.arange(4) * 220.0, (8, 1))), "Series")
    series = add_label_frames(labels, grid, "Series heart", shown)
    found, record = scan_of(panel, series.proxy, 4)
    assert record["motion"] == "estimated: shells of the label frames matched"
    assert record["cycle_ms"] == 880.0
    pool = [(frame == 1).sum() for frame in found]
    assert pool[0] > pool[1] > pool[2] < pool[3]
    # Areas in a plane go with the square of the size; 10 % is a ring of half a voxel.
    assert pool[2] / pool[0] == pytest.approx(0.75**2, abs=0.1)


def test_a_volume_without_labels_is_refused(panel, slot_errors):
    from CMRSimulate import SourceKind

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Empty")
    fill_volume(node, np.zeros((2, 32, 32), dtype=np.uint8), ImageGrid(np.eye(4), (2, 32, 32), 1.0))
    parameters = panel.logic.getParameterNode()
    parameters.source, parameters.anatomyNode = SourceKind.LABELS, node
    panel.ui.applyButton.click()
    assert "has no labelled voxel" in str(slot_errors[0])


def test_a_label_table_that_cannot_be_read_is_refused(panel, slot_errors):
    from CMRSimulate import SourceKind

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    parameters = panel.logic.getParameterNode()
    parameters.source, parameters.anatomyNode, parameters.labelMap = SourceKind.LABELS, node, "heart"
    panel.ui.applyButton.click()
    assert "1=rv,2=myo,3=lv" in str(slot_errors[0])


def test_a_missing_phantom_file_is_named(panel, tmp_path, slot_errors):
    from CMRSimulate import SourceKind

    parameters = panel.logic.getParameterNode()
    parameters.source, parameters.xcatPath = SourceKind.XCAT, tmp_path / "none.bin"
    panel.ui.applyButton.click()
    assert "none.bin' is no file" in str(slot_errors[0])


def test_a_phantom_of_xcat_is_scanned(panel, cmrsim_data):
    from CMRSimulate import SourceKind

    phantom = sorted((cmrsim_data / "xcat").glob("*.bin"))[0]
    parameters = panel.logic.getParameterNode()
    parameters.source, parameters.xcatPath, parameters.still = SourceKind.XCAT, phantom, True
    parameters.matrixSize, parameters.slices, parameters.phases = 96, 3, 1
    labels, _ = labels_of_node(panel.logic.process(parameters).labels.sequence)
    assert {1, 2, 3} <= set(np.unique(labels))


def test_only_the_chosen_source_is_shown(panel, host):
    from CMRSimulate import SourceKind

    panel.logic.getParameterNode().source = SourceKind.LABELS
    assert not panel.ui.parametricWidget.isVisibleTo(panel.parent)
    assert panel.ui.labelsWidget.isVisibleTo(panel.parent)


def choose_xcat(panel, path) -> Any:
    from CMRSimulate import SourceKind

    parameters = panel.logic.getParameterNode()
    parameters.source, parameters.xcatPath = SourceKind.XCAT, path
    return parameters


def test_the_log_of_a_run_picks_every_frame_and_the_panel_says_which(panel, tmp_path):
    log = xcat_phantom.write(tmp_path, frames=3)
    choose_xcat(panel, log)
    assert panel.ui.xcatFramesLabel.text == "3 frames: sub_act_1-3; heart phase 0.40; 0, 42, 84 % inhaled"
    assert panel.ui.xcatFramesLabel.isVisibleTo(panel.parent)


def test_one_activity_file_picks_that_frame(panel, tmp_path):
    xcat_phantom.write(tmp_path, frames=3)
    choose_xcat(panel, tmp_path / "sub_act_2.bin")
    assert panel.ui.xcatFramesLabel.text == "One frame: sub_act_2.bin; heart phase 0.40; 42 % inhaled"


def test_a_frame_that_is_not_there_is_not_among_the_picked(panel, tmp_path):
    log = xcat_phantom.write(tmp_path, frames=3, hearts=("0.000", "0.200", "0.400"))
    (tmp_path / "sub_act_2.bin").unlink()
    (tmp_path / "sub_vec_frame1_to_frame3.txt").write_text("")
    choose_xcat(panel, log)
    assert panel.ui.xcatFramesLabel.text == (
        "2 frames: sub_act_1, 3; heart phase 0.00, 0.40; 0, 84 % inhaled; with motion vectors of XCAT")


def test_what_is_wrong_with_a_file_of_xcat_is_said_under_it_and_refused(panel, tmp_path, slot_errors):
    xcat_phantom.write(tmp_path)
    (tmp_path / "sub_log").unlink()
    choose_xcat(panel, tmp_path / "sub_act_1.bin")
    assert "neither sub_log nor a .par lies beside it" in panel.ui.xcatFramesLabel.text
    panel.ui.applyButton.click()
    assert not panel.job.running
    assert "neither sub_log nor a .par lies beside it" in str(slot_errors[0])


def test_the_panel_looks_again_when_it_is_opened_again(panel, tmp_path):
    log = xcat_phantom.write(tmp_path, frames=2)
    choose_xcat(panel, log)
    (tmp_path / "sub_act_2.bin").unlink()
    panel.exit()
    panel.enter()
    assert panel.ui.xcatFramesLabel.text.startswith("One frame: sub_act_1.bin")


def test_every_frame_of_a_run_is_scanned(panel, tmp_path):
    log = xcat_phantom.write(tmp_path, frames=2, breaths=(xcat_phantom.BREATHS[0],) * 2, hearts=("0.000", "0.400"))
    xcat_phantom.contracted().tofile(tmp_path / "sub_act_2.bin")
    parameters = choose_xcat(panel, log)
    parameters.matrixSize, parameters.slices, parameters.phases = 96, 3, 5
    nodes = panel.logic.process(parameters)
    record = cine_of_node(nodes.cine.sequence).sidecar["anatomy"]
    assert len(record["frames"]) == 2
    pool = [(frame == 1).sum() for frame in labels_of_node(nodes.labels.sequence)[0]]
    assert pool[2] < 0.8 * pool[0]  # frame 2 of 5 is at phase 0.4
