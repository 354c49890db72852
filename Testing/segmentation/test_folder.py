"""A folder of cases in one run: what ends in the table, whatever happens."""

import csv
import json

import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import Cancelled, InputError
from CMRSimExtension.files.formats import Content, write_content
from CMRSimExtension.files.nifti import write_nifti
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.segmentation import folder as folder_run
from CMRSimExtension.segmentation import function_table
from CMRSimExtension.segmentation.comparison import compare_files
from CMRSimExtension.segmentation.folder import segment_folder
from CMRSimExtension.segmentation.job import SegmentationOptions
from CMRSimExtension.simulation.cine import Cine
from Testing.segmentation.conftest import heart_labels, picture

AFFINE = np.diag([1.3, 1.6, 8.0, 1.0])
PLAIN = SegmentationOptions(device="cpu", views="none")
HEADER = "case,sex,age_years,height_cm,weight_kg\n"


def write(path, scales=(1.0,), shape=(5, 90, 110), affine=AFFINE):
    path.parent.mkdir(exist_ok=True)
    labels = np.stack([heart_labels(shape, (8.0, 1.6, 1.3), scale=scale) for scale in scales])
    write_nifti(path, picture(labels), affine)


def rows_of(out):
    with (out / "function.csv").open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


@pytest.fixture
def cases(tmp_path):
    for name in ("a", "b", "c"):
        write(tmp_path / "cases" / f"{name}.nii.gz", (1.0, 0.6))
    return tmp_path / "cases"


def broken(monkeypatch, name, error):
    """Let the case `name` end with `error`."""
    whole = folder_run.segment_file

    def segment_file(source, *more, **options):
        if source.name.startswith(name):
            raise error
        return whole(source, *more, **options)

    monkeypatch.setattr(folder_run, "segment_file", segment_file)


def test_a_fault_that_nobody_foresaw_costs_its_own_case_alone(cases, oracle, tmp_path, monkeypatch):
    broken(monkeypatch, "b", ZeroDivisionError("of a header"))
    said = []
    written, failures = segment_folder(cases, tmp_path / "out", oracle, PLAIN, failed=said.append)
    rows = rows_of(tmp_path / "out")
    assert failures == 1 and [path.name for path in written] == ["a.nii.gz", "c.nii.gz", "function.csv"]
    assert rows["b"]["note"] == "ZeroDivisionError: of a header" and "b.nii.gz: ZeroDivisionError" in said[0]
    assert rows["a"]["lv_edv_ml"] and rows["c"]["lv_edv_ml"] and not rows["b"]["lv_edv_ml"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Cancelled("stopped")])
def test_a_run_that_is_stopped_keeps_the_rows_of_what_was_done(cases, oracle, tmp_path, monkeypatch, error):
    broken(monkeypatch, "c", error)
    with pytest.raises(type(error)):
        segment_folder(cases, tmp_path / "out", oracle, PLAIN)
    rows = rows_of(tmp_path / "out")
    assert list(rows) == ["a", "b"] and float(rows["b"]["lv_ef_percent"]) == pytest.approx(64.0, abs=4)


