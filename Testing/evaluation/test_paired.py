"""Differences between two segmentations of the same patients."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.overlap import Comparison
from CMRSimExtension.evaluation.paired import paired_differences, paired_table

NAN = float("nan")


def rows(values, frame="0", hd95=NAN):
    """A row of each patient's Dice."""
    return [
        Comparison(f"patient{index:03d}_frame01", frame, "lv_blood", "volume", value, NAN, hd95, NAN, NAN)
        for index, value in enumerate(values)
    ]


def test_a_difference_that_every_patient_shows_is_no_chance():
    second = np.linspace(0.7, 0.9, 20)
    (row,) = paired_differences(rows(second + 0.02), rows(second))
    assert (row.structure, row.value, row.patients) == ("lv_blood", "dice", 20)
    assert row.first - row.second == pytest.approx(row.difference) == pytest.approx(0.02)
    assert row.low > 0.019 and row.p_value < 0.001
    assert "+0.020" in paired_table([row]) and "<0.001" in paired_table([row])


def test_a_difference_of_a_few_patients_is_told_with_an_interval_that_holds_zero():
    noise = np.random.default_rng(3).normal(0.0, 0.05, 20)
    (row,) = paired_differences(rows(0.8 + noise - noise.mean() + 0.002), rows(np.full(20, 0.8)))
    assert row.low < 0.0 < row.high and row.p_value > 0.2


def test_the_bootstrap_s_interval_is_that_of_the_mean():
    noise = np.random.default_rng(4).normal(0.0, 0.05, 60)
    (row,) = paired_differences(rows(0.8 + noise), rows(np.full(60, 0.8)))
    # The normal limit; 60 patients and 10,000 draws come within a tenth of it.
    assert row.high - row.low == pytest.approx(2 * 1.96 * noise.std() / np.sqrt(60), rel=0.1)


def test_frames_of_one_patient_count_once():
    late = [replace(row, case=row.case.replace("frame01", "frame12")) for row in rows([0.7, 0.6])]
    first = [*rows([0.9, 0.8]), *late]
    (row,) = paired_differences(first, [replace(row, dice=0.5) for row in first])
    assert row.patients == 2 and row.difference == pytest.approx(0.25)


def test_equal_segmentations_differ_by_nothing():
    (row,) = paired_differences(rows([0.8, 0.9]), rows([0.8, 0.9]))
    assert (row.difference, row.low, row.high, row.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_slices_and_values_that_one_of_both_lacks_are_left_out():
    first = [*rows([0.8, 0.9], hd95=3.0), replace(rows([0.1])[0], position="basal")]
    second = [*rows([0.7, 0.7], hd95=NAN)]
    assert [row.value for row in paired_differences(first, second)] == ["dice"]


@pytest.mark.parametrize("second", [[], rows([0.8])])
def test_one_patient_is_too_few(second):
    with pytest.raises(InputError, match="two at least"):
        paired_differences(rows([0.8, 0.9]), second)


def test_the_command_compares_two_folders_of_predictions(tmp_path, capsys):
    nibabel = pytest.importorskip("nibabel", reason="label files are NIfTI files")
    truth = np.zeros((16, 16, 3), np.uint8)
    truth[3:13, 3:13], truth[5:11, 5:11] = 2, 1
    worse = truth.copy()
    worse[5:8, 5:8] = 2
    for folder, labels in (("better", truth), ("worse", worse), ("references", truth)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b", "c"):
            image = nibabel.Nifti1Image(labels, np.diag([1.5, 1.5, 8.0, 1.0]))
            nibabel.save(image, tmp_path / folder / f"{name}.nii.gz")
    better, other, references, out = (str(tmp_path / name) for name in ("better", "worse", "references", "t.csv"))
    arguments = ["evaluate", better, references, "--no-distances", "--out", out]
    assert main([*arguments, "--against", other]) == 0
    assert "better (first) against" in capsys.readouterr().out
    with (tmp_path / "t_against.csv").open(newline="", encoding="utf-8") as file:
        table = {row["structure"]: float(row["difference"]) for row in csv.DictReader(file)}
    assert table["lv_blood"] > 0.1 and table["rv_blood"] == 0.0
    assert main(arguments) == 0
    assert not (tmp_path / "t_against.csv").exists()  # it would belong to another comparison
