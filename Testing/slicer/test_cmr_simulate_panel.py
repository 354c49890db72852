"""CMRSimulate's panel: started, bound, pressed, cancelled, saved and restored."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import slicer

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames, add_segmentation, labels_of_node
from CMRSimExtension.slicer_bridge.sequences import add_cine, cine_of_node
from CMRSimExtension.slicer_bridge.tables import function_of_table
from CMRSimExtension.slicer_bridge.volumes import fill_volume
from Testing.slicer.conftest import node_ids

CHILD_SECONDS = 120
"""A child starts Python and scans a tiny cine; only a hang takes this long."""


@pytest.fixture
def panel(open_panel):
    return open_panel("CMRSimulate")


@pytest.fixture
def tiny(panel):
    """A panel set to the smallest useful scan."""
    parameters = panel.logic.getParameterNode()
    parameters.matrixSize, parameters.slices, parameters.phases = 64, 2, 3
    return panel


def test_the_panel_shows_the_parameters(panel):
    parameters = panel.logic.getParameterNode()
    assert panel.ui.edvSlider.value == parameters.edvMl
    assert panel.ui.sourceComboBox.currentText == "Virtual patient"


def test_a_slider_changes_its_parameter(panel):
    panel.ui.edvSlider.value = 180
    assert panel.logic.getParameterNode().edvMl == 180.0


def test_a_parameter_moves_its_slider(panel):
    panel.logic.getParameterNode().flipDeg = 35.0
    assert panel.ui.flipSlider.value == 35.0


def test_the_range_of_a_slider_is_that_of_the_parameter(panel):
    assert (panel.ui.edvSlider.minimum, panel.ui.edvSlider.maximum) == (20.0, 700.0)


def test_only_the_chosen_source_is_shown(panel, host):
    from CMRSimulate import SourceKind

    panel.logic.getParameterNode().source = SourceKind.LABELS
    assert not panel.ui.parametricWidget.isVisibleTo(panel.parent)
    assert panel.ui.labelsWidget.isVisibleTo(panel.parent)


def test_a_preset_sets_the_scan_when_it_is_picked(panel):
    panel.ui.presetComboBox.currentIndex = 3  # Philips 3 T
    panel.ui.presetComboBox.activated.emit(3)
    parameters = panel.logic.getParameterNode()
    assert (parameters.fieldT.value, parameters.trMs, parameters.flipDeg) == (3.0, 2.8, 45.0)


def test_a_preset_that_a_scene_restores_leaves_the_user_s_values(panel):
    from CMRSimulate import Preset

    parameters = panel.logic.getParameterNode()
    parameters.flipDeg = 33.0
    parameters.preset = Preset.PHILIPS_3T
    assert parameters.flipDeg == 33.0


def test_random_draws_a_subject_of_the_chosen_pathology(panel):
    from CMRSimulate import Pathology

    parameters = panel.logic.getParameterNode()
    parameters.pathology = Pathology.DCM
    panel.ui.randomButton.click()
    assert parameters.edvMl > parameters.esvMl > 0
    assert parameters.edvMl > 126.0  # dilated: above the mean of normal women


@pytest.mark.parametrize("seed", [588, 1352])
def test_the_largest_dilated_hearts_that_are_drawn_can_be_set(panel, seed):
    """Their volumes at end diastole (472 ml) and end systole (403 ml) are rare, and real."""
    from CMRSimExtension.anatomy.subject import Subject
    from CMRSimulate import Pathology

    parameters = panel.logic.getParameterNode()
    parameters.pathology = Pathology.DCM
    panel.logic.randomise(parameters, seed)
    drawn = Subject.random(seed, pathology="dcm").function
    assert drawn.lv_edv_ml > 450 or drawn.lv_esv_ml > 400
    assert (parameters.edvMl, parameters.esvMl, parameters.massG) == tuple(
        float(round(value)) for value in (drawn.lv_edv_ml, drawn.lv_esv_ml, drawn.lv_mass_g))


def test_a_subject_outside_the_ranges_leaves_the_last_one_whole(panel, monkeypatch):
    from types import SimpleNamespace

    from CMRSimExtension.anatomy.subject import Subject

    giant = SimpleNamespace(
        parameters=SimpleNamespace(torso=SimpleNamespace(
            sex="M", age_years=30.0, height_cm=180.0, weight_kg=80.0)),
        function=SimpleNamespace(lv_edv_ml=900.0, lv_esv_ml=300.0, lv_mass_g=200.0))
    monkeypatch.setattr(Subject, "random", lambda seed, pathology: giant)
    parameters = panel.logic.getParameterNode()
    names = ("seed", "sex", "ageYears", "heightCm", "weightKg", "edvMl", "esvMl", "massG")
    before = [parameters.getValue(name) for name in names]
    with pytest.raises(ValueError, match="range"):
        panel.logic.randomise(parameters, 5)
    assert [parameters.getValue(name) for name in names] == before


@dataclass(frozen=True)
class Applied:
    """What was there after Apply, and what the same parameters give in this process."""

    cine: Cine
    labels: np.ndarray
    shown: tuple[bool, ...]
    playing: bool
    controls: str | None
    function: dict[str, float]
    here: Cine


@pytest.fixture(scope="module")
def applied(application) -> Applied:
    """One press of Apply; the child process takes its time, so its outcome is looked at from several sides."""
    application.new_scene()
    panel = application.open_panel("CMRSimulate")
    parameters = panel.logic.getParameterNode()
    parameters.matrixSize, parameters.slices, parameters.phases = 64, 2, 3
    panel.ui.applyButton.click()
    assert application.run_until(lambda: not panel.job.running, CHILD_SECONDS)
    proxy = slicer.util.getNode("Simulated cine")
    result = Applied(
        cine=cine_of_node(proxy), labels=labels_of_node(slicer.util.getNode("Simulated cine heart"))[0],
        shown=tuple(
            composite.GetBackgroundVolumeID() == proxy.GetID()
            for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")),
        playing=bool(slicer.modules.sequences.logic().GetFirstBrowserNodeForProxyNode(proxy).GetPlaybackActive()),
        controls=None if slicer.modules.sequences.browser_in_toolbar is None else (
            slicer.modules.sequences.browser_in_toolbar.GetName()),
        function=function_of_table(slicer.util.getNode("Simulated cine true function")),
        here=cine_of_node(panel.logic.process(parameters).cine.sequence))
    application.close_panel(panel)
    return result


def test_apply_adds_a_cine_and_its_segmentation(applied):
    assert applied.cine.image.shape[:2] == (3, 2)
    assert applied.labels.shape == applied.cine.image.shape
    assert {1, 2} <= set(np.unique(applied.labels))


def test_apply_shows_the_cine_in_every_slice_view_and_plays_it(applied):
    assert applied.shown == (True, True, True)
    assert applied.playing


def test_what_plays_can_be_stopped_in_the_toolbar(applied):
    assert applied.controls == "Simulated cine browser"


def test_the_function_is_the_one_that_was_asked_for(applied):
    # The panel's defaults; the model reaches volumes and mass within 1 %.
    asked = {"lv_edv_ml": 126.0, "lv_esv_ml": 50.0, "lv_mass_g": 84.0}
    assert {name: applied.function[name] for name in asked} == pytest.approx(asked, rel=0.01)


def test_the_child_makes_what_this_process_makes(applied):
    np.testing.assert_array_equal(applied.here.image, applied.cine.image)


def test_apply_becomes_cancel_while_it_runs(tiny, host):
    tiny.ui.applyButton.click()
    assert tiny.ui.applyButton.text == "Cancel"
    tiny.ui.applyButton.click()
    assert tiny.ui.applyButton.text == "Apply"


def test_cancel_leaves_the_scene_as_it_was(tiny, host):
    before = node_ids()
    tiny.ui.applyButton.click()
    tiny.ui.applyButton.click()
    host.run_until(lambda: False, 0.2)
    assert node_ids() == before
    assert "nothing was changed" in tiny.ui.applyStatusLabel.text


def test_an_impossible_heart_is_refused_before_anything_runs(tiny, host, slot_errors):
    before = node_ids()
    parameters = tiny.logic.getParameterNode()
    parameters.edvMl, parameters.esvMl = 60.0, 80.0
    tiny.ui.applyButton.click()
    assert not tiny.job.running
    assert "lower the one or raise the other" in str(slot_errors[0])
    assert node_ids() == before


def test_a_refusal_of_the_library_reaches_the_user_and_leaves_the_scene(tiny, host, slot_errors):
    before = node_ids()
    task = tiny.logic.task(tiny.logic.getParameterNode())
    tiny.job.run(replace(task, values=task.values | {"plane": "oblique"}))
    assert host.run_until(lambda: not tiny.job.running, CHILD_SECONDS)
    assert "plane is 'oblique'; choose from" in str(slot_errors[0])
    assert node_ids() == before


def test_no_segmentation_is_refused_with_the_cure(tiny, slot_errors):
    from CMRSimulate import SourceKind

    tiny.logic.getParameterNode().source = SourceKind.LABELS
    tiny.ui.applyButton.click()
    assert "choose one and press Apply again" in str(slot_errors[0])


def test_the_preview_appears_and_goes(tiny, host):
    before = node_ids()
    tiny.ui.livePreviewCheckBox.checked = True
    shown = lambda: slicer.mrmlScene.GetFirstNodeByName("CMRSimulate preview")  # noqa: E731
    assert host.run_until(lambda: shown() is not None, CHILD_SECONDS)
    assert slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0].GetBackgroundVolumeID() == shown().GetID()
    tiny.ui.livePreviewCheckBox.checked = False
    assert node_ids() == before


def preview_node():
    return slicer.mrmlScene.GetFirstNodeByName("CMRSimulate preview")


def preview_is_idle(panel) -> bool:
    return preview_node() is not None and panel.preview.idle


def test_the_preview_ends_at_the_last_position_of_the_slider(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    for flip in (20, 40, 60, 80):
        tiny.ui.flipSlider.value = flip
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    last = slicer.util.arrayFromVolume(preview_node()).copy()
    tiny.ui.flipSlider.value = 20
    assert host.run_until(lambda: tiny.preview.idle, CHILD_SECONDS)
    tiny.ui.flipSlider.value = 80
    assert host.run_until(lambda: tiny.preview.idle, CHILD_SECONDS)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(preview_node()), last)


def test_what_makes_no_scan_is_said_beside_the_sliders_and_goes_with_its_cause(tiny, host):
    parameters = tiny.logic.getParameterNode()
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    before = node_ids()
    parameters.esvMl = 300.0
    assert host.run_until(lambda: "lower the one or raise the other" in tiny.ui.previewStatusLabel.text, 5)
    assert node_ids() == before
    parameters.esvMl = 50.0
    assert host.run_until(lambda: tiny.ui.previewStatusLabel.text == "", CHILD_SECONDS)


def test_the_preview_s_process_ends_with_it(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    process = tiny.preview._process
    tiny.ui.livePreviewCheckBox.checked = False
    assert process.ended and process.exit_code is not None


def test_closing_the_scene_ends_the_preview(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    process = tiny.preview._process
    slicer.mrmlScene.Clear(False)
    assert process.ended and preview_node() is None
    assert not tiny.ui.livePreviewCheckBox.checked


def test_leaving_the_module_puts_the_preview_away_and_coming_back_brings_it(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    tiny.exit()
    assert preview_node() is None
    tiny.enter()
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)


def test_a_fault_shows_in_the_preview(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    assert host.run_until(lambda: preview_is_idle(tiny), CHILD_SECONDS)
    clean = slicer.util.arrayFromVolume(preview_node()).copy()
    tiny.ui.ghostingSlider.value = 20
    assert host.run_until(lambda: tiny.preview.idle, CHILD_SECONDS)
    assert not np.array_equal(slicer.util.arrayFromVolume(preview_node()), clean)


def test_the_preview_is_offered_in_no_selector(tiny, host):
    tiny.ui.livePreviewCheckBox.checked = True
    host.run_until(lambda: slicer.mrmlScene.GetFirstNodeByName("CMRSimulate preview") is not None, CHILD_SECONDS)
    preview = slicer.mrmlScene.GetFirstNodeByName("CMRSimulate preview")
    assert preview.GetHideFromEditors() and not preview.GetSaveWithScene()


def test_a_saved_scene_restores_the_panel(panel, host, tmp_path):
    parameters = panel.logic.getParameterNode()
    panel.ui.edvSlider.value = 199
    panel.ui.seedSpinBox.value = 77
    parameters.outputName = "Restored; cine: 100 %"
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    slicer.mrmlScene.Clear(False)
    assert panel.ui.edvSlider.value == 126.0
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Connect()
    assert (panel.ui.edvSlider.value, panel.ui.seedSpinBox.value) == (199.0, 77)
    assert panel.ui.outputNameLineEdit.text == "Restored; cine: 100 %"


def test_closing_the_scene_ends_the_job(tiny, host):
    tiny.ui.applyButton.click()
    slicer.mrmlScene.Clear(False)
    assert not tiny.job.running
    assert tiny.ui.applyButton.text == "Apply"


def test_the_choices_are_those_of_the_library():
    from CMRSimExtension.anatomy.reference import PATHOLOGIES
    from CMRSimExtension.scanner.planning import PLANES
    from CMRSimExtension.scanner.presets import PRESETS
    from CMRSimExtension.scanner.protocol import TRAJECTORIES
    from CMRSimulate import Pathology, Plane, Preset, Trajectory

    for choices, library in (
        (Preset, PRESETS), (Plane, PLANES), (Pathology, PATHOLOGIES), (Trajectory, TRAJECTORIES)
    ):
        assert {member.value for member in choices} == set(library)


def test_every_choice_has_a_text_of_its_own():
    from CMRSimulate import Pathology, Plane, Preset, Sex, SourceKind, Trajectory

    for choices in (Preset, Plane, Pathology, Trajectory, Sex, SourceKind):
        assert len({member.label() for member in choices}) == len(choices)


def test_every_fault_of_the_library_has_a_slider_within_its_limits(panel):
    from CMRSimExtension.scanner.faults import FAULTS
    from CMRSimulate import FAULT_PARAMETERS

    assert set(FAULT_PARAMETERS) == set(FAULTS)
    for name, parameter in FAULT_PARAMETERS.items():
        slider = getattr(panel.ui, f"{parameter.removesuffix('Mm').removesuffix('Hz')}Slider")
        low, high = FAULTS[name].limits
        assert low <= slider.minimum <= 0.0 < slider.maximum <= high


def test_a_fault_that_is_off_is_not_asked_for(panel):
    parameters = panel.logic.getParameterNode()
    assert panel.logic.task(parameters).values["faults"] == {}
    panel.ui.ghostingSlider.value = 12
    assert panel.logic.task(parameters).values["faults"] == {"ghosting": 12.0}


def test_motion_of_a_single_slice_is_refused_before_anything_runs(panel, slot_errors):
    from CMRSimulate import Plane

    parameters = panel.logic.getParameterNode()
    parameters.makeMotion, parameters.plane = True, Plane.FOUR_CHAMBER
    panel.ui.applyButton.click()
    assert "raise the number of slices or untick the motion" in str(slot_errors[0])
    assert not panel.job.running


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


def population_values(panel, tmp_path) -> dict:
    parameters = panel.logic.getParameterNode()
    parameters.matrixSize, parameters.slices, parameters.phases = 64, 1, 1
    parameters.populationFolder, parameters.populationCount = tmp_path, 2
    return panel.logic.populationTask(parameters).values


def test_a_folder_that_was_not_chosen_is_not_shown_as_one(panel, tmp_path):
    assert panel.ui.populationFolderButton.text == "Choose a folder…"
    with pytest.raises(ValueError, match="no folder is chosen"):
        panel.logic.populationTask(panel.logic.getParameterNode())
    panel.logic.getParameterNode().populationFolder = tmp_path
    assert panel.ui.populationFolderButton.text == str(tmp_path)


def test_a_population_is_written_in_the_background(panel, host, tmp_path):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    population_values(panel, tmp_path)
    panel.ui.populationButton.click()
    assert panel.ui.populationButton.text == "Cancel"
    assert host.run_until(lambda: not panel.populationJob.running, CHILD_SECONDS)
    assert panel.ui.populationStatusLabel.text == "2 subjects written, 0 were there already."
    assert (tmp_path / "subject_00001_labels.nii.gz").is_file()


def test_a_population_can_be_cancelled_and_leaves_whole_subjects(panel, host, tmp_path):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    before = node_ids()
    population_values(panel, tmp_path)
    panel.logic.getParameterNode().populationCount = 50
    panel.ui.populationButton.click()
    assert not panel.ui.applyButton.enabled  # one task at a time
    assert host.run_until(lambda: (tmp_path / "subject_00001.json").is_file(), CHILD_SECONDS)
    assert host.run_until(lambda: panel.ui.populationProgressBar.value > 0, CHILD_SECONDS)
    assert panel.ui.populationProgressBar.value < panel.ui.populationProgressBar.maximum
    panel.ui.populationButton.click()
    assert panel.ui.populationButton.text == "Write population" and panel.ui.applyButton.enabled
    assert node_ids() == before
    sidecars = {path.name.removesuffix(".json") for path in tmp_path.glob("subject_*.json")}
    images = {path.name.removesuffix(".nii.gz") for path in tmp_path.glob("subject_?????.nii.gz")}
    assert sidecars and sidecars <= images


def test_a_population_that_was_stopped_goes_on(panel, tmp_path):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    from CMRSimExtension.slicer_bridge import jobs

    values = population_values(panel, tmp_path)
    (tmp_path / "subject_00000.json").write_text("{}", encoding="utf-8")  # as if made before
    assert jobs.run("population", values, lambda share, text: None) == {"written": 1, "skipped": 1}


def test_a_folder_of_another_population_is_left_alone(panel, tmp_path):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    from CMRSimExtension.slicer_bridge import jobs

    values = population_values(panel, tmp_path)
    (tmp_path / jobs.POPULATION_RECORD).write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="holds a population of another protocol"):
        jobs.run("population", values, lambda share, text: None)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_population_goes_to_a_folder_that_exists(panel, tmp_path, slot_errors):
    panel.logic.getParameterNode().populationFolder = tmp_path / "none"
    panel.ui.populationButton.click()
    assert "choose one to write the population to" in str(slot_errors[0])


def test_a_fault_that_is_on_is_in_the_image_and_in_the_record(tiny):
    parameters = tiny.logic.getParameterNode()
    clean = cine_of_node(tiny.logic.process(parameters).cine.sequence)
    parameters.ghostingMm = 20.0
    faulty = cine_of_node(tiny.logic.process(parameters).cine.sequence)
    assert not np.array_equal(faulty.image, clean.image)
    assert "ghosting" in str(faulty.sidecar) and "ghosting" not in str(clean.sidecar)
