"""Populations: who is drawn, how each is scanned, and what lies in the folder."""

import csv
import json

import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import InputError
from CMRSimExtension.population.recipe import PopulationRecipe
from CMRSimExtension.population.writing import RECORD, TABLE, Written, write_population
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.tissue_settings import TissueSettings

SMALL = Protocol(matrix=(24, 24), fov_mm=(240.0, 240.0), acquired_resolution_mm=(10.0, 10.0), slices=1, phases=2)
CONFIG = """
count: 1
seed: 4
pathology: dcm
sexes: [male]
phases: ed_es
protocol:
  - {preset: siemens_1.5t, matrix: [24, 24], fov_mm: [240, 240], acquired_resolution_mm: [10, 10], slices: 1}
  - {preset: siemens_1.5t, matrix: [24, 24], fov_mm: [240, 240], acquired_resolution_mm: [10, 10], slices: 1,
     flip_angle_deg: 30}
snr: [90, 10]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One man with DCM under two flip angles and two noise levels, by the command line."""
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    where = tmp_path_factory.mktemp("population")
    (where / "c.yaml").write_text(CONFIG, encoding="utf-8")
    assert main(["population", str(where / "c.yaml"), "--out", str(where / "new" / "hearts"), "--quiet"]) == 0
    return where / "new" / "hearts"


def rows(folder):
    with (folder / TABLE).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def image(folder, number, kind=""):
    import nibabel

    return np.asarray(nibabel.load(folder / f"subject_00000_scan_{number:03d}{kind}.nii.gz").dataobj)


def test_every_combination_of_protocol_and_noise_is_an_image_and_a_row(folder):
    table = rows(folder)
    assert [(row["flip_deg"], row["snr"]) for row in table] == [("65", "90"), ("65", "10"), ("30", "90"), ("30", "10")]
    assert {(row["sex"], row["pathology"]) for row in table} == {("M", "dcm")}
    assert all((folder / f"{row['case']}_labels.nii.gz").is_file() for row in table)


def test_all_images_of_a_subject_show_the_same_heart(folder):
    truth = image(folder, 0, "_labels")
    assert truth.any() and all(np.array_equal(image(folder, number, "_labels"), truth) for number in (1, 2, 3))
    assert not np.array_equal(image(folder, 0), image(folder, 2))


def test_end_diastole_and_end_systole_are_what_they_are_called(folder):
    document = json.loads((folder / "subject_00000_scan_000.json").read_text(encoding="utf-8"))
    subject = PopulationRecipe(count=1, seed=4, pathology="dcm", sexes=["male"]).subject(0)
    times = np.array(document["times_ms"]["values"])
    cycle = np.array(document["heartbeats_ms"])
    assert times.shape == (1, 2) and times[0, 0] == 0.0
    assert times[0, 1] / cycle[0] == pytest.approx(subject.heart.timing.end_systole, abs=1e-6)


def test_the_same_command_makes_nothing_twice(folder, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}
    assert main(["population", str(folder.parents[1] / "c.yaml"), "--out", str(folder)]) == 0
    assert "0 images written, 4 were there" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")} == before


def test_another_population_is_not_mixed_in(folder, capsys):
    assert main(["population", str(folder.parents[1] / "c.yaml"), "--out", str(folder), "--seed", "5"]) == 2
    assert "holds a population of another" in capsys.readouterr().err


def test_the_folder_is_training_data_as_it_is(folder):
    from CMRSimExtension.training.labelled_folder import find_cases, read_case

    cases = find_cases(folder)
    assert [case.name for case in cases] == [row["case"] for row in rows(folder)]
    assert len(read_case(cases[0], {1: 1, 2: 2, 3: 3})) == 2  # end diastole and end systole


def test_three_levels_of_each_kind_are_paper_2s_27_contrasts():
    flips = [SMALL.replace(flip_angle_deg=flip) for flip in (50, 60, 70)]
    recipe = PopulationRecipe(count=60, protocols=flips, looks=3, snrs=[80, 40, 20])
    scans = list(recipe.scans(7))
    assert recipe.scans_per_subject == len(scans) == len({scan.name for scan in scans}) == 27
    contrasts = {(scan.seed, scan.protocol.flip_angle_deg, scan.protocol.snr) for scan in scans}
    assert len(contrasts) == 27 and len({scan.seed for scan in scans}) == 3
    assert len({scan.rotation_deg for scan in scans}) == 1


