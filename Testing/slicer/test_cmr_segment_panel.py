"""CMRSegment's panel with a tiny network of random weights: the flow, not the accuracy, is what is tested here."""

import numpy as np
import pytest
import slicer

from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.segmentations import add_label_frames, labels_of_node, oriented_image
from CMRSimExtension.slicer_bridge.sequences import add_cine, cine_of_node
from CMRSimExtension.slicer_bridge.tables import function_of_table

torch = pytest.importorskip("torch", reason="needs torch (pip extra 'segment')")

CHILD_SECONDS = 180
"""A child imports torch and runs a tiny network; only a hang takes this long."""


def node_ids() -> set[str]:
    scene = slicer.mrmlScene
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A MONAI bundle of a tiny untrained network: its output is arbitrary, and the same every time."""
    from CMRSimExtension.networks.catalogue import build_network
    from CMRSimExtension.segmentation.bundle import write_bundle

    settings = {"widths": (4, 8, 8)}
    torch.manual_seed(3)
    network = build_network("slice_unet", 1, 4, **settings)
    return write_bundle(
        tmp_path_factory.mktemp("models") / "tiny", name="tiny", state=network.state_dict(), network="slice_unet",
        network_settings=settings, classes=("lv_blood", "lv_myocardium", "rv_blood"), description="untrained", size=64)


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
def shown(host, cine):
    return add_cine(cine, "Cine")


@pytest.fixture
def panel(open_panel, shown, bundle):
    """The panel with the cine and the tiny network chosen."""
    opened = open_panel("CMRSegment")
    parameters = opened.logic.getParameterNode()
    parameters.inputNode = shown.proxy
    parameters.model = "folder"
    parameters.modelFolder = bundle
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


def test_an_altered_model_is_refused_and_leaves_the_scene(panel, host, bundle, tmp_path, slot_errors):
    import shutil

    altered = shutil.copytree(bundle, tmp_path / "altered")
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


def test_function_and_curve_are_those_of_the_labels(panel, host, cine, shown):
    from dataclasses import asdict

    from CMRSimExtension.evaluation.function import function_from_labels

    dx, dy, dz = cine.grid.spacing_mm
    curves = function_from_labels(cine.labels, (dz, dy, dx))
    result = {
        "labels": cine.labels, "frames": [0, 1, 2], "curves": asdict(curves), "normal_ranges": {}, "maps_percent": {},
        "notes": []}
    nodes = panel.logic.task(panel.logic.getParameterNode()).add(result)
    assert function_of_table(nodes.function)["lv_ef_percent"] == pytest.approx(curves.function.lv_ef_percent, abs=0.005)
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


def test_what_a_script_sets_the_panel_shows_at_once(panel, cine, shown):
    reference = reference_of(cine, shown)
    parameters = panel.logic.getParameterNode()
    parameters.outputSegmentation = reference
    parameters.reference = reference
    assert panel.ui.referenceSelector.currentNode() == reference
    assert panel.ui.compareButton.enabled
