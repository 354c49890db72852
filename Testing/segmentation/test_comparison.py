"""Label files against their references: which frames count, who is one patient, what is measured."""

import csv
import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.nifti import write_nifti
from CMRSimExtension.segmentation.comparison import compare_files, comparison_table, read_groups
from CMRSimExtension.segmentation.exchanged_labels import note_on_exchanged_pools
from Testing.conftest import ROOT
from Testing.segmentation.conftest import heart_labels

AFFINE = np.diag([1.6, 1.6, 8.0, 1.0])


def heart(scale=0.8):
    return heart_labels((4, 60, 70), (8.0, 1.6, 1.6), (48.0, 60.0), scale=scale)


def write(path, *frames, affine=AFFINE):
    path.parent.mkdir(exist_ok=True)
    write_nifti(path, np.stack(frames), affine, 40.0)
    return path


def sidecar(path, empty_frames):
    record = {"format": "cmrsim segmentation", "empty_frames": empty_frames}
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(record))


def compared(predicted, reference, **options):
    return compare_files(predicted, reference, distances=False, **options)


def quantities(found):
    return {(value.case, value.quantity): (value.predicted, value.reference) for value in found.values}


@pytest.fixture
def cine(tmp_path):
    """The reference: four labelled frames, end systole in the third."""
    return write(tmp_path / "truth.nii.gz", *(heart(scale) for scale in (0.8, 0.7, 0.6, 0.75)))


def test_frames_that_were_not_asked_for_are_not_compared(cine, tmp_path):
    nothing = np.zeros_like(heart())
    mine = write(tmp_path / "mine.nii.gz", heart(0.8), nothing, heart(0.6), nothing)
    sidecar(mine, [1, 3])
    found = compared(mine, cine)
    assert {row.frame for row in found.rows} == {"0", "2"} and {row.dice for row in found.rows} == {1.0}
    predicted, reference = quantities(found)["mine", "lv_ef_percent"]
    assert predicted == pytest.approx(reference) and predicted < 60


def test_frames_that_were_asked_for_and_are_empty_count_as_missed(cine, tmp_path):
    mine = write(tmp_path / "mine.nii.gz", heart(0.8), np.zeros_like(heart()), heart(0.6), heart(0.75))
    sidecar(mine, [])
    found = compared(mine, cine)
    assert {row.frame: row.dice for row in found.rows if row.position == "volume"} == {"0": 1, "1": 0, "2": 1, "3": 1}
    assert quantities(found)["mine", "lv_ef_percent"][0] < 60 and "in 1 of the 4 frames" in found.notes[0]


def test_a_frame_that_somebody_labelled_afterwards_is_compared(cine, tmp_path):
    mine = write(tmp_path / "mine.nii.gz", *(heart(scale) for scale in (0.8, 0.7, 0.6, 0.75)))
    sidecar(mine, [1, 3])
    assert {row.frame for row in compared(mine, cine).rows} == {"0", "1", "2", "3"}


def test_the_json_file_of_another_program_is_left_alone(cine, tmp_path):
    mine = write(tmp_path / "mine.nii.gz", *(heart(scale) for scale in (0.8, 0.7, 0.6, 0.75)))
    (tmp_path / "mine.json").write_text("[1, 2]")
    assert len({row.frame for row in compared(mine, cine).rows}) == 4


def test_a_damaged_sidecar_is_named(cine, tmp_path):
    mine = write(tmp_path / "mine.nii.gz", *(heart(scale) for scale in (0.8, 0.7, 0.6, 0.75)))
    (tmp_path / "mine.json").write_text("{")
    with pytest.raises(FileFormatError, match="mine.json"):
        compared(mine, cine)


def test_files_without_a_labelled_frame_in_common_are_refused(tmp_path):
    nothing = np.zeros_like(heart())
    mine, truth = write(tmp_path / "a.nii.gz", heart(), nothing), write(tmp_path / "b.nii.gz", nothing, heart())
    sidecar(mine, [1])
    with pytest.raises(InputError, match="no labelled frame in common"):
        compared(mine, truth)


