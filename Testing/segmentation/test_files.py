"""From files to files: labels on the image's grid, function, tables, comparisons, and the commands."""

import csv
import json
import shutil
from dataclasses import asdict, replace

import nibabel
import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import InputError
from CMRSimExtension.files.cine_files import read_cine
from CMRSimExtension.files.nifti import read_nifti
from CMRSimExtension.segmentation.accuracy_tables import accuracy_table, error_table
from CMRSimExtension.segmentation.comparison import compare_files
from CMRSimExtension.segmentation.folder import segment_folder
from CMRSimExtension.segmentation.job import SegmentationOptions, frame_numbers, segment_cine, segment_file
from CMRSimExtension.segmentation.measured_sets import DataSet, SimulatedSet, known_sets
from CMRSimExtension.segmentation.measurement import measure, worst_cases
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.slicer_bridge.batch import segmented_in_file
from Testing.segmentation.conftest import grid, heart_labels, picture

SIZES = (1.0, 0.8, 0.6, 0.9)
OBLIQUE = np.array([[1.2, 0.3, 2.0, -40.0], [-0.2, 1.5, 3.0, 12.0], [-0.45, -0.4, 7.1, 80.0], [0, 0, 0, 1.0]])


def write(path, values, affine=OBLIQUE):
    """(frames, slices, rows, columns) as (x, y, z, t)."""
    image = nibabel.Nifti1Image(values.transpose(3, 2, 1, 0), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((*np.linalg.norm(affine[:3, :3], axis=0), 0.04))
    nibabel.save(image, path)


@pytest.fixture
def truth():
    spacing = np.linalg.norm(OBLIQUE[:3, :3], axis=0)[::-1]
    return np.stack([heart_labels((5, 90, 110), spacing, scale=size) for size in SIZES])


@pytest.fixture
def cine(tmp_path, truth):
    write(tmp_path / "heart.nii.gz", picture(truth))
    return tmp_path / "heart.nii.gz"


PLAIN = SegmentationOptions(device="cpu", views="none")


def test_labels_lie_on_the_images_own_oblique_grid(cine, oracle, tmp_path):
    segment_file(cine, tmp_path / "seg.nii.gz", oracle, PLAIN)
    image, labels = nibabel.load(cine), nibabel.load(tmp_path / "seg.nii.gz")
    assert labels.shape == image.shape and np.array_equal(labels.affine, image.affine)
    assert labels.get_data_dtype() == np.uint8


def test_the_sidecar_holds_the_function_of_the_labels(cine, oracle, tmp_path, truth):
    segment_file(cine, tmp_path / "seg.nii.gz", oracle, PLAIN)
    record = json.loads((tmp_path / "seg.json").read_text())
    sides = np.prod(np.linalg.norm(OBLIQUE[:3, :3], axis=0)) / 1000.0
    # A rim of half a pixel of a 40 mm pool: 2 x 0.75 / 20 of its area.
    assert record["function"]["lv_edv_ml"] == pytest.approx((truth[0] == 1).sum() * sides, rel=0.08)
    assert record["end_diastole"] == 0 and record["end_systole"] == 2
    assert record["function"]["lv_ef_percent"] == pytest.approx(64.0, abs=4)  # 1 - 0.6^2, in area


def test_the_sidecar_names_the_labels_that_the_model_writes(cine, oracle, tmp_path):
    model = replace(oracle, classes=("lv_blood", "lv_myocardium", "lung"), labels={1: 1, 2: 2, 3: 40})
    _, found = segment_file(cine, tmp_path / "seg.nii.gz", model, PLAIN)
    assert set(np.unique(found.segmentation.labels)) == {0, 1, 2, 40}
    record = json.loads((tmp_path / "seg.json").read_text())
    assert record["labels"] == {"1": "LV blood pool", "2": "LV myocardium", "40": "Lungs"}
    assert any("label 40 stands for lungs" in note and "left lung" in note for note in record["notes"])


def test_the_sidecar_of_a_single_frame_says_what_its_volumes_are_called(cine, oracle, tmp_path, truth):
    segment_file(cine, tmp_path / "all.nii.gz", oracle, PLAIN)
    write(tmp_path / "es.nii.gz", picture(truth)[3:])
    segment_file(tmp_path / "es.nii.gz", tmp_path / "one.nii.gz", oracle, PLAIN)
    notes = {name: json.loads((tmp_path / f"{name}.json").read_text())["notes"] for name in ("all", "one")}
    assert any("called end-diastolic" in note for note in notes["one"])
    assert not any("called end-diastolic" in note for note in notes["all"])


def test_the_sidecar_holds_wall_thickness_at_both_ends_of_the_beat(cine, oracle, tmp_path):
    _, result = segment_file(cine, tmp_path / "seg.nii.gz", oracle, PLAIN)
    wall = json.loads((tmp_path / "seg.json").read_text())["wall_thickness_mm"]
    assert result.function.wall_mm == wall
    # Rings of 10 mm, and 0.6 times that at end systole, 8 % less from slice to slice; the oracle errs by half a pixel.
    assert wall["wall_ed_mm_mid_inferior"] == pytest.approx(10.0 * 0.84, abs=1.0)
    assert wall["wall_es_mm_mid_inferior"] == pytest.approx(6.0 * 0.84, abs=1.0)


def test_a_stack_without_base_middle_and_apex_has_no_wall_thickness(oracle, tmp_path, truth):
    write(tmp_path / "two.nii.gz", picture(truth[:, :2]))
    _, result = segment_file(tmp_path / "two.nii.gz", tmp_path / "seg.nii.gz", oracle, PLAIN)
    assert result.function.wall_mm == {}
    assert "wall thickness is not given: 2 slices show" in " ".join(result.segmentation.notes)


def test_an_rv_that_leaves_a_single_slice_has_no_end_systole(oracle, tmp_path, truth):
    labels = truth[:, :1].copy()
    labels[2][labels[2] == 3] = 0  # end systole
    write(tmp_path / "slice.nii.gz", picture(labels))
    segment_file(tmp_path / "slice.nii.gz", tmp_path / "seg.nii.gz", oracle, PLAIN)
    record = json.loads((tmp_path / "seg.json").read_text())
    function = record["function"]
    assert function["rv_esv_ml"] is None and function["rv_ef_percent"] is None and function["rv_edv_ml"] > 0
    assert function["lv_ef_percent"] > 0 and record["ejection_fractions"]["rv_ef_percent"] is None
    assert any("no RV blood pool was found at end systole" in note for note in record["notes"])
    assert any("how much of its area" in note for note in record["notes"])


SHORT = {"description": "LV and RV of short-axis cine images"}


@pytest.mark.parametrize(
    ("name", "seen", "about", "said"),
    [
        ("cine_trufi_retro 4CH", True, SHORT, "is called 'cine_trufi_retro 4CH'"),
        ("cine 2-chamber", True, SHORT, "as a long-axis view is"),
        ("cine_trufi_sax", True, SHORT, None),
        ("cine_trufi_sax", False, SHORT, "may be a long-axis view"),
        ("cine_trufi_retro 4CH", True, {"description": "long-axis cines"}, None),
    ],
)
def test_a_long_axis_view_given_by_mistake_is_named(oracle, name, seen, about, said):
    labels = heart_labels((1, 90, 110))
    image = picture(labels if seen else np.where(labels == 1, 2, labels))[None]
    cine = Cine(image, grid(image.shape[1:]), sidecar={"source": {"series_descriptions": [name]}})
    notes = segment_cine(cine, replace(oracle, metadata=about), PLAIN).segmentation.notes
    told = [note for note in notes if "long-axis" in note]
    assert len(told) == (said is not None) and all(said in note for note in told)


def test_ed_and_es_are_found_and_the_other_frames_empty(cine, oracle, tmp_path):
    segment_file(cine, tmp_path / "seg.nii.gz", oracle, SegmentationOptions("edes", "cpu", "none"))
    record = json.loads((tmp_path / "seg.json").read_text())
    labels = read_nifti(tmp_path / "seg.nii.gz").values
    assert record["frames"] == [0, 2] and record["empty_frames"] == [1, 3]
    assert [bool(frame.any()) for frame in labels] == [True, False, True, False]


@pytest.fixture
def cine_with_a_lost_frame(tmp_path, truth):
    """Its last frame shows nothing, so that no network finds an LV there."""
    image = picture(truth)
    image[3] = 0.0
    write(tmp_path / "lost.nii.gz", image)
    return tmp_path / "lost.nii.gz"


@pytest.mark.parametrize("frames", ["all", "edes"])
def test_a_frame_without_an_lv_is_no_end_systole(cine_with_a_lost_frame, oracle, tmp_path, frames):
    options = SegmentationOptions(frames, "cpu", "none")
    _, result = segment_file(cine_with_a_lost_frame, tmp_path / "seg.nii.gz", oracle, options)
    record = json.loads((tmp_path / "seg.json").read_text())
    assert record["end_systole"] == 2 and record["function"]["lv_ef_percent"] == pytest.approx(64.0, abs=4)
    assert any("the frames [3]" in note for note in record["notes"])
    assert record["frames"] == ([0, 1, 2, 3] if frames == "all" else [0, 2])
    curves = segmented_in_file(tmp_path / "seg.nii.gz", read_cine(cine_with_a_lost_frame, truths=()))["curves"]
    assert curves["end_systole"] == 2 and curves["function"] == asdict(result.function)["function"]


def test_probability_and_uncertainty_maps_are_written_when_asked_for(cine, oracle, tmp_path):
    options = SegmentationOptions("0", "cpu", "none", probabilities=True)
    files, _ = segment_file(cine, tmp_path / "seg.nii.gz", oracle, options)
    assert {path.name for path in files} == {
        "seg.nii.gz", "seg_probabilities.nii.gz", "seg_uncertainty.nii.gz", "seg.json",
    }  # fmt: skip
    assert read_nifti(tmp_path / "seg_probabilities.nii.gz").values.shape == (1, 5, 90, 110, 4)


def test_a_header_that_lost_its_voxel_sizes_gives_ratios_and_no_volumes(oracle, tmp_path, truth):
    write(tmp_path / "lost.nii.gz", picture(truth), np.eye(4))
    _, result = segment_file(tmp_path / "lost.nii.gz", tmp_path / "seg.nii.gz", oracle, PLAIN)
    assert result.function is None and result.ejection_fractions["lv_ef_percent"] == pytest.approx(64.0, abs=5)
    assert any("cannot be true" in note for note in result.segmentation.notes)


def test_a_failed_run_leaves_no_file(oracle, tmp_path):
    write(tmp_path / "flat.nii.gz", np.ones((1, 5, 90, 110), np.float32))
    with pytest.raises(InputError, match="shows nothing"):
        segment_file(tmp_path / "flat.nii.gz", tmp_path / "seg.nii.gz", oracle, PLAIN)
    assert [path.name for path in tmp_path.iterdir()] == ["flat.nii.gz"]


def test_a_folder_gives_labels_and_one_table_and_a_bad_case_stops_nothing(cine, oracle, tmp_path):
    folder = tmp_path / "cases"
    folder.mkdir()
    shutil.copy(cine, folder / "good.nii.gz")
    write(folder / "flat.nii.gz", np.ones((1, 5, 90, 110), np.float32))
    said = []
    _, failures = segment_folder(folder, tmp_path / "out", oracle, PLAIN, failed=said.append)
    with (tmp_path / "out" / "function.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert failures == 1 and "flat.nii.gz" in said[0] and "shows nothing" in rows["flat"]["note"]
    assert float(rows["good"]["lv_ef_percent"]) == pytest.approx(64.0, abs=4)
    wall = [float(value) for name, value in rows["good"].items() if name.startswith("wall_ed_mm_") and value]
    assert len(wall) == 16 and 5.0 < min(wall) and max(wall) < 15.0
    assert (tmp_path / "out" / "good.nii.gz").is_file() and not (tmp_path / "out" / "flat.nii.gz").exists()


@pytest.mark.parametrize(("text", "expected"), [("all", None), ("edes", None), ("0,3", (0, 3))])
def test_frames_are_written_as_documented(text, expected):
    assert frame_numbers(text, 4) == expected


@pytest.mark.parametrize("text", ["first", "0,9", "1-3"])
def test_frames_that_make_no_sense_are_refused(text):
    with pytest.raises(InputError, match="frames"):
        frame_numbers(text, 4)


def test_two_files_are_compared_with_the_references_own_label_numbers(tmp_path, truth):
    write(tmp_path / "mine.nii.gz", truth)
    write(tmp_path / "acdc.nii.gz", np.array([0, 3, 2, 1], np.uint8)[truth])
    found = compare_files(tmp_path / "mine.nii.gz", tmp_path / "acdc.nii.gz", "acdc", distances=False)
    assert {row.dice for row in found.rows} == {1.0}


def test_folders_are_matched_by_name_and_the_rest_is_listed(tmp_path, truth):
    for folder, names in (("a", ("x", "y", "z")), ("b", ("x_gt", "y_gt", "w_gt"))):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            write(tmp_path / folder / f"{name}.nii.gz", np.roll(truth, number, axis=3))
    found = compare_files(tmp_path / "a", tmp_path / "b", distances=False)
    assert {row.case for row in found.rows} == {"x", "y"} and found.unmatched == ["w", "z"]
    assert found.agreement["lv_ef_percent"].count == 2 and found.agreement["lv_edv_ml"].bias == pytest.approx(0.0)


def test_labels_that_lie_elsewhere_are_not_compared(tmp_path, truth):
    write(tmp_path / "a.nii.gz", truth)
    moved = OBLIQUE.copy()
    moved[0, 3] += 5
    write(tmp_path / "b.nii.gz", truth, moved)
    with pytest.raises(InputError, match="5.00 mm apart"):
        compare_files(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")


def test_a_model_is_measured_by_set_phase_position_and_pathology(tmp_path, oracle, truth):
    folder = tmp_path / "acdc"
    folder.mkdir()
    for number, frame, scale in ((1, 1, 1.0), (1, 12, 0.7), (61, 1, 1.0)):
        one = heart_labels((5, 90, 110), (8.0, 1.6, 1.3), scale=scale)[None]
        affine = np.diag([1.3, 1.6, 8.0, 1.0])
        write(folder / f"patient{number:03d}_frame{frame:02d}.nii.gz", picture(one)[0][None], affine)
        labels = np.array([0, 3, 2, 1], np.uint8)[one]
        write(folder / f"patient{number:03d}_frame{frame:02d}_gt.nii.gz", labels, affine)
    rows, cases = measure(oracle, [DataSet("acdc", folder, "acdc")], device="cpu", views="none")
    table = accuracy_table(rows)
    assert {"acdc all", "acdc ED", "acdc ES", "acdc basal", "acdc apical", "acdc DCM", "acdc NOR"} <= {
        line[:14].strip() for line in table.splitlines()
    }
    assert all(case.dice > 0.88 for case in cases)
    errors = error_table(cases).splitlines()
    assert len(errors) == 4 and all(float(value) < 0.25 for line in errors[1:] for value in line.split()[2:])
    names = worst_cases(tmp_path / "worst.png", cases, 2)
    assert len(names) == 2 and (tmp_path / "worst.png").stat().st_size > 10_000


def test_the_larger_ventricle_of_a_patient_is_end_diastole_whatever_its_frames_number(tmp_path, oracle):
    """ACDC's patient 90: end systole is frame 4, end diastole frame 11."""
    folder = tmp_path / "acdc"
    folder.mkdir()
    for frame, scale in ((4, 0.7), (11, 1.0)):
        one = heart_labels((5, 90, 110), (8.0, 1.6, 1.3), scale=scale)[None]
        affine = np.diag([1.3, 1.6, 8.0, 1.0])
        write(folder / f"patient090_frame{frame:02d}.nii.gz", picture(one), affine)
        write(folder / f"patient090_frame{frame:02d}_gt.nii.gz", np.array([0, 3, 2, 1], np.uint8)[one], affine)
    seen = []

    def keep(cine):
        seen.append([int((frame == 1).sum()) for frame in cine.labels])
        return cine

    rows, _ = measure(oracle, [DataSet("acdc", folder, "acdc")], device="cpu", views="none", change=keep)
    phases = {row.case: (row.frame, row.phase) for row in rows}
    assert phases == {"acdc/patient090_frame04": ("ES", "ES"), "acdc/patient090_frame11": ("ED", "ED")}
    assert seen[0][0] > seen[0][1]  # a cine begins at end diastole


def test_images_can_be_changed_before_they_are_measured(tmp_path, oracle):
    """End diastole and end systole of a patient come as one cine, so that tags can follow the motion."""
    folder = tmp_path / "mms_A"
    folder.mkdir()
    for phase, scale in (("ED", 1.0), ("ES", 0.8)):
        one = heart_labels((5, 90, 110), (8.0, 1.6, 1.3), scale=scale)[None]
        write(folder / f"X_{phase}.nii.gz", picture(one), np.diag([1.3, 1.6, 8.0, 1.0]))
        write(folder / f"X_{phase}_gt.nii.gz", one, np.diag([1.3, 1.6, 8.0, 1.0]))
    seen = []

    def brighten(cine):
        seen.append((cine.image.shape, cine.labels.shape))
        return replace(cine, image=2 * cine.image)

    rows, _ = measure(oracle, [DataSet("mms_A", folder, "mms")], device="cpu", views="none", change=brighten)
    assert seen == [((2, 5, 90, 110), (2, 5, 90, 110))]
    assert {row.frame for row in rows} == {"ED", "ES"} and min(
        row.dice for row in rows if row.position == "volume"
    ) > 0.85


def test_the_command_evaluates_two_files(tmp_path, truth, capsys):
    write(tmp_path / "a.nii.gz", truth)
    code = main(["evaluate", str(tmp_path / "a.nii.gz"), str(tmp_path / "a.nii.gz"), "--out", str(tmp_path / "t.csv")])
    assert code == 0 and "lv_myocardium" in capsys.readouterr().out
    with (tmp_path / "t.csv").open(newline="") as file:
        assert all(float(row["dice"]) == 1.0 for row in csv.DictReader(file))


def test_the_command_answers_an_unknown_model_with_exit_code_2(cine, tmp_path, capsys):
    assert main(["segment", str(cine), "--out", str(tmp_path / "s.nii.gz"), "--model", "no_such"]) == 2
    assert "no_such" in capsys.readouterr().err


def test_simulated_subjects_are_measured_on(oracle):
    few = SimulatedSet(2, seed=4, sub_samples=1)
    shown = [cine for patient in few.patients(True) for cine in patient()]
    again = next(SimulatedSet(2, seed=4, sub_samples=1).patients(False)[1]())
    other = next(SimulatedSet(2, seed=5, sub_samples=1).patients(False)[1]())
    assert np.array_equal(shown[1].cine.image, again.cine.image)
    assert shown[1].cine.image.shape != other.cine.image.shape or not np.array_equal(
        shown[1].cine.image, other.cine.image
    )
    for entry in shown:
        assert [frame.phase for frame in entry.frames] == ["ED", "ES"] and entry.pathology
        pools = [(labels == 1).sum() for labels in entry.cine.labels]
        assert pools[0] > pools[1] > 0
        assert entry.cine.displacement_mm is not None
    rows, cases = measure(oracle, [few], device="cpu", views="none")
    assert [case.name for case in cases] == [f"simulated/subject{n:03d}" for n in (0, 0, 1, 1)]
    assert {case.frame for case in cases} == {"ED", "ES"}
    table = accuracy_table(rows)
    assert "simulated ED" in table and all(case.spacing_mm for case in cases)
    assert len({len(line) for line in table.splitlines()}) == 1  # columns stand below each other


def test_tags_are_scanned_into_simulated_subjects():
    plain, tagged = (next(SimulatedSet(1, tagged=flag, sub_samples=1).patients(False)[0]()) for flag in (False, True))
    assert plain.cine.sidecar["preparation"] is None and tagged.cine.sidecar["preparation"]
    assert plain.pathology == tagged.pathology


@pytest.mark.parametrize(("settings", "said"), [({"subjects": 0}, "at least 1"), ({"subjects": 1, "seed": -1}, "seed")])
def test_simulated_sets_that_cannot_be(settings, said):
    with pytest.raises(InputError, match=said):
        SimulatedSet(**settings)


def test_sets_are_chosen_by_name(tmp_path, oracle):
    for name in ("acdc", "mms_B"):
        (tmp_path / name).mkdir()
    assert [entry.name for entry in known_sets(tmp_path)] == ["acdc", "mms_B"]
    assert [entry.name for entry in known_sets(tmp_path, ["mms_B"])] == ["mms_B"]
    for names, said in ((["acdc", "mmsB"], "no set called mmsB; choose"), (["mms_A"], "holds no mms_A, only acdc")):
        with pytest.raises(InputError, match=said):
            known_sets(tmp_path, names)
    with pytest.raises(InputError, match="every is 0"):
        measure(oracle, known_sets(tmp_path), every=0)


def test_real_sets_are_known_by_their_folders(cmrsim_data):
    assert {entry.name for entry in known_sets(cmrsim_data)} <= {"acdc", "mms_A", "mms_B"}