def test_settings_of_tissues_multiply_the_contrasts_and_leave_a_recipe_without_them_as_it_was():
    settings = [TissueSettings(), TissueSettings.of({"myocardium": {"t1_ms": 1300.0}})]
    plain, recipe = (PopulationRecipe(count=1, protocols=[SMALL], snrs=[80, 40], tissues=t) for t in ([], settings))
    scans = list(recipe.scans(0))
    assert recipe.scans_per_subject == len(scans) == 4
    assert [scan.tissues for scan in scans] == [settings[0], settings[0], settings[1], settings[1]]
    assert {scan.seed for scan in scans} == {scan.seed for scan in plain.scans(0)}
    assert "tissues" not in plain.as_dict() and recipe.as_dict()["tissues"][1]["MYOCARDIUM"] == {"t1_ms": 1300.0}


def test_tissues_of_the_configuration_are_those_of_the_scans_and_of_the_table(tmp_path, capsys):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    small = "{preset: siemens_1.5t, matrix: [24, 24], fov_mm: [240, 240], acquired_resolution_mm: [10, 10], slices: 1}"
    config = tmp_path / "c.yaml"
    text = f"count: 1\nphases: ed_es\nprotocol: {small}\ntissue: [{{}}, {{myocardium: {{t1_ms: 1300, t2_ms: 40}}}}]\n"
    config.write_text(text, encoding="utf-8")
    assert main(["population", str(config), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert [row["tissue"] for row in rows(tmp_path / "out")] == ["", "myocardium:t1_ms=1300.0,t2_ms=40.0"]
    documents = [(tmp_path / "out" / f"{row['case']}.json").read_text() for row in rows(tmp_path / "out")]
    drawn, given = (json.loads(text)["record"]["appearance"]["tissues"]["tissues"] for text in documents)
    assert given["MYOCARDIUM"]["t1_ms"] == 1300.0 and given["FAT"] == drawn["FAT"]
    config.write_text(text.replace("1300", "1200"), encoding="utf-8")
    assert main(["population", str(config), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert "tissue values" in capsys.readouterr().err


def test_sexes_come_in_turn():
    recipe = PopulationRecipe(count=4, sexes=["female", "male"], protocols=[SMALL])
    assert [recipe.subject(index).parameters.torso.sex for index in range(4)] == ["F", "M", "F", "M"]


def test_without_a_protocol_each_look_has_a_scanner_of_its_own():
    recipe = PopulationRecipe(count=2, looks=2)
    scanners = [scan.protocol for index in range(2) for scan in recipe.scans(index)]
    assert len({scanner.repetition_time_ms for scanner in scanners}) == 4
    assert scanners == [scan.protocol for index in range(2) for scan in recipe.scans(index)]


def test_a_population_grows_by_a_larger_count(tmp_path):
    pytest.importorskip("nibabel", reason="populations are NIfTI files")
    assert write_population(PopulationRecipe(count=1, protocols=[SMALL]), tmp_path) == Written(1, 0)
    assert write_population(PopulationRecipe(count=2, protocols=[SMALL]), tmp_path) == Written(1, 1)
    assert [row["case"] for row in rows(tmp_path)] == ["subject_00000", "subject_00001"]


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / RECORD).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        write_population(PopulationRecipe(count=1, protocols=[SMALL]), tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count is 0; give a whole number, 1 or above"),
        ({"looks": True}, "looks is True"),
        ({"seed": -1}, "seed is -1"),
        ({"plane": "coronal"}, "plane is 'coronal'; choose from sax"),
        ({"phases": "ed"}, "phases is 'ed'; choose from all, ed_es"),
        ({"sexes": ["other"]}, "sex is 'other'"),
        ({"snrs": [0]}, "snr is 0"),
    ],
)
def test_what_no_population_has_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        PopulationRecipe(**({"count": 1} | wrong))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 3", "has no count; say how many subjects"),
        ("count: 2\nlook: 3", "unknown key 'look'; did you mean looks?"),
        ("count: many", "count is 'many'"),
        ("count: 2\ntissue: {hart: {t1_ms: 900}}", "no tissue 'hart'"),
        ("count: 2\ntissue: myocardium", "tissue: 'myocardium'; give tables of tissues"),
        ("count: 1\nprotocol: [random, siemens_3t]", "give random alone"),
        ("count: 1\nprotocol: [5]", "has protocol: 5"),
        ("count: 1\nprotocol: siemens_9t", "there is no protocol 'siemens_9t'"),
        ("count: 1\nsnr: loud", "has snr: 'loud'; give numbers"),
        ("count: 1\npathology: [dcm, hcm]", "give one name, or any"),
        ("count: 1\npathology: cold", "pathology is 'cold'; choose from normal"),
    ],
)
def test_what_a_configuration_says_wrongly_is_told_in_a_line(text, message, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    assert main(["population", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # so that the mended file finds an empty folder
