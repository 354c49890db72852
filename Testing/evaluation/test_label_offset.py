"""Labels that lie beside their images: found, and taken back."""

import math

import numpy as np
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.label_offset import LabelOffset, dice_moved_back, mean_offset, moved_back, slice_offsets
from CMRSimExtension.evaluation.overlap import dice

SHIFT = (0.4, 0.8)


def heart(rng, shift=(0.0, 0.0), shape=(8, 60, 72)):
    """Two label volumes of the same rings of 6 pixels of wall, drawn at their true places: as they lie, and shifted."""
    y, x = np.mgrid[: shape[1], : shape[2]].astype(float)
    both = np.zeros((2, *shape), np.uint8)
    for index in range(shape[0]):
        centre, inner = rng.uniform((26, 30), (34, 42)), rng.uniform(8, 11)
        for side, place in enumerate((centre, centre + np.array(shift))):
            radius = np.hypot(y - place[0], x - place[1])
            both[side, index] = np.select([radius < inner, radius < inner + 6.0], [1, 2])
    return both


def known(rows, columns):
    return LabelOffset(rows, columns, 0.0, 0.0, 1, 1)


def test_a_shift_by_parts_of_a_pixel_is_found_within_its_error():
    rng = np.random.default_rng(3)
    patients = [slice_offsets(*heart(rng, SHIFT)) for _ in range(20)]
    found = mean_offset(patients)
    # Centroids of rastered discs of this size scatter by 0.05 pixels each, the mean of 160 by 0.004.
    assert (found.rows, found.columns) == pytest.approx(SHIFT, abs=0.01)
    assert abs(found.rows - SHIFT[0]) < 4 * found.rows_error < 0.02
    assert abs(found.columns - SHIFT[1]) < 4 * found.columns_error < 0.02
    assert (found.slices, found.patients) == (160, 20)


def test_labels_that_lie_right_have_no_offset():
    found = mean_offset([slice_offsets(*heart(np.random.default_rng(3))) for _ in range(3)])
    assert (found.rows, found.columns, found.rows_error) == (0.0, 0.0, 0.0)


def test_moving_the_reference_back_gives_the_overlap_that_the_shift_cost():
    rng = np.random.default_rng(4)
    for _ in range(3):
        predicted, reference = heart(rng, SHIFT)
        before = dice(predicted == 2, reference == 2)
        after = dice_moved_back(predicted, reference, known(*SHIFT), 2)
        # A shift of 0.9 pixels takes about 2 / pi * 0.9 / 6 = 0.095 from a wall of 6; what the raster and the linear
        # interpolation change along the edges stays.
        assert before == pytest.approx(0.905, abs=0.01) and 1.0 - after < (1.0 - before) / 3.0


def test_moving_the_other_way_makes_it_worse():
    predicted, reference = heart(np.random.default_rng(4), SHIFT)
    assert dice_moved_back(predicted, reference, known(-0.4, -0.8), 2) < dice(predicted == 2, reference == 2)


def test_a_shift_by_whole_pixels_is_taken_back_exactly():
    mask = np.random.default_rng(0).random((3, 12, 14)) > 0.6
    mask[:, :3] = mask[:, -3:] = mask[:, :, :3] = mask[:, :, -3:] = False
    assert np.array_equal(moved_back(np.roll(mask, (2, -1), (1, 2)), known(2.0, -1.0)), mask)


def test_slices_that_mean_something_else_are_left_out():
    predicted, reference = heart(np.random.default_rng(5), SHIFT)
    reference[0] = np.roll(reference[0], 9, axis=0)
    predicted[1] = 0
    reference[2] = 0
    offsets = slice_offsets(predicted, reference)
    assert len(offsets) == 5 and np.allclose(offsets, SHIFT, atol=0.2)


def test_the_error_counts_patients_not_slices():
    rng = np.random.default_rng(6)
    truth = rng.normal(0.3, 0.2, (40, 2))
    found = mean_offset([np.repeat(one[None], 10, axis=0) for one in truth])
    # Ten slices that say the same are one observation: the error is that of forty values.
    assert found.rows_error == pytest.approx(truth[:, 0].std(ddof=1) / np.sqrt(40), rel=1e-9)
    assert found.columns_error == pytest.approx(truth[:, 1].std(ddof=1) / np.sqrt(40), rel=1e-9)


def test_without_slices_that_agree_there_is_no_offset_and_with_one_patient_no_error():
    nothing = mean_offset([np.empty((0, 2))])
    assert math.isnan(nothing.rows) and nothing.slices == 0
    one = mean_offset([np.array([[0.1, 0.2], [0.3, 0.4]]), np.empty((0, 2))])
    assert (one.rows, one.patients) == (pytest.approx(0.2), 1) and math.isnan(one.rows_error)


def test_volumes_on_other_grids_are_refused():
    with pytest.raises(InputError, match="same grid"):
        slice_offsets(np.zeros((2, 3, 4), np.uint8), np.zeros((2, 4, 3), np.uint8))
