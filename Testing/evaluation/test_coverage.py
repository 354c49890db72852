"""An image that may not show the whole left ventricle is noticed."""

import numpy as np
import pytest

from CMRSimExtension.evaluation.coverage import coverage_note


def labels(slices, frames=2, count=6):
    """Frames whose first one shows the LV in `slices`; the others show it in the slices 2 and 3."""
    values = np.zeros((frames, count, 8, 8), np.uint8)
    values[0, list(slices), 2:5, 2:5] = 1
    values[1:, 2:4, 2:5, 2:5] = 1
    return values


def test_a_ventricle_within_its_stack_needs_no_note():
    assert coverage_note(labels([1, 2, 3, 4]), (0, 1)) is None


@pytest.mark.parametrize(
    ("slices", "said"),
    [([0, 1, 2], "reaches the first slice"), ([4, 5], "reaches the last slice"), (range(6), "the first and the last")],
)
def test_a_ventricle_that_reaches_the_end_of_the_stack_may_be_larger_than_its_volume(slices, said):
    note = coverage_note(labels(slices), (0, 1))
    assert said in note and "may be less than the ventricle" in note


def test_frames_that_are_not_measured_do_not_count():
    assert coverage_note(labels([0, 1]), (1,)) is None


def test_a_wall_alone_reaches_the_end_too_and_the_right_ventricle_does_not():
    values = labels([2, 3])
    values[0, 5, 3, 3] = 3
    assert coverage_note(values, (0, 1)) is None
    values[0, 5, 3, 4] = 2
    assert "last slice" in coverage_note(values, (0, 1))


def test_one_slice_is_no_ventricle():
    assert "of that slice, not of the ventricle" in coverage_note(labels([0], count=6)[:, :1], (0,))