def test_a_run_that_is_stopped_at_once_leaves_an_older_table_alone(cases, oracle, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "function.csv").write_text("of another day")
    broken(monkeypatch, "a", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        segment_folder(cases, tmp_path / "out", oracle, PLAIN)
    assert (tmp_path / "out" / "function.csv").read_text() == "of another day"


def test_a_table_that_is_open_elsewhere_for_a_while_is_written_later(cases, oracle, tmp_path, monkeypatch):
    whole, calls = folder_run.write_table, []

    def write_table(path, rows):
        calls.append(len(rows))
        if len(calls) < 4:
            raise InputError(f"{path} is open in another program; close it there and try again")
        whole(path, rows)

    monkeypatch.setattr(folder_run, "write_table", write_table)
    said = []
    _, failures = segment_folder(cases, tmp_path / "out", oracle, PLAIN, failed=said.append)
    assert failures == 0 and calls == [1, 2, 3, 3] and list(rows_of(tmp_path / "out")) == ["a", "b", "c"]
    assert len(said) == 1 and "written again after the next case" in said[0]


def test_one_persons_body_is_not_taken_for_several_patients(cases, oracle, tmp_path):
    options = SegmentationOptions(device="cpu", views="none", height_cm=165, weight_kg=62)
    with pytest.raises(InputError, match=r"--height-cm, --weight-kg would be taken for all of the 3.*--persons FILE"):
        segment_folder(cases, tmp_path / "out", oracle, options)
    assert not (tmp_path / "out").exists()


def test_each_case_gets_the_indexed_values_of_its_own_person(cases, oracle, tmp_path):
    table = tmp_path / "persons.csv"
    table.write_text(HEADER + "a,F,54,165,62\nb,,,180,80\n", encoding="utf-8-sig")
    said = []
    segment_folder(cases, tmp_path / "out", oracle, PLAIN, failed=said.append, persons=table)
    rows = rows_of(tmp_path / "out")
    records = {name: json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in "abc"}
    surface = {"a": (165 * 62 / 3600) ** 0.5, "b": (180 * 80 / 3600) ** 0.5}
    for name, square_metres in surface.items():
        for value in ("lv_edv_ml", "lv_mass_g", "rv_esv_ml"):
            indexed = float(rows[name][f"{value}_per_m2"])
            assert indexed == pytest.approx(float(rows[name][value]) / square_metres, abs=2e-3)
            assert indexed == pytest.approx(records[name]["indexed"][f"{value}_per_m2"], abs=1e-3)
    assert not rows["c"]["lv_edv_ml_per_m2"] and said == ["not in persons.csv, so without indexed values: c"]
    assert "normal_ranges" in records["a"] and "normal_ranges" not in records["b"]
    assert float(rows["a"]["rv_largest_ml"]) == pytest.approx(records["a"]["rv_extremes_ml"]["largest"], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + "a,F,54,165,62\nz,F,54,165,62\n", "persons.csv, line 3: there is no case 'z', only a, b, c"),
        (HEADER + "a,F,54,tall,62\n", "line 2: height_cm is 'tall'; give a number"),
        (HEADER + "a,F,54,1.65,62\n", "line 2: height 1.65 cm"),
        (HEADER + "a,F,54,165,\n", "line 2: height is given and weight is not"),
        (HEADER + "a,woman,54,165,62\n", "line 2: sex is 'woman'"),
        (HEADER + "a,F,540,165,62\n", "line 2: age 540.0 years: give 0 to 120"),
        (HEADER + "a,F,54,165,62\na,F,55,165,62\n", "line 3: an earlier line tells otherwise of a"),
        (HEADER, "lists no case"),
        ("case,sex,age,height_cm,weight_kg\na,F,54,165,62\n", "lacks age_years"),
    ],
)
def test_a_table_of_persons_that_cannot_be_used_is_refused_before_the_work(cases, tmp_path, text, said):
    table = tmp_path / "persons.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        segment_folder(cases, tmp_path / "out", None, PLAIN, persons=table)
    assert not (tmp_path / "out").exists()


def test_end_diastole_and_end_systole_of_a_patient_become_one_row_with_an_ejection_fraction(oracle, tmp_path):
    for frame, scale in ((1, 1.0), (12, 0.6)):
        write(tmp_path / "cases" / f"P_frame{frame:02d}.nii.gz", (scale,))
    (tmp_path / "persons.csv").write_text(HEADER + "P,F,54,165,62\n")
    segment_folder(tmp_path / "cases", tmp_path / "out", oracle, PLAIN, persons=tmp_path / "persons.csv")
    rows = rows_of(tmp_path / "out")
    patient, diastole, systole = (rows[name] for name in ("P", "P_frame01", "P_frame12"))
    assert [row["kind"] for row in rows.values()] == ["frame", "frame", "patient"]
    assert {row["patient"] for row in rows.values()} == {"P"} and (diastole["phase"], systole["phase"]) == ("ED", "ES")
    # No file of one frame has a volume under the name of the other phase.
    assert (diastole["lv_edv_ml"], systole["lv_esv_ml"]) == (patient["lv_edv_ml"], patient["lv_esv_ml"])
    assert not (diastole["lv_esv_ml"] or systole["lv_edv_ml"] or systole["lv_mass_g"] or systole["lv_ef_percent"])
    assert systole["wall_es_mm_mid_inferior"] == patient["wall_es_mm_mid_inferior"] and patient["lv_edv_ml_per_m2"]
    assert (patient["end_diastole"], patient["end_systole"]) == ("P_frame01", "P_frame12")
    # As `cmrsim evaluate` joins them.
    values = compare_files(tmp_path / "out", tmp_path / "out", distances=False).values
    theirs = {value.quantity: value.predicted for value in values if value.case == "P"}
    for name in ("lv_edv_ml", "lv_esv_ml", "lv_ef_percent", "rv_ef_percent", "lv_mass_g"):
        assert float(patient[name]) == pytest.approx(theirs[name], abs=1e-3)


