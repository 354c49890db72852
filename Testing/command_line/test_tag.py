"""`cmrsim tag` and `cmrsim strain` from end to end, at a small size."""

import csv
import json
import sys
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.command_line.tag_options import SimulatedTags
from CMRSimExtension.files.cine_files import read_cine

SMALL = ["--matrix", "96", "--phases", "6", "--slices", "7"]


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    path = tmp_path_factory.mktemp("heart") / "X.nii.gz"
    assert main(["simulate", "--out", str(path), "--seed", "5", *SMALL, "--quiet"]) == 0
    return path


@pytest.fixture(scope="module")
def tagged(heart, tmp_path_factory):
    path = tmp_path_factory.mktemp("tagged") / "T.nii.gz"
    assert main(["tag", str(heart), "--out", str(path), "--spacing-mm", "9", "--quiet"]) == 0
    return path


def test_tagging_writes_image_labels_myocardium_motion_and_sidecar(tagged):
    names = {p.name for p in tagged.parent.iterdir()}
    assert {"T.nii.gz", "T_labels.nii.gz", "T_myocardium.nii.gz", "T_motion.nii.gz", "T.json"} <= names


def test_geometry_and_labels_travel(heart, tagged):
    before, after = read_cine(heart), read_cine(tagged)
    np.testing.assert_allclose(after.grid.affine_ras, before.grid.affine_ras)
    np.testing.assert_array_equal(after.labels, before.labels)


def test_the_myocardium_file_is_label_two(tagged):
    wall = np.asarray(nibabel.load(tagged.parent / "T_myocardium.nii.gz").dataobj).T
    np.testing.assert_array_equal(wall == 1, read_cine(tagged).labels == 2)


def test_a_simulated_image_is_tagged_with_its_true_motion(heart, tagged, tmp_path):
    record = json.loads((tagged.parent / "T.json").read_text())["record"]
    assert record["tagging"]["motion"]["source"] == "true"
    again = tmp_path / "again.nii.gz"
    assert main(["simulate", "--out", str(again), "--seed", "5", *SMALL, "--quiet", "--truth", "labels,motion"]) == 0
    simulated, found = (read_cine(p, ("labels", "motion")) for p in (again, tagged))
    wall = simulated.labels == 2
    np.testing.assert_allclose(found.displacement_mm[wall], simulated.displacement_mm[wall], atol=0.01)


def test_an_image_without_its_sidecar_is_tagged_with_estimated_motion(heart, tmp_path):
    for name in ("X.nii.gz", "X_labels.nii.gz"):
        (tmp_path / name).write_bytes((heart.parent / name).read_bytes())
    assert main(["tag", str(tmp_path / "X.nii.gz"), "--out", str(tmp_path / "T.nii.gz"), "--spacing-mm", "9",
                 "--quiet"]) == 0
    record = json.loads((tmp_path / "T.json").read_text())["record"]
    assert record["tagging"]["motion"]["source"] == "estimated"


def test_labels_that_the_map_lacks_end_with_code_2(heart, tmp_path, capsys):
    labels = heart.parent / "X_labels.nii.gz"
    assert main(["tag", str(heart), "--labels", str(labels), "--labels-map", "1=lv,2=myo", "--out",
                 str(tmp_path / "T.nii.gz"), "--quiet"]) == 2
    assert "holds the labels 3, which the label table '1=lv_blood,2=lv_myocardium' lacks" in capsys.readouterr().err


