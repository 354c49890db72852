"""CMRSegment's panel with a tiny network of random weights: the flow, not the accuracy, is what is tested here."""

import numpy as np
import pytest
import slicer

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames, labels_of_node
from CMRSimExtension.slicer_bridge.sequences import add_cine, cine_of_node
from Testing.slicer.conftest import node_ids
from Testing.slicer.segmented_rings import apply, reference_of

pytest.importorskip("torch", reason="needs torch (pip extra 'segment')")


@pytest.fixture
def panel(segment_panel):
    return segment_panel


def test_nothing_heavy_is_imported_before_apply():
    """In a process of its own: this one has torch already."""
    import subprocess
    import sys

    from Testing.slicer_host.host import REPOSITORY

    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from Testing.slicer_host.host import SlicerHost\n"
        "host = SlicerHost()\n"
        "panels = [host.open_panel(name) for name in ('CMRSimulate', 'CMRTagged', 'CMRSegment')]\n"
        "heavy = {'torch', 'monai', 'scipy.ndimage', 'matplotlib', 'nibabel', 'SimpleITK', 'pydicom'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
        "[host.close_panel(panel) for panel in panels]\n")
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout


def test_apply_segments_all_frames_beside_the_cine(panel, host, shown, cine):
    apply(panel, host)
    parameters = panel.logic.getParameterNode()
    segmentation = parameters.outputSegmentation
    assert segmentation.GetName() == "Cine segmentation"
    labels, grid = labels_of_node(segmentation)
    assert labels.shape == cine.image.shape
    np.testing.assert_allclose(grid.affine_ras, cine.grid.affine_ras, rtol=0, atol=1e-12)
    # The child found what this process finds.
    panel.logic.process(parameters)
    np.testing.assert_array_equal(labels_of_node(parameters.outputSegmentation)[0], labels)


def test_the_segmentation_joins_the_browser_of_the_cine(panel, host, shown):
    segmentation = panel.logic.process(panel.logic.getParameterNode()).segmentation
    assert slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(segmentation) == shown.browser


def test_only_the_frame_on_show_is_segmented_when_asked(panel, host, shown):
    from CMRSegment import Frames

    shown.browser.SetSelectedItemNumber(2)
    panel.logic.getParameterNode().frames = Frames.CURRENT
    values = panel.logic.task(panel.logic.getParameterNode()).values
    assert values["frames"] == "2"


def test_a_single_volume_gets_a_single_segmentation(panel, host, cine):
    from CMRSimExtension.slicer_bridge.volumes import fill_volume

    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Still")
    fill_volume(volume, cine.image[0], cine.grid)
    parameters = panel.logic.getParameterNode()
    parameters.inputNode = volume
    nodes = panel.logic.process(parameters)
    assert nodes.sequence is None
    assert nodes.segmentation.GetNodeReference("referenceImageGeometryRef").GetID() == volume.GetID()


def test_cancel_leaves_the_scene_as_it_was(panel, host):
    before = node_ids()
    panel.ui.applyButton.click()
    panel.ui.applyButton.click()
    host.run_until(lambda: False, 0.2)
    assert node_ids() == before
    assert panel.ui.applyButton.text == "Apply"


def test_no_input_is_refused_with_the_cure(panel, slot_errors):
    panel.logic.getParameterNode().inputNode = None
    panel.ui.applyButton.click()
    assert "choose one and press Apply again" in str(slot_errors[0])
    assert not panel.job.running


def test_a_folder_that_is_no_bundle_is_refused(panel, tmp_path, slot_errors):
    panel.logic.getParameterNode().modelFolder = tmp_path
    panel.ui.applyButton.click()
    assert "is no MONAI bundle" in str(slot_errors[0])


def test_an_altered_model_is_refused_and_leaves_the_scene(panel, host, tiny_bundle, tmp_path, slot_errors):
    import shutil

    altered = shutil.copytree(tiny_bundle, tmp_path / "altered")
    weights = next((altered / "models").iterdir())
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    panel.logic.getParameterNode().modelFolder = altered
    before = node_ids()
    apply(panel, host)
    assert str(weights.name) in str(slot_errors[0])
    assert node_ids() == before


def test_a_missing_package_stops_with_the_way_to_get_it(panel, monkeypatch, slot_errors):
    from CMRSimExtension.slicer_bridge import packages

    installed = packages.installed_version
    monkeypatch.setattr(packages, "installed_version", lambda name: None if name == "torch" else installed(name))
    panel.ui.applyButton.click()
    assert "install the 'PyTorch' extension" in str(slot_errors[0])
    assert not panel.job.running


