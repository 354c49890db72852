"""`cmrsim simulate --again`: from a sidecar to the same files, or to the reason why not."""

import json
import shutil

import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.files.nifti import read_nifti, write_nifti
from Testing.anatomy.xcat_phantom import write

SMALL = ["--matrix", "48", "--phases", "2", "--slices", "2", "--quiet"]


def simulate(folder, *options, name="X"):
    folder.mkdir(exist_ok=True)
    assert main(["simulate", "--out", str(folder / f"{name}.nii.gz"), *SMALL, *options]) == 0
    return folder / f"{name}.json"


def again(sidecar, folder, *options, name="X"):
    folder.mkdir(exist_ok=True)
    return main(["simulate", "--out", str(folder / f"{name}.nii.gz"), "--quiet", "--again", str(sidecar), *options])


def same_files(first, second):
    names = sorted(path.name for path in first.iterdir() if path.name.startswith("X"))
    assert names == sorted(path.name for path in second.iterdir())
    # The raw data's file has the time of its writing inside.
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names if name[-3:] != ".h5")


def change(sidecar, edit):
    document = json.loads(sidecar.read_text(encoding="utf-8"))
    edit(document["record"])
    sidecar.write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("heart"), "--seed", "5", "--pathology", "dcm", "--truth", "labels,motion",
                    "--fault", "ghosting=4", "--snr", "20")  # fmt: skip


@pytest.fixture
def copy(heart, tmp_path):
    return shutil.copy(heart, tmp_path / "X.json")


@pytest.mark.parametrize("given", ["X.json", "X.nii.gz"])
def test_a_sidecar_makes_the_same_files_again(heart, tmp_path, given):
    assert again(heart.with_name(given), tmp_path / "new") == 0
    assert same_files(heart.parent, tmp_path / "new")


@pytest.mark.parametrize("options", [
    ["--tag", "grid", "--spacing-mm", "16", "--flip-deg", "9"],
    ["--tag", "lines", "--cspamm", "--spacing-px", "3", "--train", "1-1", "--rotation-deg", "-25"],
])  # fmt: skip
def test_tags_laid_on_by_the_scan_come_back(tmp_path, options):
    sidecar = simulate(tmp_path / "old", "--seed", "2", *options)
    assert again(sidecar, tmp_path / "new") == 0
    assert same_files(sidecar.parent, tmp_path / "new")


def test_a_turned_field_of_view_is_turned_again(tmp_path):
    sidecar = simulate(tmp_path / "old", "--plane", "4ch", "--slices", "1", "--rotation-deg", "25")
    assert json.loads(sidecar.read_text(encoding="utf-8"))["record"]["simulation"]["rotation_deg"] == 25.0
    assert again(sidecar, tmp_path / "new") == 0
    assert same_files(sidecar.parent, tmp_path / "new")
    change(sidecar, lambda record: record["simulation"].pop("rotation_deg"))  # as before it could be turned
    assert again(sidecar, tmp_path / "plain") == 0
    assert not same_files(sidecar.parent, tmp_path / "plain")


def test_tissues_that_were_set_are_set_again(tmp_path, capsys):
    sidecar = simulate(tmp_path / "old", "--tissue", "myocardium:t1_ms=1400,t2_ms=70", "--tissue", "fat:t2_ms=100")
    assert json.loads(sidecar.read_text(encoding="utf-8"))["record"]["simulation"]["tissues"] == {
        "MYOCARDIUM": {"t1_ms": 1400.0, "t2_ms": 70.0}, "FAT": {"t2_ms": 100.0}}
    assert again(sidecar, tmp_path / "new") == 0
    assert same_files(sidecar.parent, tmp_path / "new")
    assert again(sidecar, tmp_path / "other", "--tissue", "fat:t2_ms=90") == 2
    assert "--tissue would make another one" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--segmented"]])
def test_raw_data_are_written_again_where_there_were_some(tmp_path, more):
    sidecar = simulate(tmp_path / "old", "--truth", "labels,kspace", "--coils", "2", *more)
    assert again(sidecar, tmp_path / "new") == 0
    assert (tmp_path / "new" / "X_kspace.h5").is_file() and same_files(sidecar.parent, tmp_path / "new")


@pytest.fixture
def from_labels(small_cine, tmp_path):
    """A cine of a label image with numbers of its own, and the label image beside it."""
    folder = tmp_path / "old"
    folder.mkdir()
    labels = np.array([0, 3, 2, 1], np.uint8)[small_cine.labels[:1]]
    write_nifti(folder / "gt.nii.gz", labels, small_cine.grid.affine_ras)
    return simulate(folder, "--anatomy", str(folder / "gt.nii.gz"), "--labels-map", "acdc", "--seed", "3",
                    "--phase-of-labels", "0.1")  # fmt: skip


def test_an_anatomy_of_a_file_is_found_beside_the_sidecar(from_labels, tmp_path):
    assert again(from_labels, tmp_path / "new") == 0
    assert same_files(from_labels.parent, tmp_path / "new")