def test_strain_of_a_tagged_series_is_written_as_table_and_pictures(tagged, tmp_path):
    target = tmp_path / "strain.csv"
    assert main(["strain", str(tagged), "--out", str(target), "--quiet"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"strain.csv", "strain_curves.png", "strain_bullseye.png"}
    with target.open() as file:
        rows = list(csv.DictReader(file))
    whole = [float(row["circumferential"]) for row in rows if row["segment"] == "0"]
    assert len(whole) == 6
    assert whole[0] == pytest.approx(0, abs=1e-6)
    assert -0.3 < min(whole) < -0.08


def test_without_matplotlib_strain_names_the_cure_before_it_reads_anything(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["strain", str(tmp_path / "absent.nii.gz"), "--out", str(tmp_path / "s.csv"), "--quiet"]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_harp_on_six_frames_a_heartbeat_is_refused(tagged, tmp_path, capsys):
    assert main(["strain", str(tagged), "--method", "harp", "--out", str(tmp_path / "h.csv"), "--quiet"]) == 2
    assert "6 frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--spacing-px", "1"], "at least"),
        (["--flip-deg", "200"], "200"),
        (["--spacing-px", "5", "--spacing-mm", "7"], "give one of them"),
        (["--method", "cyclegan"], "no generator of that name"),
        (["--train", "1-5-1"], "1-3-3-1"),
        (["--frames", "100000"], "2 to 500"),
        (["--seed", "-3"], "0 or above"),
        (["--series", "cine"], "leave --series out"),
        (["--labels-map", "acdc"], "give --labels too"),
        (["--method", "paper", "--readout", "bssfp"], "without readout"),
    ],
)
def test_unusable_options_end_with_code_2_and_no_file(heart, tmp_path, capsys, options, message):
    assert main(["tag", str(heart), "--out", str(tmp_path / "T.nii.gz"), *options, "--quiet"]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_labels_of_another_geometry_end_with_code_2(heart, tmp_path, capsys):
    labels = nibabel.load(heart.parent / "X_labels.nii.gz")
    affine = labels.affine.copy()
    affine[0, 3] += 5
    moved = tmp_path / "moved.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.asarray(labels.dataobj), affine), moved)
    assert main(["tag", str(heart), "--labels", str(moved), "--out", str(tmp_path / "T.nii.gz"), "--quiet"]) == 2
    assert "lies elsewhere" in capsys.readouterr().err


def test_strain_of_a_plain_image_without_labels_names_the_cure(heart, tmp_path, capsys):
    (tmp_path / "X.nii.gz").write_bytes(heart.read_bytes())
    assert main(["strain", str(tmp_path / "X.nii.gz"), "--out", str(tmp_path / "s.csv"), "--quiet"]) == 2
    assert "labels" in capsys.readouterr().err


def test_labels_in_place_of_their_image_are_not_tagged(heart, tmp_path, capsys):
    labels = heart.parent / "X_labels.nii.gz"
    assert main(["tag", str(labels), "--out", str(tmp_path / "T.nii.gz"), "--quiet"]) == 2
    assert "looks like a label map; give the image" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["moving", "paper"])
def test_an_image_of_nothing_is_not_tagged(tmp_path, capsys, method):
    nibabel.save(nibabel.Nifti1Image(np.zeros((24, 24, 2, 4), np.float32), np.diag([1.5, 1.5, 8, 1])),
                 tmp_path / "X.nii.gz")
    assert main(["tag", str(tmp_path / "X.nii.gz"), "--out", str(tmp_path / "T.nii.gz"), "--method", method,
                 "--spacing-px", "4", "--quiet"]) == 2
    assert "every voxel of the cine is 0" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["X.nii.gz"]


def test_times_that_had_to_be_assumed_are_told(heart, tmp_path, capsys):
    image = nibabel.load(heart)
    plain = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine)  # as nibabel writes it: a step of 1, no unit
    nibabel.save(plain, tmp_path / "X.nii.gz")
    assert main(["tag", str(tmp_path / "X.nii.gz"), "--out", str(tmp_path / "T.nii.gz"), "--spacing-mm", "9"]) == 0
    said = capsys.readouterr().err
    assert "times of the frames: assumed: no times given, 6 frames evenly" in said


@pytest.mark.parametrize(("kind", "source"), [("parametric subject", "true"), ("label image", "estimated"),
                                               ("XCAT", "estimated")])
def test_tags_laid_by_the_scan_say_whose_motion_they_follow(small_cine, kind, source):
    cine = replace(small_cine, sidecar={"anatomy": {"kind": kind}})
    tagging = SimulatedTags({"tag": "grid"}).recorded(cine).sidecar["tagging"]
    assert tagging["motion"] == {"source": source}


def test_a_cine_is_not_replaced_by_its_own_tags(heart, capsys):
    before = heart.read_bytes()
    assert main(["tag", str(heart), "--out", str(heart), "--quiet"]) == 2
    assert "give the output another name" in capsys.readouterr().err
    assert heart.read_bytes() == before


def test_an_earlier_taggings_motion_does_not_stay_beside_static_tags(heart, tmp_path):
    target = tmp_path / "T.nii.gz"
    assert main(["tag", str(heart), "--out", str(target), "--spacing-mm", "9", "--quiet"]) == 0
    assert main(["tag", str(heart), "--out", str(target), "--method", "paper", "--quiet"]) == 0
    assert not (tmp_path / "T_motion.nii.gz").exists()