def test_frames_that_are_named_the_other_way_round_are_told(oracle, tmp_path):
    for phase, scale in (("ED", 0.6), ("ES", 1.0)):
        write(tmp_path / "cases" / f"P_{phase}.nii.gz", (scale,))
    segment_folder(tmp_path / "cases", tmp_path / "out", oracle, PLAIN)
    rows = rows_of(tmp_path / "out")
    assert rows["P_ED"]["phase"] == "ES" and "named ED" in rows["P_ED"]["note"]
    assert float(rows["P"]["lv_ef_percent"]) > 0


@pytest.mark.parametrize("names", [("P_ED", "P_ES"), ("P_frame01", "P_frame12")])
def test_a_patient_who_lost_a_frame_has_no_function_over_the_heartbeat(oracle, tmp_path, names):
    write(tmp_path / "cases" / f"{names[0]}.nii.gz")
    write_nifti(tmp_path / "cases" / f"{names[1]}.nii.gz", np.ones((1, 5, 90, 110), np.float32), AFFINE)
    _, failures = segment_folder(tmp_path / "cases", tmp_path / "out", oracle, PLAIN)
    rows = rows_of(tmp_path / "out")
    assert failures == 1 and f"no LV was measured in {names[1]}" in rows["P"]["note"] and not rows["P"]["lv_edv_ml"]
    assert "shows nothing" in rows[names[1]]["note"]
    # Whether frame01 is end diastole, only the other frame could have told.
    assert bool(rows[names[0]]["lv_edv_ml"]) == (names[0] == "P_ED")
    assert ("not known to be end diastole" in rows[names[0]]["note"]) == (names[0] != "P_ED")


def test_a_patient_whose_frames_cannot_be_joined_does_not_end_the_run(oracle, tmp_path, monkeypatch):
    for name in ("P_ED", "P_ES", "Q"):
        write(tmp_path / "cases" / f"{name}.nii.gz")
    monkeypatch.setattr(function_table, "with_function", lambda *arguments: 1 / 0)
    segment_folder(tmp_path / "cases", tmp_path / "out", oracle, PLAIN)
    rows = rows_of(tmp_path / "out")
    assert rows["P"]["note"] == "not joined: ZeroDivisionError: division by zero" and rows["Q"]["lv_edv_ml"]


def test_frames_of_two_sizes_are_not_joined(oracle, tmp_path):
    write(tmp_path / "cases" / "P_ED.nii.gz")
    write(tmp_path / "cases" / "P_ES.nii.gz", (0.6,), (5, 96, 110))
    segment_folder(tmp_path / "cases", tmp_path / "out", oracle, PLAIN)
    rows = rows_of(tmp_path / "out")
    assert "differ in size" in rows["P"]["note"] and not rows["P"]["lv_ef_percent"]
    assert rows["P_ED"]["lv_edv_ml"] and rows["P_ES"]["lv_esv_ml"]


def test_one_frame_without_a_partner_says_what_it_was_taken_for(oracle, tmp_path):
    write(tmp_path / "cases" / "x.nii.gz")
    write(tmp_path / "cases" / "y_ES.nii.gz")
    segment_folder(tmp_path / "cases", tmp_path / "out", oracle, PLAIN)
    rows = rows_of(tmp_path / "out")
    assert "one frame alone, taken for end diastole" in rows["x"]["note"] and rows["x"]["lv_edv_ml"]
    assert rows["y_ES"]["phase"] == "ES" and rows["y_ES"]["lv_esv_ml"] and not rows["y_ES"]["lv_edv_ml"]


