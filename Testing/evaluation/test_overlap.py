"""Overlap, distances and their summaries."""

import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.overlap import (
    Comparison,
    compare,
    dice,
    hausdorff_mm,
    slice_positions,
    summarise,
)


def ball(radius, centre, shape=(8, 24, 30)):
    grid = np.indices(shape)
    return np.linalg.norm(grid - np.reshape(centre, (3, 1, 1, 1)), axis=0) < radius


def surface(mask):
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def test_dice_is_twice_the_overlap_over_the_sum():
    first, second = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    first[0, :4], second[0, 2:] = True, True
    assert dice(first, second) == pytest.approx(2 * 2 / (4 + 3))


def test_two_empty_masks_agree_fully():
    assert dice(np.zeros((3, 3), bool), np.zeros((3, 3), bool)) == 1.0


def test_dice_of_different_shapes_is_refused():
    with pytest.raises(InputError, match="align"):
        dice(np.zeros((3, 3), bool), np.zeros((3, 4), bool))


@pytest.mark.parametrize("percentile", [None, 95.0])
def test_hausdorff_distance_equals_a_brute_force_search_on_anisotropic_voxels(percentile):
    first, second, spacing = ball(4, (4, 11, 13)), ball(5, (4, 13, 16)), (8.0, 1.4, 1.1)
    distances = cdist(surface(first) * spacing, surface(second) * spacing)
    pairs = [distances.min(0), distances.min(1)]
    expected = max(np.percentile(one, percentile) if percentile else one.max() for one in pairs)
    # MONAI takes 6-neighbour erosion for the surface, as scipy's default structure does: equal to rounding.
    assert hausdorff_mm(first, second, spacing, percentile) == pytest.approx(expected, abs=1e-4)


def test_a_shift_by_one_pixel_is_a_distance_of_one_pixel():
    mask = ball(5, (4, 11, 13))
    assert hausdorff_mm(mask, np.roll(mask, 1, axis=1), (8.0, 1.4, 1.1)) == pytest.approx(1.4, abs=1e-6)


def test_the_distance_to_nothing_is_not_a_number():
    assert math.isnan(hausdorff_mm(ball(3, (4, 11, 13)), np.zeros((8, 24, 30), bool), (1, 1, 1)))


def test_slice_positions_are_thirds_of_what_shows_myocardium():
    labels = np.zeros((9, 4, 4), int)
    labels[1:7, 1, 1] = 2
    found = slice_positions(labels)
    assert [found[index] for index in range(1, 7)] == ["basal", "basal", "mid", "mid", "apical", "apical"]
    assert set(found) == set(range(1, 7))


def test_positions_are_turned_round_for_a_stack_that_begins_at_the_apex():
    labels = np.zeros((3, 8, 8), int)
    labels[:, 2:6, 2:6] = 2
    predicted = labels.copy()
    predicted[0] = 0  # the apical slice of this stack
    rows = compare(predicted, labels, (8, 1, 1), distances=False, apex_first=True)
    by_position = {row.position: row.dice for row in rows if row.structure == "lv_myocardium"}
    assert by_position["apical"] == 0.0 and by_position["basal"] == 1.0


def test_volumes_are_voxels_times_their_size():
    labels = np.zeros((2, 8, 8), int)
    labels[0, :5, :4] = 1
    (row,) = (
        r
        for r in compare(labels, labels, (10.0, 2.0, 1.5), distances=False)
        if r.structure == "lv_blood" and r.position == "volume"
    )
    assert row.reference_ml == pytest.approx(20 * 10 * 2 * 1.5 / 1000)


def test_without_voxel_sizes_there_are_no_distances_and_no_volumes():
    labels = np.ones((2, 8, 8), int)
    row = compare(labels, labels, (math.nan,) * 3)[0]
    assert row.dice == 1.0 and math.isnan(row.hd_mm) and math.isnan(row.reference_ml)


def row(value, position="volume", structure="lv_blood", pathology="NOR"):
    return Comparison("c", "0", structure, position, value, math.nan, math.nan, 1.0, 1.0, pathology)


def test_a_summary_has_medians_and_quartiles():
    (entry,) = summarise([row(value) for value in (0.0, 0.25, 0.5, 0.75, 1.0)], values=("dice",))
    assert [entry[f"dice_{name}"] for name in ("n", "mean", "median", "q1", "q3")] == [5, 0.5, 0.5, 0.25, 0.75]


def test_a_summary_has_one_row_per_group():
    rows = [row(0.5), row(0.7, pathology="DCM"), row(0.9, structure="rv_blood")]
    assert len(summarise(rows, ("structure", "pathology"), ("dice",))) == 3


def test_values_that_could_not_be_measured_are_left_out_and_counted():
    (entry,) = summarise([row(0.5), row(0.7)], values=("hd_mm",))
    assert entry["hd_mm_n"] == 0 and math.isnan(entry["hd_mm_mean"])
