"""What is measured once per case, and how well two ways to measure it agree."""

import csv
import math

import numpy as np
import pytest

from CMRSimExtension.evaluation.case_values import (
    CaseValue,
    agreement_table,
    agreements,
    function_values,
    patient_of,
    phases_of,
    wall_values,
    write_agreement,
    write_values,
)
from Testing.evaluation.test_wall_thickness import ring

SPACING = (10.0, 1.0, 1.0)  # one voxel is 0.01 ml


def pools(*voxels):
    """Frames with an LV of so many voxels and a wall of 100."""
    labels = np.zeros((len(voxels), 1, 30, 30), np.uint8)
    for frame, count in zip(labels, voxels, strict=True):
        frame.reshape(-1)[:count] = 1
        frame.reshape(-1)[-100:] = 2
    return labels


def by_quantity(values):
    return {value.quantity: (value.predicted, value.reference) for value in values}


@pytest.mark.parametrize(
    ("name", "patient"),
    [("patient090_frame11", "patient090"), ("A0S9V9_ED", "A0S9V9"), ("A0S9V9_ES", "A0S9V9"), ("heart_2", "heart_2")],
)
def test_a_files_name_tells_the_patient(name, patient):
    assert patient_of(name) == patient


def test_the_larger_pool_is_end_diastole_and_the_smaller_end_systole():
    assert phases_of(["a_frame01", "a_frame04", "a_frame11"], [50, 20, 80]) == ["", "ES", "ED"]


def test_a_frame_without_a_pool_is_not_end_systole():
    assert phases_of(["a"] * 3, [80, 0, 20]) == ["ED", "", "ES"]


def test_a_phase_that_the_name_says_holds():
    assert phases_of(["a_ES", "a_ED"], [80, 50]) == ["ES", "ED"]


def test_the_phase_of_a_lone_frame_is_not_guessed():
    assert phases_of(["a_frame01"], [80]) == [""]


def test_one_frame_gives_volumes_and_mass_and_no_ejection_fraction():
    values, notes = function_values(pools(300), pools(200), SPACING, "a")
    assert by_quantity(values)["lv_edv_ml"] == pytest.approx((3.0, 2.0)) and not notes
    assert {value.quantity for value in values} == {"lv_edv_ml", "lv_mass_g"}


def test_a_frame_that_the_prediction_lost_is_no_end_systole():
    values, notes = function_values(pools(300, 0, 150), pools(300, 120, 150), SPACING, "a")
    assert by_quantity(values)["lv_ef_percent"] == pytest.approx((50.0, 60.0))
    assert "in 1 of the 3 frames" in notes[0]


def test_what_the_prediction_cannot_give_is_missing_and_not_left_out():
    """An end systole that was lost must not make the agreement look better."""
    values, _ = function_values(pools(300, 0), pools(300, 120), SPACING, "a")
    predicted, reference = by_quantity(values)["lv_ef_percent"]
    assert math.isnan(predicted) and reference == pytest.approx(60.0)


def test_a_prediction_without_an_lv_has_no_function():
    values, _ = function_values(pools(0, 0), pools(300, 120), SPACING, "a")
    assert values and all(math.isnan(value.predicted) for value in values)


def test_without_voxel_sizes_there_are_ejection_fractions_only():
    values, _ = function_values(pools(300, 150), pools(300, 120), None, "a")
    assert [value.quantity for value in values] == ["lv_ef_percent"]


def test_wall_thickness_is_compared_segment_by_segment():
    reference, grid = ring(septal=8.0, lateral=8.0)
    predicted, _ = ring(septal=8.0, lateral=11.0)
    found = by_quantity(wall_values(predicted, reference, grid, "a")[0])
    assert len(found) == 16
    # Rays through a voxelised ring err by less than half a pixel (0.6 mm) on average.
    assert np.subtract(*found["wall_mm_mid_inferolateral"]) == pytest.approx(2.75, abs=0.6)
    assert np.subtract(*found["wall_mm_apical_septal"]) == pytest.approx(0.25, abs=0.6)


def test_segments_of_a_stack_that_begins_at_the_apex_are_the_same():
    labels, grid = ring()
    labels[6:] = ring(septal=3.0, lateral=4.0)[0][6:]
    expected = by_quantity(wall_values(labels, labels, grid, "a")[0])
    turned = grid.affine_ras @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 8.0], [0, 0, 0, 1]])
    other = type(grid)(turned, grid.shape, grid.slice_thickness_mm)
    found = by_quantity(wall_values(labels[::-1], labels[::-1], other, "a", apex_first=True)[0])
    assert found.keys() == expected.keys()
    assert all(found[name] == pytest.approx(expected[name]) for name in expected)


def test_a_prediction_without_a_wall_is_missing_in_every_segment_and_named():
    labels, grid = ring()
    values, notes = wall_values(np.where(labels == 2, 0, labels), labels, grid, "a")
    assert len(values) == 16 and all(math.isnan(value.predicted) for value in values)
    assert "label 2" in notes[0]


def test_a_reference_without_a_right_ventricle_gives_no_segments_and_says_why():
    labels, grid = ring()
    values, notes = wall_values(labels, np.where(labels == 3, 0, labels), grid, "a")
    assert not values and "label 3" in notes[0]


VALUES = [
    CaseValue("a", "", "lv_edv_ml", 105.0, 100.0),
    CaseValue("b", "", "lv_edv_ml", 203.0, 200.0),
    CaseValue("c", "", "lv_edv_ml", math.nan, 150.0),
    CaseValue("a", "", "lv_ef_percent", 61.0, 60.0),
]


def test_agreement_needs_two_cases_with_both_values():
    found = agreements(VALUES)
    assert set(found) == {"lv_edv_ml"} and found["lv_edv_ml"].count == 2
    assert found["lv_edv_ml"].bias == pytest.approx(4.0)


def test_the_table_counts_the_cases_that_the_prediction_lost():
    lines = {line.split()[0]: line.split()[1:] for line in agreement_table(VALUES).splitlines()}
    assert lines["lv_edv_ml"][:4] == ["2/3", "154.00", "150.00", "4.00"]
    assert lines["lv_ef_percent"] == ["1/1", "61.00", "60.00", "1.00"]


def test_no_values_make_no_table():
    assert agreement_table([]) == ""


def test_values_and_agreement_are_written_as_tables(tmp_path):
    write_values(tmp_path / "v.csv", VALUES)
    write_agreement(tmp_path / "a.csv", VALUES)
    values, agreement = (
        list(csv.DictReader((tmp_path / name).read_text().splitlines())) for name in ("v.csv", "a.csv")
    )
    assert [row["difference"] for row in values] == ["5.0", "3.0", "", "1.0"] and values[2]["predicted"] == ""
    (row,) = agreement
    assert (row["quantity"], row["cases"], row["count"]) == ("lv_edv_ml", "3", "2")
    assert float(row["bias"]) == pytest.approx(4.0) and float(row["sd"]) == pytest.approx(math.sqrt(2.0))
    assert float(row["lower"]) == pytest.approx(4.0 - 1.96 * math.sqrt(2.0))