def test_base_and_apex_are_told_apart_in_a_stack_that_begins_at_the_apex(tmp_path):
    truth = heart()[::-1]
    mine = truth.copy()
    mine[-1] = 0  # the basal slice
    found = compared(write(tmp_path / "a.nii.gz", mine), write(tmp_path / "b.nii.gz", truth))
    dice = {where: [row.dice for row in found.rows if row.position == where] for where in ("basal", "apical")}
    assert min(dice["basal"]) == 0.0 and min(dice["apical"]) == 1.0


def test_the_phase_of_each_frame_stands_beside_it(cine):
    found = compared(cine, cine)
    assert {row.frame: row.phase for row in found.rows} == {"0": "ED", "1": "", "2": "ES", "3": ""}
    assert {"ED", "ES"} <= {line.split()[1] for line in comparison_table(found.rows).splitlines()}


def acdc_like(folder, sizes):
    """Files of one frame: patient, frame number and size."""
    for patient, frame, scale in sizes:
        write(folder / f"{patient}_frame{frame:02d}.nii.gz", heart(scale))


def test_files_of_one_frame_are_one_patient_with_an_ejection_fraction(tmp_path):
    acdc_like(tmp_path / "b", [("p1", 1, 0.8), ("p1", 12, 0.6), ("p90", 4, 0.6), ("p90", 11, 0.8)])
    acdc_like(tmp_path / "a", [("p1", 1, 0.8), ("p1", 12, 0.7), ("p90", 4, 0.7), ("p90", 11, 0.8)])
    found = compared(tmp_path / "a", tmp_path / "b")
    one, other = (quantities(found)[patient, "lv_ef_percent"] for patient in ("p1", "p90"))
    assert one == other and one[0] < one[1] - 10
    assert found.agreement["lv_ef_percent"].count == 2 and found.agreement["lv_esv_ml"].bias > 0
    phases = {row.case: row.phase for row in found.rows}
    assert phases == {"p1_frame01": "ED", "p1_frame12": "ES", "p90_frame04": "ES", "p90_frame11": "ED"}


def test_volumes_and_mass_of_lone_frames_are_compared(tmp_path):
    for folder, scale in (("a", 0.8), ("b", 0.7)):
        acdc_like(tmp_path / folder, [("p1", 1, scale), ("p2", 1, scale)])
    found = compared(tmp_path / "a", tmp_path / "b")
    assert found.agreement["lv_edv_ml"].count == 2 and found.agreement["lv_mass_g"].bias > 0
    assert "lv_ef_percent" not in found.agreement


def test_frames_of_a_patient_that_differ_in_size_are_cases_of_their_own(tmp_path):
    for folder in ("a", "b"):
        acdc_like(tmp_path / folder, [("p1", 1, 0.8)])
        write(tmp_path / folder / "p1_frame12.nii.gz", heart(0.6)[:3])
    found = compared(tmp_path / "a", tmp_path / "b")
    assert {value.case for value in found.values} == {"p1_frame01", "p1_frame12"} and "differ in size" in found.notes[0]


def test_wall_thickness_of_the_reference_s_end_diastole_is_compared(cine, tmp_path):
    thin = [heart(scale) for scale in (0.8, 0.7, 0.6, 0.75)]
    y, x = np.mgrid[:60, :70]
    # A pool two millimetres wider than the reference's 0.8 x 20 mm in the first slice, so a thinner wall.
    thin[0][0][(thin[0][0] == 2) & (np.hypot(1.6 * y - 48.0, 1.6 * x - 60.0) < 18.0)] = 1
    found = quantities(compared(write(tmp_path / "mine.nii.gz", *thin), cine))
    walls = {name: pair for (_, name), pair in found.items() if name.startswith("wall_mm_")}
    # The lateral wall, away from the RV, is 0.8 x 10 mm thick; pixels are 1.6 mm.
    assert walls["wall_mm_basal_inferolateral"] == pytest.approx((6.0, 8.0), abs=0.8)
    assert walls["wall_mm_mid_inferolateral"][0] == pytest.approx(walls["wall_mm_mid_inferolateral"][1])


