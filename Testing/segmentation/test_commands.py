"""The commands from a configuration to a segmented cine."""

import json

import numpy as np
import pytest
import torch
import yaml

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.overlap import dice
from CMRSimExtension.files.nifti import read_nifti, write_nifti
from CMRSimExtension.segmentation.accuracy_tables import middle_table, offset_table
from CMRSimExtension.segmentation.job import SegmentationOptions
from CMRSimExtension.segmentation.measured_sets import known_sets
from CMRSimExtension.segmentation.measurement import MeasuredCase, function_of, measure
from CMRSimExtension.segmentation.trained import model_of
from Testing.training.toy_slices import draw

DRAW = {"draw": "Testing.training.toy_slices:draw", "chunk": 8, "settings": {"size": 32}}
TOY = {
    "name": "toy",
    "description": "rings and crescents",
    "train": [{"simulated": DRAW, "window": 256}],
    "network": {"settings": {"widths": [8, 16], "detail_width": 4}},
    "augmentation": None,
    "optimisation": {
        "rounds": 2, "steps_per_round": 100, "batch_size": 8, "warmup_steps": 10, "average": 0.95,
        "learning_rate": 0.005,
    },
    "validation": {"count": 32},
    "use": {"pixel_mm": 3.0, "size": 32},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of the train command."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "toy.yaml").write_text(yaml.safe_dump(TOY))
    threads = torch.get_num_threads()
    code = main(["train", str(folder / "toy.yaml"), "--out", str(folder / "toy"), "--workers", "0", "--device", "cpu",
                 "--threads", "1", "--quiet"])  # fmt: skip
    torch.set_num_threads(threads)
    assert code == 0
    return folder / "toy"


@pytest.fixture
def models(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CMRSIM_MODELS", str(tmp_path / "models"))
    assert main(["models", "add", str(run / "bundle"), "--name", "toy", "--quiet"]) == 0


@pytest.fixture
def cine(tmp_path):
    """Three frames of four slices, 96 mm wide, at twice the resolution that the network looks at."""
    images, labels, _ = draw(np.random.SeedSequence(99), 3, 64)
    images, labels = (np.repeat(values[:, None], 4, axis=1) for values in (images, labels))
    affine = np.diag([1.5, 1.5, 8.0, 1.0])
    write_nifti(tmp_path / "heart.nii.gz", images, affine, 30.0)
    write_nifti(tmp_path / "truth.nii.gz", labels, affine, 30.0)
    return tmp_path / "heart.nii.gz"


def test_a_trained_model_is_listed_and_verified(models, capsys):
    assert main(["models", "list"]) == 0
    assert "rings and crescents" in capsys.readouterr().out
    assert main(["models", "verify", "toy"]) == 0


def test_the_bundle_records_recipe_and_seed(run):
    metadata = json.loads((run / "bundle" / "configs" / "metadata.json").read_text())
    assert metadata["cmrsim"]["training"]["seed"] == 0 and metadata["cmrsim"]["training"]["name"] == "toy"


def test_an_altered_model_is_refused_with_exit_code_2(models, tmp_path, capsys):
    weights = tmp_path / "models" / "toy" / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert main(["models", "verify", "toy"]) == 2
    assert "was altered" in capsys.readouterr().err


def test_every_model_is_verified_though_one_is_not_intact(models, run, tmp_path, capsys):
    assert main(["models", "add", str(run / "bundle"), "--name", "whole", "--quiet"]) == 0
    (tmp_path / "models" / "toy" / "models" / "model.pt").write_bytes(b"x")
    capsys.readouterr()
    assert main(["models", "verify", "toy", "no_such", "whole"]) == 2
    said = capsys.readouterr()
    first, second, third = said.out.splitlines()
    assert first == "toy: cannot be used" and second == "no_such: cannot be used" and "weights fit" in third
    assert "2 of 3 models" in said.err and "toy: " in said.err and "no model is called 'no_such'" in said.err


def test_a_cine_that_the_network_never_saw_is_segmented_on_its_own_grid(models, cine, tmp_path):
    code = main(["segment", str(cine), "--out", str(tmp_path / "seg.nii.gz"), "--model", "toy", "--device", "cpu"])
    found, truth = (read_nifti(tmp_path / name).values for name in ("seg.nii.gz", "truth.nii.gz"))
    assert code == 0 and found.shape == truth.shape
    # A thousand drawings learnt from: far from good, far from chance.
    assert dice(found == 1, truth == 1) > 0.7


def test_a_folder_of_cases_is_segmented_in_one_run(models, cine, tmp_path):
    (tmp_path / "cases").mkdir()
    cine.rename(tmp_path / "cases" / "one.nii.gz")
    code = main(
        ["segment", str(tmp_path / "cases"), "--out", str(tmp_path / "out"), "--model", "toy", "--views", "none"]
    )
    assert code == 0 and (tmp_path / "out" / "function.csv").is_file() and (tmp_path / "out" / "one.nii.gz").is_file()


def test_a_missing_input_is_answered_with_exit_code_2(tmp_path, capsys):
    assert main(["segment", str(tmp_path / "no.nii.gz"), "--out", str(tmp_path / "s.nii.gz")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_run_is_not_overwritten_by_another_configuration(run, tmp_path, capsys):
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(TOY | {"seed": 5}))
    assert main(["train", str(tmp_path / "other.yaml"), "--out", str(run), "--workers", "0"]) == 2
    assert "another configuration" in capsys.readouterr().err


def test_the_shipped_configurations_are_listed(capsys):
    assert main(["train", "--list"]) == 0
    assert {"cine_sax", "tagged_sax", "paper4_resnet_vae_scratch"} <= {
        line.split()[0] for line in capsys.readouterr().out.splitlines()
    }


def test_a_sex_that_no_reference_knows_is_told_before_the_work():
    with pytest.raises(InputError, match="sex is 'woman'; give female, male, F or M"):
        SegmentationOptions(sex="woman", age_years=50)


def test_measuring_tells_that_labels_lie_beside_their_images_and_what_it_costs(models, tmp_path, capsys):
    folder = tmp_path / "acdc"
    folder.mkdir()
    for number in (1, 2, 3):
        images, labels, _ = draw(np.random.SeedSequence(number), 1, 64)
        images, labels = (np.repeat(values[:, None], 4, axis=1) for values in (images, labels))
        beside = np.array([0, 3, 2, 1], np.uint8)[np.roll(labels, 2, axis=-1)]
        write_nifti(folder / f"patient{number:03d}_frame01.nii.gz", images, np.diag([1.5, 1.5, 8.0, 1.0]))
        write_nifti(folder / f"patient{number:03d}_frame01_gt.nii.gz", beside, np.diag([1.5, 1.5, 8.0, 1.0]))
    command = ["models", "measure", "toy", "--data", str(tmp_path), "--device", "cpu", "--out", str(tmp_path / "out")]
    assert main([*command, "--distances", "--quiet"]) == 0
    table = (tmp_path / "out" / "table.txt").read_text(encoding="utf-8")
    assert table.strip() == capsys.readouterr().out.strip()
    accuracy, middle, _, offsets, function, distances = table.split("\n\n")
    as_it_lies = [float(value) for value in accuracy.splitlines()[1].split()[3:]]
    # Four slices are all middle.
    assert [float(value) for value in middle.splitlines()[2].split()[2:]] == as_it_lies
    cells = offsets.splitlines()[2].split()
    (rows, columns), moved = (float(cells[place]) for place in (2, 5)), [float(value) for value in cells[8:]]
    # The small network's own errors stay well below the two pixels.
    assert abs(rows) < 0.5 and columns == pytest.approx(2.0, abs=0.5)
    assert all(after > before + 0.02 for after, before in zip(moved, as_it_lies, strict=True))
    # Of one frame there are volumes and a mass, and no ejection fraction.
    assert "acdc: function" in function and "lv_edv_ml" in function and "lv_ef_percent" not in function
    assert (tmp_path / "out" / "function.csv").is_file()
    assert (tmp_path / "out" / "agreement_acdc.png").read_bytes()[:4] == b"\x89PNG"
    assert "HD95 median" in distances and "nan" not in distances.splitlines()[1]


def published(folder, number, group, seed):
    """One patient of ACDC as published: a folder with two labelled frames, the whole cine, and what is known of it."""
    home = folder / f"patient{number:03d}"
    home.mkdir(parents=True)
    for frame in ("01", "12"):
        images, labels, _ = draw(np.random.SeedSequence((seed, int(frame))), 1, 64)
        images, labels = (np.repeat(values[:, None], 4, axis=1) for values in (images, labels))
        write_nifti(home / f"{home.name}_frame{frame}.nii.gz", images, np.diag([1.5, 1.5, 8.0, 1.0]))
        truth = np.array([0, 3, 2, 1], np.uint8)[labels]
        write_nifti(home / f"{home.name}_frame{frame}_gt.nii.gz", truth, np.diag([1.5, 1.5, 8.0, 1.0]))
    write_nifti(home / f"{home.name}_4d.nii.gz", np.repeat(images, 3, axis=0), np.diag([1.5, 1.5, 8.0, 1.0]), 30.0)
    (home / "Info.cfg").write_text(f"ED: 1\nES: 12\nGroup: {group}\n")


def test_the_patients_that_a_training_left_out_are_measured_by_their_published_groups(models, tmp_path, capsys):
    for number, group in ((1, "NOR"), (2, "RV"), (103, "HCM")):
        published(tmp_path / "acdc" / "training", number, group, number)
    command = ["models", "measure", "toy", "--data", str(tmp_path), "--device", "cpu", "--views", "none", "--quiet"]
    chosen = ["--only", "patient00*, patient103*", "--without", "patient001*,patiant9*", "--out", str(tmp_path / "out")]
    assert main([*command, *chosen]) == 0
    said = capsys.readouterr()
    labels = {line[:14].strip() for line in said.out.split("\n\n")[0].splitlines()}
    assert {"acdc all", "acdc ED", "acdc ES", "acdc RV", "acdc HCM"} <= labels and "acdc NOR" not in labels
    assert "patient001" not in (tmp_path / "out" / "rows.csv").read_text()
    assert "no case of acdc is called patiant9*" in said.err and "patient00*" not in said.err
    assert main([*command, "--only", "patient2*"]) == 2
    assert "no case of any set is left" in capsys.readouterr().err


def test_a_model_is_measured_on_simulated_subjects_alone(models, tmp_path, capsys, monkeypatch):
    # What the environment names is not asked for, or a quick look would take minutes.
    monkeypatch.setenv("CMRSIM_DATA", str(tmp_path / "nothing_here"))
    command = ["models", "measure", "toy", "--device", "cpu", "--views", "none", "--quiet"]
    assert main([*command, "--simulated", "1", "--tag", "scanned", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "simulated all" in said.out and "simulated ES" in said.out
    assert "simulated/subject000" in (tmp_path / "out" / "rows.csv").read_text()
    for wrong, reason in (
        (["--tag", "scanned"], "give --simulated N"),
        (["--simulated", "0"], "at least 1"),
        (["--simulated", "1", "--only", "patient*"], "chosen by --seed"),
        (["--simulated", "1", "--sets", "acdc"], "chosen by --seed"),
        (["--seed", "3"], "give --simulated N"),
        (["--data", str(models), "--sets", "acdc,mmsA"], "no set called mmsA"),
        (["--simulated", "1", "--tag", "scanned", "--data", str(tmp_path)], "leave one of them out"),
        (["--simulated", "1", "--data", str(tmp_path)], "holds none of the folders"),
    ):
        assert main([*command, *wrong]) == 2
        assert reason in capsys.readouterr().err


def test_of_a_file_of_many_frames_those_with_labels_are_measured(models, tmp_path):
    """M&Ms as published: the whole cine in one file, labelled at end diastole and end systole."""
    home = tmp_path / "mms_A" / "A0S9V9"
    home.mkdir(parents=True)
    images, labels, _ = draw(np.random.SeedSequence(5), 6, 64)
    images, labels = (np.repeat(values[:, None], 4, axis=1) for values in (images, labels))
    labels[[0, 2, 3, 5]] = 0
    affine = np.diag([1.5, 1.5, 8.0, 1.0])
    write_nifti(home / "A0S9V9_sa.nii.gz", images, affine, 30.0)
    write_nifti(home / "A0S9V9_sa_gt.nii.gz", labels, affine, 30.0)
    model, seen = model_of("toy"), []
    rows, cases = measure(model, known_sets(tmp_path), device="cpu", views="none")
    assert {row.case for row in rows} == {"mms_A/A0S9V9_sa"} and {row.phase for row in rows} == {"ED", "ES"}
    assert sorted(case.frame for case in cases) == ["ED", "ES"]
    # Its voxel sizes are true, so there are volumes, and both frames are one patient's.
    found = {value.quantity: value.reference for value in function_of(cases)[0]}
    assert found["lv_edv_ml"] == pytest.approx((labels == 1).sum(axis=(1, 2, 3)).max() * 0.018)
    assert "lv_ef_percent" in found

    def look(cine):
        seen.append((cine.labels == 1).sum(axis=(1, 2, 3)).tolist())
        return cine

    measure(model, known_sets(tmp_path), device="cpu", views="none", change=look)
    assert seen == [sorted(((labels == 1).sum(axis=(1, 2, 3))[[1, 4]]).tolist(), reverse=True)]


def test_function_is_compared_over_both_frames_of_a_patient_and_without_true_voxel_sizes_as_fractions():
    def volume(pool: int, wall: int) -> np.ndarray:
        labels = np.zeros((2, 10, 10), np.uint8)
        labels[0].flat[: pool + wall] = 1
        labels[0].flat[pool : pool + wall] = 2
        return labels

    def frames(spacing_mm):
        pairs = {"ED": (volume(40, 20), volume(50, 20)), "ES": (volume(10, 20), volume(25, 20))}
        return [
            MeasuredCase(f"a/p1_{name}", np.zeros((2, 10, 10)), reference, predicted, 0.9, spacing_mm, "DCM")
            for name, (predicted, reference) in pairs.items()
        ]

    values, notes = function_of(frames((10.0, 10.0, 10.0)))  # a voxel is one millilitre
    found = {value.quantity: (value.predicted, value.reference) for value in values}
    assert found["lv_edv_ml"] == (40.0, 50.0) and found["lv_esv_ml"] == (10.0, 25.0)
    assert found["lv_ef_percent"] == (75.0, 50.0) and found["lv_mass_g"] == pytest.approx((21.0, 21.0))
    assert not notes and {(value.case, value.pathology) for value in values} == {("a/p1", "DCM")}
    assert [value.quantity for value in function_of(frames(None))[0]] == ["lv_ef_percent"]
    none, (note,) = function_of(frames(None)[:1])
    assert not none and note.startswith("there is nothing to compare")


def test_labels_that_agree_nowhere_have_no_offset():
    case = MeasuredCase("a/x", *(np.zeros((2, 8, 8)),) * 3, 1.0)
    assert "no slice agrees" in offset_table([case])


def test_the_middle_slices_are_scored_by_themselves():
    reference = np.zeros((9, 8, 8), np.uint8)
    reference[1:8, 2:6] = 2  # seven slices: the four in the middle begin with the second of them
    predicted = reference.copy()
    predicted[[1, 6, 7]] = 0
    predicted[2, 2:4] = 0
    table = middle_table([MeasuredCase("a/x", np.zeros((9, 8, 8)), reference, predicted, 0.5)])
    # 7 of 8 half slices found: 2 * 7 / (7 + 8).
    assert table.splitlines()[1].split() == ["a", "1", "1.000", "0.933", "1.000"]
