"""Which end of a stack is the base."""

import numpy as np
import pytest

from CMRSimExtension.anatomy.stack_order import basal_third, begins_at_apex


@pytest.mark.parametrize("frames", [(), (3,)])
def test_a_stack_whose_outline_widens_begins_at_the_apex(frames):
    labels = np.zeros((4, 20, 20), int)
    for index, size in enumerate((3, 5, 8, 8)):
        labels[index, :size, :size] = 2
    labels = np.broadcast_to(labels, (*frames, *labels.shape))
    assert begins_at_apex(labels) and not begins_at_apex(labels[..., ::-1, :, :])


def test_the_fullest_frame_tells_where_the_apex_is():
    full, empty = np.zeros((4, 20, 20), int), np.zeros((4, 20, 20), int)
    for index, size in enumerate((3, 5, 8, 8)):
        full[index, :size, :size] = 1
        empty[3 - index, : 2 * size, : 2 * size] = 2  # a thick wall that is widest at the other end
    assert begins_at_apex(np.stack([empty, full])) and not begins_at_apex(empty)


def test_a_single_slice_begins_at_no_apex():
    assert not begins_at_apex(np.full((1, 8, 8), 2))


def test_the_basal_third_begins_at_the_base():
    labels = np.zeros((9, 20, 20), int)
    for index, size in enumerate((0, 12, 11, 10, 9, 7, 4, 0, 0)):
        labels[index, :size, :size] = 2
    assert basal_third(labels, False).tolist() == [1, 2]
    assert basal_third(labels[::-1], True).tolist() == [7, 6]
    assert basal_third(np.zeros((3, 8, 8), int), False).tolist() == []
