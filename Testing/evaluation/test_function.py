"""Function and agreement from labels."""

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.agreement import bland_altman
from CMRSimExtension.evaluation.function import body_surface_m2, function_from_labels, normal_ranges

SPACING = (10.0, 1.0, 1.0)  # one voxel is 0.01 ml


def cine(lv, rv, myocardium):
    """Labels whose volumes per frame are these numbers of voxels."""
    labels = np.zeros((len(lv), 1, 40, 40), np.uint8)
    for frame, counts in enumerate(zip(lv, myocardium, rv, strict=True)):
        flat, start = labels[frame].reshape(-1), 0
        for label, count in zip((1, 2, 3), counts, strict=True):
            flat[start : start + count] = label
            start += count
    return labels


def test_end_diastole_and_end_systole_are_the_lv_extremes():
    curves = function_from_labels(cine([300, 350, 120, 200], [100] * 4, [80] * 4), SPACING)
    assert (curves.end_diastole, curves.end_systole) == (1, 2)
    assert curves.function.lv_edv_ml == pytest.approx(3.5) and curves.function.lv_esv_ml == pytest.approx(1.2)


def test_the_rv_is_measured_at_the_lvs_frames_and_its_own_extremes_stand_beside():
    curves = function_from_labels(cine([300, 100, 200], [200, 150, 90], [80] * 3), SPACING)
    assert curves.function.rv_edv_ml == pytest.approx(2.0) and curves.function.rv_esv_ml == pytest.approx(1.5)
    assert curves.rv_smallest_ml == pytest.approx(0.9)


def test_mass_is_myocardium_at_end_diastole_times_its_density():
    curves = function_from_labels(cine([100, 300], [100] * 2, [80, 90]), SPACING)
    assert curves.function.lv_mass_g == pytest.approx(0.9 * 1.05)


def test_ejection_fraction_is_stroke_volume_over_end_diastolic_volume():
    curves = function_from_labels(cine([200, 80], [100, 50], [90, 90]), SPACING)
    assert curves.function.lv_ef_percent == pytest.approx(60.0) and curves.function.rv_ef_percent == pytest.approx(50.0)


def test_one_frame_has_volumes_and_mass_but_no_ejection_fraction():
    curves = function_from_labels(cine([200], [100], [90]), SPACING)
    assert curves.end_systole is None and curves.function.lv_ef_percent is None


def test_frames_without_labels_are_no_end_systole():
    curves = function_from_labels(cine([200, 0, 90], [100] * 3, [90] * 3), SPACING)
    assert curves.frames == (0, 2) and curves.function.lv_esv_ml == pytest.approx(0.9)


def test_values_are_indexed_to_body_surface():
    curves = function_from_labels(cine([200, 80], [100] * 2, [90] * 2), SPACING, height_cm=180, weight_kg=80)
    assert curves.indexed["lv_edv_ml_per_m2"] == pytest.approx(2.0 / 2.0)  # sqrt(180 x 80 / 3600) = 2


def test_body_surface_of_something_that_is_no_human_is_refused():
    with pytest.raises(InputError, match="250 cm"):
        body_surface_m2(1.8, 80)


def test_labels_without_a_left_ventricle_have_no_function():
    with pytest.raises(InputError, match="label 1"):
        function_from_labels(cine([0, 0], [100] * 2, [90] * 2), SPACING)


def test_a_spacing_of_zero_is_refused():
    with pytest.raises(InputError, match="above 0"):
        function_from_labels(cine([10], [10], [10]), (0.0, 1.0, 1.0))


def test_normal_ranges_of_men_and_women_differ_as_published():
    men, women = normal_ranges("M", 50), normal_ranges("F", 50)
    # Petersen 2017: mass index 53 +- 9 g/m2 in men, 42 +- 7 g/m2 in women.
    assert men["lv_mass_g_per_m2"] == pytest.approx((53 - 1.96 * 9, 53 + 1.96 * 9))
    assert women["lv_mass_g_per_m2"] == pytest.approx((42 - 1.96 * 7, 42 + 1.96 * 7))
    assert men["lv_ef_percent"][0] > 45 and women["lv_ef_percent"][1] < 75


def test_a_sex_may_be_spelt_in_full():
    assert normal_ranges("female", 50) == normal_ranges("F", 50) != normal_ranges("male", 50) == normal_ranges("M", 50)
    with pytest.raises(InputError, match="sex is 'x'; give female, male, F or M"):
        normal_ranges("x", 50)


def test_no_range_is_claimed_for_children():
    assert normal_ranges("F", 9) == {}


def test_bias_and_limits_of_agreement_follow_bland_and_altman():
    found = bland_altman([10.0, 12.0, 15.0, 11.0], [9.0, 12.0, 13.0, 10.0])
    differences = np.array([1.0, 0.0, 2.0, 1.0])
    assert found.bias == pytest.approx(1.0) and found.sd == pytest.approx(differences.std(ddof=1))
    assert found.upper == pytest.approx(1.0 + 1.96 * found.sd) and found.lower == pytest.approx(1.0 - 1.96 * found.sd)


def test_the_biass_interval_uses_students_t():
    found = bland_altman([10.0, 12.0, 15.0, 11.0], [9.0, 12.0, 13.0, 10.0])
    assert found.bias_interval[1] - found.bias == pytest.approx(3.18245 * found.sd / 2.0, rel=1e-4)  # t(0.975, 3)


def test_agreement_needs_two_pairs():
    with pytest.raises(InputError, match="two pairs"):
        bland_altman([1.0], [2.0])
