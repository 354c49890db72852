"""From nothing to a reviewed segmentation on disk, through the three modules' logic on real nodes, and back."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk

from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import (
    labels_of_node,
    labels_of_segmentation,
    oriented_image,
)
from CMRSimExtension.slicer_bridge.sequences import cine_of_node
from CMRSimExtension.slicer_bridge.transforms import displacement_of_node

torch = pytest.importorskip("torch", reason="needs torch (pip extra 'segment')")


@dataclass(frozen=True)
class Flow:
    """What the flow ended with, and where it was saved."""

    simulated_labels: np.ndarray
    tagged: Cine
    tagged_labels: np.ndarray
    labels: np.ndarray
    corrected: np.ndarray
    frame_labels: np.ndarray
    entries: list[str]
    archive: Path
    cine_file: Path
    frame_file: Path


def codes(segmentation) -> list[str]:
    """The id, name and terminology entry of every segment, in order."""
    found = []
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        tag = vtk.reference("")
        segment.GetTag(segment.GetTerminologyEntryTagName(), tag)
        found.append(f"{segmentation.GetNthSegmentID(index)} {segment.GetName()} {tag}")
    return found


def write(node, path: Path) -> None:
    node.AddDefaultStorageNode(str(path))
    storage = node.GetStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node), storage.GetUserMessages().GetAllMessagesAsString()


@pytest.fixture(scope="module")
def flow(application, tiny_bundle, tmp_path_factory) -> Flow:
    """Simulate a small cine, tag it with its true motion, segment it, correct one frame, save everything."""
    folder = tmp_path_factory.mktemp("flow")
    application.new_scene()
    simulate = application.load_module("CMRSimulate").CMRSimulateLogic()
    parameters = simulate.getParameterNode()
    parameters.matrixSize, parameters.slices, parameters.phases, parameters.makeMotion = 96, 3, 4, True
    simulated = simulate.process(parameters)

    tag = application.load_module("CMRTagged").CMRTaggedLogic()
    tagging = tag.getParameterNode()
    tagging.inputNode, tagging.motion = simulated.cine.proxy, simulated.motion.proxy
    tagging.segmentation, tagging.spacing = simulated.labels.proxy, 10.0
    tagged = tag.process(tagging)

    segment = application.load_module("CMRSegment").CMRSegmentLogic()
    segmenting = segment.getParameterNode()
    segmenting.inputNode, segmenting.model, segmenting.modelFolder = tagged.cine.proxy, "folder", tiny_bundle
    segmented = segment.process(segmenting)

    cine = cine_of_node(tagged.cine.proxy)
    tagged.cine.browser.SetSelectedItemNumber(2)
    corrected = np.zeros(cine.grid.shape, dtype=np.uint8)
    corrected[1, 30:40, 30:44] = 1
    assert slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        oriented_image(corrected, cine.grid), segmented.segmentation, "lv_myocardium", 0)
    frame_labels = labels_of_segmentation(segmented.segmentation, cine.grid)
    write(segmented.segmentation, folder / "frame.seg.nrrd")
    tagged.cine.browser.SetSelectedItemNumber(0)
    write(tagged.cine.sequence, folder / "cine.seq.nrrd")
    result = Flow(
        simulated_labels=labels_of_node(simulated.labels.sequence)[0], tagged=cine,
        tagged_labels=labels_of_node(tagged.labels.sequence)[0],
        labels=labels_of_node(segmented.segmentation)[0], corrected=corrected, frame_labels=frame_labels,
        entries=codes(segmented.segmentation.GetSegmentation()), archive=folder / "Flow.mrb",
        cine_file=folder / "cine.seq.nrrd", frame_file=folder / "frame.seg.nrrd")
    assert slicer.mrmlScene.WriteToMRB(str(result.archive))
    return result


@pytest.fixture
def reopened(flow, host):
    """A new scene with the archive in it."""
    slicer.mrmlScene.SetURL(str(flow.archive))
    assert slicer.mrmlScene.ReadFromMRB(str(flow.archive), True)
    return slicer.mrmlScene


def test_labels_travel_from_the_simulation_to_the_tagged_cine(flow):
    np.testing.assert_array_equal(flow.tagged_labels, flow.simulated_labels)


def test_a_correction_is_in_the_sequence(flow):
    assert (flow.labels[2][flow.corrected == 1] == 2).all()


def test_the_cine_comes_back_from_the_archive(flow, reopened):
    back = cine_of_node(reopened.GetFirstNodeByName("Simulated cine tagged"))
    np.testing.assert_array_equal(back.image, flow.tagged.image)
    np.testing.assert_allclose(back.grid.affine_ras, flow.tagged.grid.affine_ras, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(back.times_ms, flow.tagged.times_ms)
    assert back.grid.slice_thickness_mm == flow.tagged.grid.slice_thickness_mm
    assert back.sidecar == flow.tagged.sidecar


def test_the_segmentation_comes_back_from_the_archive(flow, reopened):
    segmentation = reopened.GetFirstNodeByName("Simulated cine tagged segmentation")
    np.testing.assert_array_equal(labels_of_node(segmentation)[0], flow.labels)
    assert codes(segmentation.GetSegmentation()) == flow.entries


def test_the_motion_comes_back_from_the_archive(flow, reopened):
    displacement, grid = displacement_of_node(reopened.GetFirstNodeByName("Simulated cine motion"))
    cine = cine_of_node(reopened.GetFirstNodeByName("Simulated cine"))
    assert displacement.shape == (*cine.image.shape, 3)
    np.testing.assert_allclose(grid.affine_ras, cine.grid.affine_ras, rtol=0, atol=1e-9)
    assert np.abs(displacement[2]).max() > 1.0  # the heart moves by millimetres at this frame


def test_the_panels_choices_come_back_from_the_archive(flow, reopened, host):
    parameters = host.load_module("CMRTagged").CMRTaggedLogic().getParameterNode()
    assert parameters.spacing == 10.0
    assert parameters.inputNode.GetName() == "Simulated cine"
    assert parameters.motion.GetName() == "Simulated cine motion"


def test_a_cine_from_the_archive_can_be_tagged_again(flow, reopened, host):
    logic = host.load_module("CMRTagged").CMRTaggedLogic()
    again = logic.process(logic.getParameterNode())
    np.testing.assert_array_equal(cine_of_node(again.cine.sequence).image, flow.tagged.image)


def read(class_name: str, storage_class: str, path: Path):
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, path.name)
    storage = slicer.mrmlScene.AddNewNodeByClass(storage_class)
    storage.SetFileName(str(path))
    assert storage.ReadData(node), storage.GetUserMessages().GetAllMessagesAsString()
    return node


def test_a_frame_s_segmentation_comes_back_from_seg_nrrd(flow, host):
    back = read("vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode", flow.frame_file)
    np.testing.assert_array_equal(labels_of_segmentation(back, flow.tagged.grid), flow.frame_labels)
    assert codes(back.GetSegmentation()) == flow.entries


def test_the_cine_comes_back_from_seq_nrrd(flow, host):
    back = cine_of_node(read("vtkMRMLSequenceNode", "vtkMRMLVolumeSequenceStorageNode", flow.cine_file))
    np.testing.assert_array_equal(back.image, flow.tagged.image)
    np.testing.assert_allclose(back.grid.affine_ras, flow.tagged.grid.affine_ras, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(back.times_ms, flow.tagged.times_ms)


def test_a_simulated_cine_is_tagged_with_its_own_true_motion(flow, reopened, host):
    """Its sidecar, kept in the scene, is enough: no motion transforms are chosen."""
    from CMRSimExtension.slicer_bridge import jobs

    logic = host.load_module("CMRTagged").CMRTaggedLogic()
    parameters = logic.getParameterNode()
    parameters.motion = None
    result = jobs.run("tag", logic.task(parameters).values, lambda share, text: None)
    assert result["motion"] == "true"
    moving = flow.labels[0] >= 0
    difference = np.abs(result["cine"].image - flow.tagged.image)[:, moving]
    assert np.percentile(difference, 99) < 0.02 * flow.tagged.image.max()  # voxel centres against sub-voxel means


def test_a_cine_that_was_moved_no_longer_has_its_subject_s_motion(flow):
    from dataclasses import replace

    from CMRSimExtension.scanner.geometry import ImageGrid
    from CMRSimExtension.tagging.simulated import simulation_of

    cine = replace(flow.tagged, sidecar=flow.tagged.sidecar["source"])
    assert simulation_of(cine) == cine.sidecar
    moved = np.array(cine.grid.affine_ras)
    moved[1, 3] += 5.0
    assert simulation_of(replace(cine, grid=ImageGrid(moved, cine.grid.shape, 8.0))) is None