def test_voxel_sizes_that_cannot_be_true_leave_ratios(tmp_path):
    frames = [heart(0.8), heart(0.6)]
    mine, truth = (write(tmp_path / name, *frames, affine=np.eye(4)) for name in ("a.nii.gz", "b.nii.gz"))
    found = compare_files(mine, truth)
    assert {value.quantity for value in found.values} == {"lv_ef_percent", "rv_ef_percent"}
    assert all(math.isnan(row.reference_ml) and math.isnan(row.hd_mm) for row in found.rows)
    assert "cannot be true" in found.notes[0]
    trusted = compared(mine, truth, spacing="trust")
    assert "lv_edv_ml" in {value.quantity for value in trusted.values} and not trusted.notes


def table(tmp_path, text):
    path = tmp_path / "cases.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_a_table_of_cases_gives_each_patient_its_group(tmp_path):
    acdc_like(tmp_path / "a", [("p1", 1, 0.8), ("p1", 12, 0.6), ("p2", 1, 0.8), ("p3", 1, 0.7)])
    groups = read_groups(table(tmp_path, "case,age,pathology\np1,50,dilated cardiomyopathy\np2_frame01,60,NOR\n"))
    found = compared(tmp_path / "a", tmp_path / "a", groups=groups)
    assert {row.case: row.pathology for row in found.rows} == {
        "p1_frame01": "dilated cardiomyopathy", "p1_frame12": "dilated cardiomyopathy", "p2_frame01": "NOR",
        "p3_frame01": "",
    }  # fmt: skip
    assert {value.case: value.pathology for value in found.values}["p1"] == "dilated cardiomyopathy"
    assert found.notes == ["not in the table of groups: p3_frame01"]
    line = next(line for line in comparison_table(found.rows).splitlines() if "dilated" in line)
    assert line.split()[:5] == ["lv_blood", "dilated", "cardiomyopathy", "2", "1.000"]


def test_a_table_of_other_cases_is_refused(tmp_path):
    acdc_like(tmp_path / "a", [("p1", 1, 0.8)])
    with pytest.raises(InputError, match="none of the cases"):
        compared(tmp_path / "a", tmp_path / "a", groups={"q1": "NOR"})


@pytest.mark.parametrize(
    ("text", "message"),
    [("case;pathology\np1;NOR\n", "commas"), ("case,pathology\n", "no case"),
     ("case,pathology\np1,NOR\np1,DCM\n", "two groups")],
)  # fmt: skip
def test_a_table_of_cases_that_cannot_be_used_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_groups(table(tmp_path, text))


def test_the_command_writes_values_and_agreement_beside_its_table(tmp_path, capsys):
    acdc_like(tmp_path / "a", [("p1", 1, 0.8), ("p1", 12, 0.6), ("p2", 1, 0.7), ("p2", 12, 0.6)])
    groups = table(tmp_path, "case,pathology\np1,DCM\np2,NOR\n")
    code = main(["evaluate", str(tmp_path / "a"), str(tmp_path / "a"), "--out", str(tmp_path / "t.csv"),
                 "--groups", str(groups), "--no-distances"])  # fmt: skip
    said = capsys.readouterr().out
    assert code == 0 and "wall_mm_apical_septal" in said and "DCM" in said
    rows = {
        name: list(csv.DictReader((tmp_path / name).read_text().splitlines()))
        for name in ("t.csv", "t_values.csv", "t_agreement.csv")
    }
    assert {row["pathology"] for row in rows["t.csv"]} == {"DCM", "NOR"}
    assert {row["phase"] for row in rows["t.csv"]} == {"ED", "ES"}
    assert {"lv_ef_percent", "wall_mm_basal_anterior"} <= {row["quantity"] for row in rows["t_values.csv"]}
    bias = {row["quantity"]: float(row["bias"]) for row in rows["t_agreement.csv"]}
    assert bias["lv_ef_percent"] == 0.0 and bias["wall_mm_basal_anterior"] == 0.0
    assert (tmp_path / "t_agreement.png").read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_the_tables_are_written_and_the_picture_is_missed(tmp_path, capsys, monkeypatch):
    acdc_like(tmp_path / "a", [("p1", 1, 0.8), ("p1", 12, 0.6), ("p2", 1, 0.7), ("p2", 12, 0.6)])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "t_agreement.png").write_bytes(b"of another table")
    command = ["evaluate", str(tmp_path / "a"), str(tmp_path / "a"), "--out", str(tmp_path / "t.csv"), "--no-distances"]
    assert main(command) == 0
    assert "pip install matplotlib; the picture was left out" in capsys.readouterr().err
    assert (tmp_path / "t_agreement.csv").exists() and not (tmp_path / "t_agreement.png").exists()


