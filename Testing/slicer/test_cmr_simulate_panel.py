"""CMRSimulate's panel: started, bound, pressed, cancelled, saved and restored."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import slicer

from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import labels_of_node
from CMRSimExtension.slicer_bridge.sequences import cine_of_node
from CMRSimExtension.slicer_bridge.tables import function_of_table
from Testing.slicer.conftest import CHILD_SECONDS, node_ids


@pytest.fixture
def panel(open_panel):
    return open_panel("CMRSimulate")


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


def test_a_preset_sets_the_scan_when_it_is_picked(panel):
    panel.ui.presetComboBox.currentIndex = 3  # Philips 3 T
    panel.ui.presetComboBox.activated.emit(3)
    parameters = panel.logic.getParameterNode()
    assert (parameters.fieldT.value, parameters.trMs, parameters.flipDeg) == (3.0, 2.8, 45.0)


def test_a_new_panel_holds_the_values_of_the_preset_that_it_shows(panel):
    parameters = panel.logic.getParameterNode()
    names = ("fieldT", "trMs", "teMs", "flipDeg", "snr", "matrixSize", "phases", "coils", "slices", "trajectory",
             "segmented")
    fresh = {name: getattr(parameters, name) for name in names}
    panel.logic.applyPreset(parameters)
    assert fresh == {name: getattr(parameters, name) for name in names}


def test_segments_are_asked_for_by_their_check_box_and_end_with_the_next_preset(panel):
    parameters = panel.logic.getParameterNode()
    assert not panel.logic.protocol(parameters).segmented
    panel.ui.segmentedCheckBox.checked = True
    assert parameters.segmented and panel.logic.protocol(parameters).segmented
    panel.ui.presetComboBox.activated.emit(0)
    assert not panel.ui.segmentedCheckBox.checked and not panel.logic.protocol(parameters).segmented


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


def test_a_fault_that_is_on_is_in_the_image_and_in_the_record(tiny):
    parameters = tiny.logic.getParameterNode()
    clean = cine_of_node(tiny.logic.process(parameters).cine.sequence)
    parameters.ghostingMm = 20.0
    faulty = cine_of_node(tiny.logic.process(parameters).cine.sequence)
    assert not np.array_equal(faulty.image, clean.image)
    assert "ghosting" in str(faulty.sidecar) and "ghosting" not in str(clean.sidecar)
