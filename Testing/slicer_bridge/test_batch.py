"""The batch script on files and on scenes, as a process of its own where the exit code counts."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slicer

from CMRSimExtension.errors import InputError
from CMRSimExtension.slicer_bridge import batch
from CMRSimExtension.slicer_bridge.sequences import add_cine, cine_of_node

pytest.importorskip("nibabel", reason="needs nibabel: the batch script works through files")
SCRIPT = Path(batch.__file__)
TINY = ["--seed", "3", "--matrix", "48", "--slices", "2", "--phases", "2"]


def run_script(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=300)


def open_scene(path: Path):
    from CMRSimExtension.slicer_bridge.bare_scene import BareScene

    bare = BareScene()
    bare.scene.SetURL(str(path))
    assert bare.scene.ReadFromMRB(str(path), True)
    return bare


def test_a_simulation_becomes_a_scene(tmp_path):
    target = tmp_path / "Heart.mrb"
    done = run_script("simulate", *TINY, "--truth", "labels,motion", "--out", str(target))
    assert done.returncode == 0, done.stderr
    bare = open_scene(target)
    cine = cine_of_node(bare.scene.GetFirstNodeByName("Simulated cine"))
    assert cine.image.shape[:2] == (2, 2)
    assert bare.scene.GetFirstNodeByName("Simulated cine heart") is not None
    assert bare.scene.GetFirstNodeByName("Simulated cine motion") is not None


def test_a_scene_s_cine_is_tagged_beside_it(tmp_path):
    source, target = tmp_path / "Heart.mrb", tmp_path / "Tagged.mrb"
    assert run_script("simulate", *TINY, "--out", str(source)).returncode == 0
    done = run_script("tag", str(source), "--node", "Simulated cine", "--spacing-mm", "20", "--out", str(target))
    assert done.returncode == 0, done.stderr
    bare = open_scene(target)
    tagged = cine_of_node(bare.scene.GetFirstNodeByName("Simulated cine tagged"))
    assert tagged.image.shape == cine_of_node(bare.scene.GetFirstNodeByName("Simulated cine")).image.shape
    assert bare.scene.GetFirstNodeByName("Simulated cine tagged heart") is not None


def test_files_work_as_on_the_command_line(tmp_path):
    target = tmp_path / "heart.nii.gz"
    assert run_script("simulate", *TINY, "--out", str(target), "--quiet").returncode == 0
    assert target.is_file() and (tmp_path / "heart.json").is_file()


def test_unusable_input_ends_with_code_2_and_its_reason(tmp_path):
    done = run_script("simulate", "--edv-ml", "60", "--esv-ml", "90", "--out", str(tmp_path / "Heart.mrb"))
    assert done.returncode == 2
    assert "ESV" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_scene_is_named(tmp_path):
    done = run_script("segment", str(tmp_path / "none.mrb"), "--out", str(tmp_path / "out.mrb"))
    assert done.returncode == 2
    assert "does not exist" in done.stderr


def test_no_command_is_an_error_that_ends_the_application():
    assert run_script().returncode == 2


def test_the_script_leaves_its_own_folder_off_the_path(tmp_path):
    code = (f"import runpy, sys; sys.argv = ['batch.py', '--version']; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
            f"try:\n    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\nexcept SystemExit:\n    pass\n"
            f"print('on path:', {str(SCRIPT.parent)!r} in sys.path)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "on path: False" in done.stdout


def test_the_only_image_of_a_scene_needs_no_name(scene, cine):
    nodes = add_cine(cine, "Cine")
    assert batch.image_node(None).GetID() == nodes.proxy.GetID()


def test_of_several_images_one_must_be_named(scene, cine):
    add_cine(cine, "First")
    second = add_cine(cine, "Second")
    with pytest.raises(InputError, match="there are: 'First', 'Second'"):
        batch.image_node(None)
    assert batch.image_node("Second").GetID() == second.proxy.GetID()


def test_a_name_that_is_not_there_is_answered_with_those_that_are(scene, cine):
    add_cine(cine, "Cine")
    with pytest.raises(InputError, match="no image called 'Film'; there are: 'Cine'"):
        batch.image_node("Film")


def test_a_scene_is_written_with_its_data_only(tmp_path):
    with pytest.raises(InputError, match="as .mrb"):
        batch.run(["simulate", "--out", str(tmp_path / "scene.mrml")])


def test_labels_that_a_command_wrote_become_a_segmentation_beside_the_image(scene, cine, tmp_path):
    from CMRSimExtension.files.nifti import write_nifti
    from CMRSimExtension.slicer_bridge.segmentations import labels_of_node, segmented_frames
    from CMRSimExtension.slicer_bridge.tables import function_of_table

    node = add_cine(cine, "Cine").proxy
    result = tmp_path / "result.nii.gz"
    some = cine.labels * np.array([1, 0, 1, 0, 0], dtype=np.uint8)[:, None, None, None]
    write_nifti(result, some, cine.grid.affine_ras)
    # The parts of what `cmrsim segment` writes that a scene keeps.
    record = {"frames": [0, 2], "function": {}, "indexed": {"lv_edv_ml_per_m2": 71.5},
              "normal_ranges": {"lv_edv_ml_per_m2": [57.0, 105.0]}}
    result.with_name("result.json").write_text(json.dumps(record), encoding="utf-8")
    batch.add_result("segment", result, node)
    segmentation = slicer.util.getNode("Cine segmentation")
    np.testing.assert_array_equal(labels_of_node(segmentation)[0], some)
    assert segmented_frames(segmentation, 5) == [0, 2]
    assert function_of_table(slicer.util.getNode("Cine segmentation function"))["lv_edv_ml_per_m2"] == 71.5


def test_no_volumes_are_given_where_the_command_gave_none(scene, cine, tmp_path):
    from CMRSimExtension.files.nifti import write_nifti

    node = add_cine(cine, "Cine").proxy
    result = tmp_path / "result.nii.gz"
    write_nifti(result, cine.labels, cine.grid.affine_ras)
    result.with_name("result.json").write_text(
        json.dumps({"frames": [0, 1, 2, 3, 4], "function": None}), encoding="utf-8")
    batch.add_result("segment", result, node)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0


def test_maps_of_probability_that_a_command_wrote_keep_step_with_the_image(scene, cine, tmp_path):
    from CMRSimExtension.files.nifti import write_nifti

    proxy = add_cine(cine, "Cine")
    result, frames = tmp_path / "result.nii.gz", [0, 2]
    write_nifti(result, cine.labels, cine.grid.affine_ras)
    shares = np.stack([cine.labels[frames] == label for label in range(4)], axis=-1) * np.float32(0.5)
    write_nifti(tmp_path / "result_probabilities.nii.gz", shares, cine.grid.affine_ras)
    write_nifti(tmp_path / "result_uncertainty.nii.gz", np.full(shares.shape[:4], 0.25, np.float32),
                cine.grid.affine_ras)
    result.with_name("result.json").write_text(json.dumps(
        {"frames": frames, "function": None, "probability_channels": {"1": 1, "2": 2, "3": 3}}), encoding="utf-8")
    batch.add_result("segment", result, proxy.proxy)
    wall = slicer.util.getNode("Cine segmentation LV myocardium probability")
    doubt = slicer.util.getNode("Cine segmentation uncertainty")
    for frame, share, unsure in ((0, 50, 25), (1, 0, 0), (2, 50, 25)):  # frame 1 was not asked for
        proxy.browser.SetSelectedItemNumber(frame)
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(wall), (cine.labels[frame] == 2) * share)
        assert (slicer.util.arrayFromVolume(doubt) == unsure).all()


def single_slice(cine, tmp_path) -> Path:
    """What a command leaves of one slice with its motion."""
    from CMRSimExtension.files.cine_files import write_cine
    from CMRSimExtension.scanner.geometry import ImageGrid

    grid = ImageGrid(cine.grid.affine_ras, (1, *cine.grid.shape[1:]), 8.0)
    one = replace(
        cine, image=cine.image[:, 2:3], labels=cine.labels[:, 2:3], times_ms=cine.times_ms[2:3], grid=grid,
        displacement_mm=cine.displacement_mm[:, 2:3], sidecar={})
    write_cine(one, tmp_path / "result.nii.gz")
    return tmp_path / "result.nii.gz"


@pytest.mark.parametrize(("command", "name"), [("simulate", "Simulated cine"), ("tag", "Cine tagged")])
def test_motion_that_cannot_be_a_transform_is_left_out_and_the_rest_kept(
    scene, cine, tmp_path, capsys, command, name
):
    batch.add_result(command, single_slice(cine, tmp_path), add_cine(cine, "Cine").proxy)
    assert scene.GetFirstNodeByName(f"{name} heart") is not None
    assert scene.GetNumberOfNodesByClass("vtkMRMLTransformNode") == 0
    assert "motion of a single slice" in capsys.readouterr().err


def test_a_file_is_tagged_into_a_scene_of_its_own(tmp_path):
    source, target = tmp_path / "heart.nii.gz", tmp_path / "Tagged.mrb"
    assert batch.run(["simulate", *TINY, "--out", str(source), "--quiet"]) == 0
    assert batch.run(["tag", str(source), "--method", "paper", "--spacing-mm", "20", "--out", str(target)]) == 0
    bare = open_scene(target)
    image, tagged = (cine_of_node(bare.scene.GetFirstNodeByName(name)).image for name in ("heart", "heart tagged"))
    assert image.shape == tagged.shape and not np.array_equal(image, tagged)
    assert bare.scene.GetFirstNodeByName("heart heart") is not None


def test_a_file_is_segmented_into_a_scene_of_its_own(scene, tmp_path, monkeypatch):
    """The network is left out: what stands in for the command writes what it writes."""
    from CMRSimExtension.command_line import main as command_line
    from CMRSimExtension.files.cine_files import read_cine
    from CMRSimExtension.files.nifti import write_nifti

    source, target = tmp_path / "heart.nii.gz", tmp_path / "Segmented.mrb"
    assert batch.run(["simulate", *TINY, "--out", str(source), "--quiet"]) == 0
    truth = read_cine(source).labels

    def segment(arguments: list[str]) -> int:
        result = Path(arguments[arguments.index("--out") + 1])
        write_nifti(result, truth, read_cine(source).grid.affine_ras)
        result.with_name("result.json").write_text('{"frames": [0, 1], "function": null}', encoding="utf-8")
        return 0

    monkeypatch.setattr(command_line, "main", segment)
    assert batch.run(["segment", str(source), "--out", str(target)]) == 0
    bare = open_scene(target)
    from CMRSimExtension.slicer_bridge.segmentations import labels_of_node

    np.testing.assert_array_equal(labels_of_node(bare.scene.GetFirstNodeByName("heart segmentation"))[0], truth)


def test_a_folder_of_cases_makes_no_scene(tmp_path):
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "one.nii.gz").touch()
    with pytest.raises(InputError, match="is a folder of cases, and a scene shows one"):
        batch.run(["segment", str(tmp_path / "cases"), "--out", str(tmp_path / "Scene.mrb")])


def test_a_file_that_is_not_there_is_named_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match=r"none\.nii\.gz does not exist"):
        batch.run(["tag", str(tmp_path / "none.nii.gz"), "--out", str(tmp_path / "Scene.mrb")])


def table_columns(node) -> dict[str, list[str]]:
    """Every column of a table node as text, by its title."""
    table = node.GetTable()
    return {
        table.GetColumnName(column): [
            table.GetValue(row, column).ToString() for row in range(table.GetNumberOfRows())]
        for column in range(table.GetNumberOfColumns())}


def whole_wall_percent(cine) -> np.ndarray:
    """(frames, 3) true strain of the whole wall, as the tables have it."""
    from CMRSimExtension.strain.series import strain_from_displacement

    return np.round(100 * strain_from_displacement(cine).whole, 2)


def strain_shown(scene, name: str) -> np.ndarray:
    columns = table_columns(scene.GetFirstNodeByName(f"{name} strain, true motion values"))
    return np.array([columns[f"{part} (%)"] for part in ("Radial", "Circumferential", "Longitudinal")], float).T


@pytest.fixture
def beating(cine):
    """The cine with an RV that touches the wall of the LV, without which the septum is unknown."""
    labels = cine.labels.copy()
    between = labels[:, 2:4, 16:24, 2:12]
    between[between == 0] = 3
    return replace(cine, labels=labels)


@pytest.fixture
def heart_scene(scene, beating, tmp_path) -> Path:
    """A scene of that cine with its labels and its motion."""
    from CMRSimExtension.slicer_bridge.segmentations import add_label_frames
    from CMRSimExtension.slicer_bridge.transforms import add_motion

    nodes = add_cine(beating, "Cine")
    add_label_frames(beating.labels, beating.grid, "Cine heart", nodes)
    add_motion(beating.displacement_mm, beating.grid, "Cine motion", nodes)
    path = tmp_path / "Heart.mrb"
    assert scene.WriteToMRB(str(path))
    return path


def test_strain_of_a_scene_s_cine_is_that_of_its_labels_and_its_motion(heart_scene, beating, tmp_path):
    target = tmp_path / "Strain.mrb"
    assert batch.run(["strain", str(heart_scene), "--quiet", "--out", str(target)]) == 0
    bare = open_scene(target)
    np.testing.assert_allclose(strain_shown(bare.scene, "Cine"), whole_wall_percent(beating), atol=0.011)
    for part in ("bull's eye", "segments"):
        assert bare.scene.GetFirstNodeByName(f"Cine strain, true motion {part}") is not None
    charts = bare.scene.GetNodesByClass("vtkMRMLPlotChartNode")
    assert [charts.GetItemAsObject(index).GetName() for index in range(charts.GetNumberOfItems())] == [
        "Cine strain, true motion", "Cine strain, true motion peaks"]


def test_strain_of_a_file_becomes_a_scene_of_its_own(scene, beating, tmp_path):
    from CMRSimExtension.files.cine_files import write_cine

    write_cine(replace(beating, sidecar={}), tmp_path / "beating.nii.gz")
    target = tmp_path / "Strain.mrb"
    assert batch.run(["strain", str(tmp_path / "beating.nii.gz"), "--quiet", "--out", str(target)]) == 0
    bare = open_scene(target)
    np.testing.assert_allclose(strain_shown(bare.scene, "beating"), whole_wall_percent(beating), atol=0.011)
    assert bare.scene.GetFirstNodeByName("beating heart") is not None


def test_strain_that_cannot_be_measured_ends_with_code_2_and_no_scene(heart_scene, tmp_path, capsys):
    target = tmp_path / "Strain.mrb"
    assert batch.run(["strain", str(heart_scene), "--method", "harp", "--out", str(target)]) == 2
    assert "cmrsim: error:" in capsys.readouterr().err
    assert not target.exists()


def test_an_option_that_strain_does_not_have_ends_with_code_2(heart_scene, tmp_path, capsys):
    assert batch.run(["strain", str(heart_scene), "--model", "x", "--out", str(tmp_path / "Strain.mrb")]) == 2
    assert "unrecognized arguments: --model" in capsys.readouterr().err


def test_a_registration_of_somebody_else_is_not_taken_for_true_motion(scene, cine):
    from CMRSimExtension.slicer_bridge.scene import ATTRIBUTE_PREFIX
    from CMRSimExtension.slicer_bridge.transforms import add_motion
    from CMRSimExtension.slicer_bridge.volumes import THICKNESS

    nodes = add_cine(cine, "Cine")
    assert batch.motion_beside(nodes.proxy, cine) is None
    motion = add_motion(cine.displacement_mm, cine.grid, "Cine motion", nodes)
    np.testing.assert_allclose(batch.motion_beside(nodes.proxy, cine), cine.displacement_mm, atol=1e-6)
    for frame in range(motion.sequence.GetNumberOfDataNodes()):
        motion.sequence.GetNthDataNode(frame).RemoveAttribute(ATTRIBUTE_PREFIX + THICKNESS)
    assert batch.motion_beside(nodes.proxy, cine) is None
