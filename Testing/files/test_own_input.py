"""No command replaces or deletes the files that it reads."""

import json

import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import InputError
from CMRSimExtension.files.cine_files import refuse_own_input, write_cine
from CMRSimExtension.segmentation.cases import find_cases
from CMRSimExtension.segmentation.folder import segment_folder
from CMRSimExtension.segmentation.job import segment_file


@pytest.fixture
def heart(small_cine, tmp_path):
    """heart.nii.gz with labels, anatomy, motion, fractions and heart.json."""
    write_cine(small_cine, tmp_path / "heart.nii.gz")
    return tmp_path / "heart.nii.gz"


@pytest.mark.parametrize(("target", "source"), [
    ("heart.nii.gz", "heart.nii.gz"),
    ("heart.nii.gz", "heart_labels.nii.gz"),
    ("heart_labels.nii.gz", "heart.nii.gz"),
    ("heart.nii", "heart.nii.gz"),
    ("heart.nii.gz", "heart.json"),
    ("heart.nii.gz", "heart_kspace.h5"),
    ("heart.nii.gz", "heart_myocardium.nii.gz"),
    ("heart.seq.nrrd", "heart_labels.seq.nrrd"),
    ("sub/../heart.nii.gz", "heart.nii.gz"),
])
def test_a_target_that_would_replace_an_input_or_what_belongs_to_it_is_refused(heart, tmp_path, target, source):
    (tmp_path / "sub").mkdir()
    if not (tmp_path / source).exists():
        (tmp_path / source).write_bytes(b"the user's")
    with pytest.raises(InputError, match="would be replaced.*another name"):
        refuse_own_input(tmp_path / target, [tmp_path / source])


@pytest.mark.parametrize("target", [
    "tagged.nii.gz", "sub/heart.nii.gz", "heart_seg.nii.gz", "heart.seq.nrrd", "heart.h5", "heart.dcm",
])
def test_another_name_or_folder_is_allowed(heart, tmp_path, target):
    refuse_own_input(tmp_path / target, [heart, tmp_path / "heart_labels.nii.gz"])


def test_a_link_to_the_input_is_the_input(heart, tmp_path):
    try:
        (tmp_path / "link.nii.gz").symlink_to(heart)
    except OSError:
        pytest.skip("needs the right to make symbolic links")
    with pytest.raises(InputError, match="would be replaced"):
        refuse_own_input(tmp_path / "link.nii.gz", [heart])


def test_labels_named_by_the_user_beside_the_target_are_not_swept_away(heart, tmp_path):
    """They are listed by the older cine of that name, whose files the new one replaces."""
    (tmp_path / "heart_mine.nii.gz").write_bytes((tmp_path / "heart_labels.nii.gz").read_bytes())
    record = json.loads((tmp_path / "heart.json").read_text())
    record["files"]["mine"] = "heart_mine.nii.gz"
    (tmp_path / "heart.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="heart_mine.nii.gz would be replaced"):
        refuse_own_input(heart, [tmp_path / "heart_mine.nii.gz"])


@pytest.mark.parametrize("arguments", [
    ["simulate", "--anatomy", "heart_labels.nii.gz", "--out", "heart.nii.gz"],
    ["tag", "heart.nii.gz", "--out", "heart.nii.gz"],
    ["tag", "heart.nii.gz", "--labels", "t_labels.nii.gz", "--out", "t.nii.gz"],
    ["convert", "heart_labels.nii.gz", "heart.nii.gz"],
    ["convert", "heart.nii.gz", "heart_labels.nii.gz"],
])
def test_every_command_leaves_its_inputs_alone(heart, tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t_labels.nii.gz").write_bytes((tmp_path / "heart_labels.nii.gz").read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main([*arguments, "--quiet"]) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_segmenting_onto_the_image_is_refused_before_anything_is_read(heart):
    before = {path.name: path.read_bytes() for path in heart.parent.iterdir()}
    with pytest.raises(InputError, match="heart.nii.gz would be replaced"):
        segment_file(heart, heart, None)
    assert {path.name: path.read_bytes() for path in heart.parent.iterdir()} == before


def test_segmenting_a_folder_into_itself_is_refused_before_anything_is_read(heart):
    before = {path.name: path.read_bytes() for path in heart.parent.iterdir()}
    with pytest.raises(InputError, match="heart.nii.gz would be replaced"):
        segment_folder(heart.parent, heart.parent, None)
    assert {path.name: path.read_bytes() for path in heart.parent.iterdir()} == before


@pytest.mark.parametrize("name", ["heart_myocardium", "other_gt", "other_seg", "other_labels", "HEART2_uncertainty"])
def test_labels_and_maps_in_a_folder_of_cases_are_no_images(heart, tmp_path, name):
    (tmp_path / f"{name}.nii.gz").write_bytes((tmp_path / "heart_labels.nii.gz").read_bytes())
    (tmp_path / "UPPER.NII.GZ").write_bytes(heart.read_bytes())
    assert [path.name for path in find_cases(tmp_path).paths] == ["UPPER.NII.GZ", "heart.nii.gz"]