def test_apply_makes_maps_when_they_are_asked_for(panel, host):
    parameters = panel.logic.getParameterNode()
    parameters.probabilities = True
    task = panel.logic.task(parameters)
    assert task.values["probabilities"] and task.values["views"] == "four"
    assert len(panel.logic.process(parameters).maps) == 4


def test_indexed_values_and_normal_ranges_need_both_of_a_pair(panel, slot_errors):
    parameters = panel.logic.getParameterNode()
    parameters.heightCm = 170.0
    panel.ui.applyButton.click()
    assert "height is given and weight is not" in str(slot_errors[0])
    assert not panel.job.running


def test_the_person_in_the_image_reaches_the_job(panel):
    from CMRSimExtension.slicer_bridge.segmentation_choices import Sex

    parameters = panel.logic.getParameterNode()
    parameters.heightCm, parameters.weightKg, parameters.sex, parameters.ageYears = 180.0, 80.0, Sex.MALE, 50
    assert panel.logic.task(parameters).values["person"] == {
        "sex": "M", "age_years": 50, "height_cm": 180.0, "weight_kg": 80.0}


def test_the_shipped_model_is_the_default_and_says_what_it_is_for(open_panel, host):
    panel = open_panel("CMRSegment")
    assert panel.ui.modelComboBox.currentText == panel.logic.getParameterNode().model == "cine_sax"
    assert "short-axis" in panel.ui.modelLabel.text
    assert panel.logic.modelName(panel.logic.getParameterNode()) == "cine_sax"


def test_a_model_without_a_description_leaves_no_gap(open_panel):
    panel = open_panel("CMRSegment")
    panel.logic.getParameterNode().model = "folder"
    assert not panel.ui.modelLabel.visible
    assert panel.ui.modelFolderButton.text == "Choose a folder…"


@pytest.mark.parametrize(("change", "cure"), [
    (lambda image: image * 3.0 - 1000.0, "Hounsfield"),
    (lambda image: np.full_like(image, 7.0), "shows nothing"),
    (lambda image: image[:, :, :20, :20], "fewer than 32 a side"),
])
def test_an_image_that_does_not_fit_the_model_is_refused_and_leaves_the_scene(
    panel, host, cine, slot_errors, change, cure
):
    image = np.ascontiguousarray(change(cine.image), dtype=np.float32)
    odd = add_cine(Cine(image, ImageGrid(cine.grid.affine_ras, image.shape[1:], 8.0)), "Odd")
    panel.logic.getParameterNode().inputNode = odd.proxy
    before = node_ids()
    apply(panel, host)
    assert cure in str(slot_errors[0])
    assert node_ids() == before


@pytest.mark.parametrize(("class_name", "cure"), [
    ("vtkMRMLScalarVolumeNode", "holds no image"), ("vtkMRMLSequenceNode", "is empty")])
def test_a_node_without_an_image_is_refused_with_the_cure(panel, slot_errors, class_name, cure):
    panel.logic.getParameterNode().inputNode = slicer.mrmlScene.AddNewNodeByClass(class_name, "Nothing")
    panel.ui.applyButton.click()
    assert cure in str(slot_errors[0])
    assert not panel.job.running


def test_a_sequence_of_segmentations_is_no_cine(panel, cine, shown, slot_errors):
    series = add_label_frames(cine.labels, cine.grid, "Series", shown)
    panel.logic.getParameterNode().inputNode = series.sequence
    panel.ui.applyButton.click()
    assert "where a sequence of volumes is needed" in str(slot_errors[0])


def test_the_cine_of_the_fixture_is_what_the_scene_holds(shown, cine):
    np.testing.assert_array_equal(cine_of_node(shown.proxy).image, cine.image)


def test_a_saved_scene_restores_the_panel(panel, host, cine, shown, tiny_bundle, tmp_path):
    parameters = panel.logic.getParameterNode()
    parameters.reference = reference_of(cine, shown)
    panel.ui.viewsComboBox.currentIndex = 2
    panel.ui.probabilitiesCheckBox.checked = True
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    slicer.mrmlScene.Clear(False)
    assert panel.ui.modelComboBox.currentText == "cine_sax" and not panel.ui.probabilitiesCheckBox.checked
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Connect()
    assert panel.ui.probabilitiesCheckBox.checked and panel.ui.viewsComboBox.currentIndex == 2
    assert panel.logic.getParameterNode().modelFolder == tiny_bundle
    assert panel.ui.referenceSelector.currentNode().GetName() == "Reference"


def test_what_a_script_sets_the_panel_shows_at_once(panel, cine, shown):
    reference = reference_of(cine, shown)
    parameters = panel.logic.getParameterNode()
    parameters.outputSegmentation = reference
    parameters.reference = reference
    assert panel.ui.referenceSelector.currentNode() == reference
    assert panel.ui.compareButton.enabled
