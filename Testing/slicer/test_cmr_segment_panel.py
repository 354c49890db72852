"""CMRSegment's panel with a tiny network of random weights: the flow, not the accuracy, is what is tested here."""

import numpy as np
import pytest
import slicer

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames, labels_of_node, oriented_image
from CMRSimExtension.slicer_bridge.sequences import add_cine, cine_of_node
from CMRSimExtension.slicer_bridge.tables import function_of_table
from Testing.slicer.conftest import node_ids

torch = pytest.importorskip("torch", reason="needs torch (pip extra 'segment')")

CHILD_SECONDS = 180
"""A child imports torch and runs a tiny network; only a hang takes this long."""


@pytest.fixture
def cine() -> Cine:
    """Three frames of a bright pool in a grey ring, with a bright crescent beside it; oblique."""
    rng = np.random.default_rng(2)
    directions = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag([2.0, 2.0, 9.0])
    shape = (3, 72, 80)
    rows, columns = np.indices(shape[1:])
    distance = np.hypot(rows - 36, columns - 42)
    labels = np.zeros((3, *shape), dtype=np.uint8)
    for frame, radius in enumerate((11, 7, 9)):
        labels[frame, :, distance < radius + 5] = 2
        labels[frame, :, distance < radius] = 1
        labels[frame, :, 28:44, 14:24] = 3
    image = np.choose(labels, [60.0, 400.0, 150.0, 380.0]) + rng.normal(0, 10, labels.shape)
    times = np.tile([0.0, 300.0, 600.0], (3, 1))
    return Cine(image.astype(np.float32), ImageGrid(affine, shape, 8.0), times_ms=times, labels=labels)


@pytest.fixture
def panel(open_panel, shown, tiny_bundle):
    """The panel with the cine and the tiny network chosen."""
    opened = open_panel("CMRSegment")
    parameters = opened.logic.getParameterNode()
    parameters.inputNode = shown.proxy
    parameters.model = "folder"
    parameters.modelFolder = tiny_bundle
    return opened


def apply(panel, host):
    panel.ui.applyButton.click()
    assert host.run_until(lambda: not panel.job.running, CHILD_SECONDS)


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


def reference_of(cine, shown):
    return add_label_frames(cine.labels, cine.grid, "Reference", shown).proxy


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
    np.testing.assert_array_equal(values["reference"], values["predicted"])


def found(cine: Cine, **others) -> dict:
    """What the ``segment`` job gives when it finds what is there."""
    from dataclasses import asdict

    from CMRSimExtension.evaluation.function import function_from_labels

    dx, dy, dz = cine.grid.spacing_mm
    curves = function_from_labels(cine.labels, (dz, dy, dx), height_cm=180.0, weight_kg=80.0)
    return {
        "labels": cine.labels, "frames": [0, 1, 2], "curves": asdict(curves), "normal_ranges": {}, "maps_percent": {},
        "notes": []} | others


def test_maps_of_probability_and_uncertainty_keep_step_with_the_cine(panel, cine, shown):
    from CMRSimExtension.slicer_bridge.jobs import maps_percent

    frames = [0, 2]
    shares = np.stack([cine.labels[frames] == label for label in range(4)], axis=1) * np.float16(0.75)
    maps = maps_percent(shares, np.full(shares[:, 0].shape, 0.5, np.float16), {1: 1, 2: 2, 3: 3})
    nodes = panel.logic.task(panel.logic.getParameterNode()).add(found(cine, frames=frames, maps_percent=maps))
    names = [node.GetName().removeprefix("Cine segmentation ") for node in nodes.maps]
    assert names == [
        "uncertainty", "LV blood pool probability", "LV myocardium probability", "RV blood pool probability"]
    for frame, share in ((2, 75), (1, 0), (0, 75)):  # frame 1 was not asked for
        shown.browser.SetSelectedItemNumber(frame)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(nodes.maps[2]), (cine.labels[frame] == 2) * share)


def test_function_is_updated_in_place_when_it_is_asked_for(panel, cine, shown):
    assert not panel.ui.functionButton.enabled
    nodes = panel.logic.task(panel.logic.getParameterNode()).add(found(cine))
    before, name = function_of_table(nodes.function), nodes.function.GetName()
    smaller = np.where(cine.labels[0] == 1, 0, cine.labels[0]).astype(np.uint8)
    smaller[0] = cine.labels[0, 0]
    # The largest pool now stands in one slice of three, so another frame is end diastole.
    assert slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        oriented_image((smaller == 1).astype(np.uint8), cine.grid), nodes.segmentation, "lv_blood", 0)
    panel.ui.functionButton.click()
    after = function_of_table(slicer.util.getNode(name))
    assert after["lv_edv_ml"] < before["lv_edv_ml"]
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 1


def test_the_frames_can_be_stepped_through_in_the_toolbar(panel, cine, shown):
    panel.logic.showResult(panel.logic.task(panel.logic.getParameterNode()).add(found(cine)))
    assert slicer.modules.sequences.browser_in_toolbar == shown.browser


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