def test_a_ventricle_at_the_end_of_the_stack_is_noted_in_table_and_record(cases, oracle, tmp_path):
    segment_folder(cases, tmp_path / "out", oracle, PLAIN)
    said = "the left ventricle reaches the first and the last slice"
    assert said in rows_of(tmp_path / "out")["a"]["note"]
    assert any(said in note for note in json.loads((tmp_path / "out" / "a.json").read_text())["notes"])


@pytest.fixture
def mixed(tmp_path):
    """A NIfTI file, a sequence of 3D Slicer, and a folder of DICOM images."""
    labels = heart_labels((5, 90, 110), (8.0, 1.5, 1.5))[None]
    cine = Cine(picture(labels), ImageGrid(np.diag([1.5, 1.5, 8.0, 1.0]), (5, 90, 110), 8.0))
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, kind in (("a.nii.gz", "nifti"), ("b.seq.nrrd", "nrrd"), ("c", "dicom")):
        write_content(Content(cine.grid, cine), folder / name, kind, source=folder / name)
    return folder


def test_cases_of_every_format_are_segmented_by_the_command(mixed, oracle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("CMRSimExtension.segmentation.bundle.read_bundle", lambda folder: oracle)
    command = ["segment", str(mixed), "--out", str(tmp_path / "out"), "--device", "cpu", "--views", "none"]
    assert main(command) == 0
    rows = rows_of(tmp_path / "out")
    volumes = [float(rows[name]["lv_edv_ml"]) for name in ("a", "b", "c")]
    assert volumes == pytest.approx([volumes[0]] * 3, rel=0.01) and volumes[0] > 0
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {"a.nii.gz", "b.nii.gz", "c.nii.gz"}
    assert main([*command, "--series", "no such"]) == 2
    assert "has no series 'no such'" in rows_of(tmp_path / "out")["c"]["note"]
    broken(monkeypatch, "c", KeyboardInterrupt())
    capsys.readouterr()
    assert main(command) == 130 and "what was done lies in" in capsys.readouterr().err
    assert main([*command[:2], "--out", "x.nii.gz"]) == 2 and "give a folder" in capsys.readouterr().err


def test_persons_of_one_image_are_refused_by_the_command(cases, tmp_path, capsys):
    table = tmp_path / "persons.csv"
    table.write_text(HEADER)
    command = ["segment", str(cases / "a.nii.gz"), "--out", str(tmp_path / "s.nii.gz"), "--persons", str(table)]
    assert main(command) == 2 and "--persons is for a folder" in capsys.readouterr().err


def test_a_series_of_single_images_is_refused(cases, tmp_path):
    with pytest.raises(InputError, match="holds single images, without a series 'x'"):
        segment_folder(cases, tmp_path / "out", None, PLAIN, series="x")


def test_two_cases_of_one_name_are_refused(cases, tmp_path):
    (cases / "a.nrrd").write_bytes(b"")
    with pytest.raises(InputError, match=r"a.nii.gz and a.nrrd are both called a"):
        segment_folder(cases, tmp_path / "out", None, PLAIN)


@pytest.mark.parametrize(
    ("person", "said"),
    [
        ({"height_cm": 165.0}, "height is given and weight is not, and both are needed to index volumes"),
        ({"weight_kg": 62.0}, "weight is given and height is not"),
        ({"sex": "F"}, "sex is given and age is not, and both are needed to tell normal ranges"),
        ({"age_years": 50.0}, "age is given and sex is not"),
        ({"sex": "F", "age_years": -1.0}, "age -1.0 years: give 0 to 120"),
        ({"sex": "F", "age_years": float("nan")}, "age nan years"),
        ({"height_cm": 1.65, "weight_kg": 62.0}, "give 30 to 250 cm and 1 to 400 kg"),
        ({"height_cm": 165.0, "weight_kg": 6200.0}, "give 30 to 250 cm and 1 to 400 kg"),
    ],
)
def test_a_person_who_cannot_be_is_told_before_the_work(person, said):
    with pytest.raises(InputError, match=said):
        SegmentationOptions(**person)