def test_a_table_of_one_case_has_no_picture_of_agreement_nor_an_older_one(tmp_path):
    file = write(tmp_path / "x.nii.gz", heart())
    (tmp_path / "t_agreement.png").write_bytes(b"of another table")
    assert main(["evaluate", str(file), str(file), "--out", str(tmp_path / "t.csv"), "--no-distances"]) == 0
    assert (tmp_path / "t_agreement.csv").exists() and not (tmp_path / "t_agreement.png").exists()


@pytest.mark.parametrize(("options", "code"), [(["--no-distances"], 0), ([], 2)])
def test_without_torch_all_but_the_distances_is_evaluated(tmp_path, options, code):
    """The simulation alone is installed without torch; what needs it says so."""
    file, out = str(write(tmp_path / "a" / "x.nii.gz", heart())), tmp_path / "t.csv"
    hidden = "import sys; sys.modules.update(torch=None, monai=None)"
    command = f"{hidden}; from CMRSimExtension.command_line.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", command, "evaluate", file, file, "--out", str(out), *options],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == code and out.exists() == (code == 0), done.stderr
    assert ("Hausdorff distances need torch and MONAI" in done.stderr) == (code == 2)


def test_a_reference_with_acdc_numbers_gets_the_hint_at_its_label_table(cine, tmp_path):
    acdc = np.array([0, 3, 2, 1], np.uint8)
    scales = (0.8, 0.7, 0.6, 0.75)
    theirs = write(tmp_path / "theirs.nii.gz", *(acdc[heart(scale)] for scale in scales))
    assert "exchanged (mean Dice 1.00, as it is 0.00)" in compared(cine, theirs).notes[0]
    assert compared(cine, theirs).notes[0].endswith("add --labels-map acdc")
    assert not compared(cine, theirs, labels_map="acdc").notes
    assert "leave --labels-map out" in compared(cine, cine, labels_map="acdc").notes[0]
    assert "--labels-map 1=rv,2=myo,3=lv gives" in compared(cine, cine, labels_map="1=rv,2=myo,3=lv").notes[0]


@pytest.mark.parametrize(("said", "cure"), [
    ("acdc", "set the label table to cmrsim"), ("mms", "set the label table to acdc"),
    ("1=lv,2=myo,3=rv", "see whether the label table 1=lv,2=myo,3=rv gives each its number"),
])  # fmt: skip
def test_in_the_panel_the_hint_names_its_field(said, cure):
    note, = note_on_exchanged_pools([(heart(), np.array([0, 3, 2, 1], np.uint8)[heart()])], said, in_panel=True)
    assert note.endswith(cure) and "--labels-map" not in note


def test_a_segmentation_that_confuses_the_ventricles_in_part_gets_no_hint(cine, tmp_path):
    half = heart()
    half[:2] = np.array([0, 3, 2, 1], np.uint8)[half[:2]]
    mine = write(tmp_path / "mine.nii.gz", half)
    assert not any("exchanged" in note for note in compared(mine, write(tmp_path / "truth_1.nii.gz", heart())).notes)


def test_an_image_as_the_reference_is_refused_in_a_line(cine, tmp_path, capsys):
    image = write(tmp_path / "image.nii.gz", *np.random.default_rng(1).integers(0, 900, (4, *heart().shape)))
    assert main(["evaluate", str(cine), str(image), "--no-distances"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"labels 73, 74, 75, 76, 77 and 8\d\d more, which the label table 'cmrsim' lacks", said)
    assert "look like an image" in said and len(said) < 300


def test_a_few_unknown_labels_are_named_and_the_table_as_it_may_be_given(cine, tmp_path):
    theirs = write(tmp_path / "theirs.nii.gz", *(np.where(heart() == 2, 200, heart()) for _ in range(4)))
    with pytest.raises(InputError, match="labels 200, which the label table 'acdc' lacks; choose another --labels-map"):
        compared(cine, theirs, labels_map="acdc")
    with pytest.raises(InputError, match="the label table '1=lv_blood,3=rv_blood' lacks"):
        compared(cine, theirs, labels_map="1=lv,3=rv")