def test_function_is_indexed_where_height_and_weight_are_known(panel, cine, shown):
    values = function_of_table(panel.logic.task(panel.logic.getParameterNode()).add(found(cine)).function)
    # Mosteller: sqrt(180 x 80 / 3600) = 2 m2; the table rounds to 0.01.
    assert values["lv_edv_ml_per_m2"] == pytest.approx(values["lv_edv_ml"] / 2.0, abs=0.01)


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


def test_the_review_buttons_wait_for_a_segmentation(panel, host):
    assert not panel.ui.editButton.enabled
    assert not panel.ui.compareButton.enabled
    panel.logic.process(panel.logic.getParameterNode())
    assert panel.ui.editButton.enabled


def test_edit_opens_the_segment_editor_on_the_result(panel, host, cine, shown):
    panel.logic.getParameterNode().outputSegmentation = reference_of(cine, shown)
    shown.browser.SetPlaybackActive(True)
    panel.ui.editButton.click()
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    assert editor.segmentationNode().GetName() == "Reference"
    assert editor.sourceVolumeNode().GetID() == shown.proxy.GetID()
    assert not shown.browser.GetPlaybackActive()


def test_a_correction_stays_with_its_frame(panel, host, cine, shown):
    segmentation = reference_of(cine, shown)
    panel.logic.getParameterNode().outputSegmentation = segmentation
    panel.ui.editButton.click()
    shown.browser.SetSelectedItemNumber(1)
    corrected = (cine.labels[1] == 3).astype(np.uint8)
    corrected[1, 60:64, 60:64] = 1
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        oriented_image(corrected, cine.grid), segmentation, "rv_blood", 0)
    shown.browser.SetSelectedItemNumber(2)
    labels, _ = labels_of_node(segmentation)
    assert (labels[1, 1, 60:64, 60:64] == 3).all()
    np.testing.assert_array_equal(labels[[0, 2]], cine.labels[[0, 2]])


def test_surfaces_are_shown(panel, host, cine, shown):
    import vtk

    segmentation = reference_of(cine, shown)
    panel.logic.getParameterNode().outputSegmentation = segmentation
    panel.ui.show3dButton.click()
    surface = vtk.vtkPolyData()
    assert segmentation.GetClosedSurfaceRepresentation("lv_blood", surface) and surface.GetNumberOfPoints() > 0


def test_function_and_curve_are_those_of_the_labels(panel, cine, shown):
    result = found(cine)
    nodes = panel.logic.task(panel.logic.getParameterNode()).add(result)
    voxel_ml = 2.0 * 2.0 * 9.0 / 1000.0
    pools = [(frame == 1).sum() * voxel_ml for frame in cine.labels]
    expected = 100.0 * (1.0 - min(pools) / max(pools))
    assert function_of_table(nodes.function)["lv_ef_percent"] == pytest.approx(expected, abs=0.005)
    assert nodes.curves.table.GetTable().GetValue(1, 0).ToDouble() == 300.0


def split(cine: Cine) -> list[Cine]:
    """One series per slice, as scanners export a stack."""
    series = []
    for index in range(cine.grid.shape[0]):
        affine = np.array(cine.grid.affine_ras)
        affine[:3, 3] += index * affine[:3, 2]
        affine[:3, 2] *= 8.0 / 9.0  # a lone slice knows its thickness, not the distance to the next
        series.append(Cine(
            cine.image[:, index : index + 1], ImageGrid(affine, (1, *cine.grid.shape[1:]), 8.0),
            times_ms=cine.times_ms[index : index + 1]))
    return series


def test_series_of_one_stack_are_put_together_by_position(host, cine):
    from CMRSimExtension.slicer_bridge.hierarchy import place_in_folder
    from CMRSimExtension.slicer_bridge.stacks import stack_of_node

    series = [add_cine(part, f"Series {index}") for index, part in enumerate(split(cine))]
    place_in_folder([series[2].proxy, series[0].proxy, series[1].proxy], "Study")
    stack = stack_of_node(series[1].proxy)
    order = slice(None) if np.allclose(stack.grid.affine_ras[:3, 3], cine.grid.affine_ras[:3, 3]) else (
        slice(None, None, -1))
    np.testing.assert_array_equal(stack.image[:, order], cine.image)
    assert stack.grid.spacing_mm[2] == pytest.approx(9.0, abs=1e-9)


def test_a_missing_slice_of_a_stack_is_noticed(cine):
    from CMRSimExtension.slicer_bridge.stacks import assemble

    longer = Cine(np.repeat(cine.image, 2, axis=1), ImageGrid(cine.grid.affine_ras, (6, 72, 80), 8.0),
                  times_ms=np.repeat(cine.times_ms, 2, axis=0))
    parts = split(longer)
    del parts[2]
    with pytest.raises(ValueError, match="a slice is missing"):
        assemble(parts)


def test_a_repeated_series_of_a_stack_is_noticed(cine):
    from CMRSimExtension.slicer_bridge.stacks import assemble

    parts = split(cine)
    with pytest.raises(ValueError, match="same position"):
        assemble([*parts, parts[1]])


def test_a_stack_of_one_is_refused_with_the_cure(panel, shown, slot_errors):
    panel.logic.getParameterNode().assembleStack = True
    panel.ui.applyButton.click()
    assert "untick 'stack'" in str(slot_errors[0])


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