def test_an_anatomy_that_lies_elsewhere_is_named_and_may_be_given(from_labels, tmp_path, capsys):
    moved = shutil.move(from_labels.with_name("gt.nii.gz"), tmp_path / "moved.nii.gz")
    assert again(from_labels, tmp_path / "new") == 2
    assert "made from gt.nii.gz, which lies neither" in capsys.readouterr().err
    assert list((tmp_path / "new").iterdir()) == []
    assert again(from_labels, tmp_path / "new", "--anatomy", str(moved)) == 0
    # The record names the file, which is called otherwise now.
    new, old = (json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "new" / "X.json", from_labels))
    assert new["record"]["anatomy"].pop("source") == "moved.nii.gz"
    assert old["record"]["anatomy"].pop("source") == "gt.nii.gz" and new == old
    assert (tmp_path / "new" / "X.nii.gz").read_bytes() == from_labels.with_name("X.nii.gz").read_bytes()


def test_another_anatomy_is_refused(from_labels, tmp_path, capsys):
    other = from_labels.with_name("gt.nii.gz")
    labels = read_nifti(other)
    write_nifti(other, labels.values[..., ::-1, :], labels.grid.affine_ras)
    assert again(from_labels, tmp_path / "new", "--anatomy", str(other)) == 2
    assert "not the anatomy that the cine was made with" in capsys.readouterr().err


def test_one_frame_of_an_xcat_run_comes_back_without_the_others(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    write(folder, frames=2)
    sidecar = simulate(folder, "--anatomy", str(folder / "sub_act_1.bin"), "--seed", "3", "--still")
    assert again(sidecar, tmp_path / "new") == 0
    assert same_files(folder, tmp_path / "new")


@pytest.mark.parametrize(("options", "message"), [
    (["--seed", "5"], "--seed would make another one"),
    (["--snr", "3", "--still"], "--still, --snr would make another one"),
    (["--truth", "motion"], "--truth would make another one"),
    (["--anatomy", "gt.nii.gz"], "describes a parametric subject, which needs no file; leave --anatomy out"),
])  # fmt: skip
def test_options_that_the_record_answers_are_refused(heart, tmp_path, capsys, options, message):
    assert again(heart, tmp_path / "new", *options) == 2
    assert message in capsys.readouterr().err and list((tmp_path / "new").iterdir()) == []


def test_a_configuration_file_is_refused_too(heart, tmp_path, capsys):
    (tmp_path / "scan.yaml").write_text("seed: 7\n")
    assert again(heart, tmp_path / "new", "--config", str(tmp_path / "scan.yaml")) == 2
    assert "--seed would make another one" in capsys.readouterr().err


def test_the_sidecar_itself_is_never_written_over(copy, capsys):
    before = copy.read_bytes()
    assert again(copy, copy.parent) == 2
    assert "would be replaced" in capsys.readouterr().err and copy.read_bytes() == before


@pytest.mark.parametrize(("edit", "message"), [
    (lambda record: record["appearance"].pop("ghosts"), "CMRSimExtension 0.0.9 in a state that did not draw ghosts"),
    (lambda record: record["appearance"].update(halo=1), "CMRSimExtension 0.0.9 in a state that drew halo"),
    (lambda record: record.pop("appearance"), "no 'appearance'"),
    (lambda record: record.pop("preparation"), "no 'preparation'"),
    (lambda record: record.pop("anatomy"), "no 'anatomy'"),
    (lambda record: record.pop("protocol_asked"), "no 'protocol_asked'"),
    (lambda record: record["simulation"].pop("faults"), "no 'faults'"),
    (lambda record: record["anatomy"]["parameters"].pop("torso"), "the sidecar's subject is damaged ('torso')"),
    (lambda record: record["anatomy"]["parameters"]["torso"].pop("sex"), "the sidecar's subject is damaged"),
])  # fmt: skip
def test_a_record_of_an_older_version_is_refused_by_its_name(copy, tmp_path, capsys, edit, message):
    change(copy, edit)
    change(copy, lambda record: record["versions"].update(CMRSimExtension="0.0.9"))
    assert again(copy, tmp_path / "new") == 2
    said = capsys.readouterr().err
    assert message in said and "CMRSimExtension 0.0.9" in said
    assert list((tmp_path / "new").iterdir()) == []


def test_other_versions_are_told_and_so_is_a_cine_that_differs(copy, tmp_path, capsys):
    def edit(record):
        record["versions"]["numpy"] = "1.0"
        record["noise_sd"] *= 1.01

    change(copy, edit)
    assert again(copy, tmp_path / "new") == 0
    said = capsys.readouterr().err
    assert "made with numpy 1.0" in said and "not the same cine: its noise_sd differ from the record" in said


def test_a_tagged_cine_of_the_command_tag_is_sent_to_its_source(heart, tmp_path, capsys):
    tagged = tmp_path / "tagged.nii.gz"
    assert main(["tag", str(heart.with_name("X.nii.gz")), "--out", str(tagged), "--spacing-mm", "16", "--quiet"]) == 0
    assert again(tmp_path / "tagged.json", tmp_path / "new") == 2
    assert "'cmrsim tag' laid tags on" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "message"), [
    (None, "does not exist"), ("{", "JSON"), ("[1]", "not a sidecar of this project"),
    ('{"format": "cmrsim sidecar", "record": {}}', "no 'appearance'"),
])  # fmt: skip
def test_what_is_no_sidecar_is_refused(tmp_path, capsys, text, message):
    if text is not None:
        (tmp_path / "Y.json").write_text(text)
    assert again(tmp_path / "Y.json", tmp_path / "new") == 2
    assert message in capsys.readouterr().err
